"""A Worker that lets the tests try the harness: it hands an upstream on, and shows what it is given."""

import json

import js
from pyodide.ffi import JsException, to_js
from workers import WorkerEntrypoint


def to_object(fields):
    """A dict as the object that JavaScript takes for options."""
    return to_js(fields, dict_converter=js.Object.fromEntries)


def respond(value):
    """JSON, with its length."""
    text = json.dumps(value)
    headers = {"content-type": "application/json", "content-length": str(len(text))}
    return js.Response.new(text, to_object({"headers": headers}))


class Default(WorkerEntrypoint):
    """What a path names is done."""

    async def fetch(self, request):
        """The runtime's entry."""
        parts = request.js_object.url.split("/", 4)
        action, rest = parts[3], parts[4] if len(parts) > 4 else ""
        if action == "healthz":
            return js.Response.new("ok")
        if action == "upstream":
            return await self.hand_on(request, rest)
        if action == "headers":
            headers = js.Headers.new()
            for name, value in [
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2, c"),
                ("www-authenticate", 'Bearer a="1, 2"'),
            ]:
                headers.append(name, value)
            return js.Response.new(None, to_object({"status": 401, "headers": headers}))
        if action == "seen":
            seen = request.js_object
            headers = [[*pair] for pair in seen.headers]
            fields = {"url": seen.url, "method": seen.method, "headers": headers, "body": await request.text()}
            return respond({**fields, "variable": self.env.TOY, "ctx": hasattr(self.ctx, "waitUntil")})
        if action == "digest":
            stream = js.crypto.DigestStream.new("SHA-256")
            await request.js_object.body.pipeTo(stream)
            return respond((await stream.digest).to_bytes().hex())
        if action == "cache":
            return await self.cache(request, rest)
        raise LookupError(action)

    async def hand_on(self, request, rest):
        """The upstream's answer as it is."""
        options = {"redirect": "manual", "method": str(request.method), "headers": {"accept-encoding": "identity"}}
        answer = await js.fetch(f"{self.env.UPSTREAM}/{rest}", to_object(options))
        return js.Response.new(answer.body, to_object({"status": answer.status, "headers": answer.headers}))

    async def cache(self, request, rest):
        """GET matches, PUT puts what X-Status and X-Headers say, DELETE deletes; the key is the rest of the path."""
        cache, key = js.caches.default, f"https://cache.example/{rest}"
        said = request.js_object.headers
        if request.method == "DELETE":
            return respond(await cache.delete(key))
        if request.method == "PUT":
            options = {"status": int(said.get("x-status")), "headers": json.loads(said.get("x-headers"))}
            value = js.Response.new(request.js_object.body, to_object(options))
            key = js.Request.new(key, method=said.get("x-method") or "GET")
            try:
                await cache.put(key, value)
            except JsException as error:
                return respond(error.message)
            return respond(value.bodyUsed)
        wanted = {"headers": {"range": said.get("range")}} if said.get("range") else {}
        return await cache.match(js.Request.new(key, to_object(wanted))) or js.Response.new("", status=404)
