"""What a Worker keeps: the ports `Index`, `ContentStore` and `BlobCache` over the Cache API of its data centre.

Keys are URLs of a host that does not exist; nothing is ever fetched from them. A blob is there for others once its
copy was hashed: a marker beside it says so, with its size, because what was put cannot be renamed. Entries go when the
data centre needs room, or when they are old; every part of it may be missing at any time.
"""

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

import js
from pyodide.ffi import JsException, to_js

from hubferry.core.freshness import TtlRule, decide_ttl
from hubferry.ports import Body, CachedBlob, Described, Repository, TagEntry
from hubferry.pull.rights import RIGHT_S
from hubferry.worker.log import Events
from hubferry.worker.messages import js_object
from hubferry.worker.upstream import StreamBody

BASE = "https://cache.hubferry.invalid"
CONTENT_S = 7 * 86400
MAX_REMEMBERED = 10_000

request_context: ContextVar[Any] = ContextVar("request_context")
"""The runtime's `ctx` of the request that is being answered: what goes on after its answer is told to it."""


class EdgeCache:
    """Entries by key."""

    async def match(self, key: str) -> Any:
        """The `Response` that was put there, or None."""
        try:
            found = await js.caches.default.match(BASE + key)
        except JsException:
            return None
        return found or None

    async def put(self, key: str, body: Any, seconds: float, size_bytes: int) -> bool:
        """Keep a body (bytes or a stream) for so long; whether that was done. Takes the stream."""
        headers = {
            "cache-control": f"public, max-age={int(seconds)}",
            "content-type": "application/octet-stream",
            "content-length": str(size_bytes),
        }
        response = js.Response.new(to_js(body) if isinstance(body, bytes) else body, js_object({"headers": headers}))
        try:
            await js.caches.default.put(BASE + key, response)
        except JsException as error:
            Events().warning("store_failed", {"problem": str(error)[:200]})
            return False
        return True

    async def drop(self, key: str) -> None:
        """Forget an entry."""
        with contextlib.suppress(JsException):
            await js.caches.default.delete(BASE + key)

    async def read(self, key: str) -> bytes | None:
        """The bytes of a small entry."""
        found = await self.match(key)
        if found is None:
            return None
        try:
            return bytes((await found.arrayBuffer()).to_bytes())
        except JsException:
            return None


class EdgeIndex:
    """The `Index` port. Tags last as long as they may answer; what is public is this isolate's knowledge."""

    def __init__(self, cache: EdgeCache, tag_ttl_s: float, rules: tuple[TtlRule, ...]) -> None:
        self._cache = cache
        self._tag_ttl_s = tag_ttl_s
        self._rules = rules
        self._public: OrderedDict[Repository, float] = OrderedDict()

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        """See ports.Index."""
        found = await self._read(_key("tag", repository, tag))
        return None if found is None else TagEntry(_described(found), found["confirmed_at"])

    async def put_tag(self, repository: Repository, tag: str, entry: TagEntry) -> None:
        """See ports.Index."""
        ttl_s = decide_ttl(f"{repository.upstream}/{repository.name}", tag, self._rules, self._tag_ttl_s)
        if ttl_s >= 1:
            said = {**_said(entry.manifest), "confirmed_at": entry.confirmed_at}
            await self._write(_key("tag", repository, tag), said, ttl_s)

    async def drop_tag(self, repository: Repository, tag: str) -> None:
        """See ports.Index."""
        await self._cache.drop(_key("tag", repository, tag))

    async def manifest(self, repository: Repository, digest: str) -> Described | None:
        """See ports.Index."""
        found = await self._read(_key("manifest", repository, digest))
        return None if found is None else _described(found)

    async def put_manifest(self, repository: Repository, manifest: Described) -> None:
        """See ports.Index."""
        await self._write(_key("manifest", repository, manifest.digest), _said(manifest), CONTENT_S)

    async def is_public(self, repository: Repository) -> bool:
        """See ports.Index; what was not confirmed within the last minutes has to be again."""
        return time.monotonic() - self._public.get(repository, -RIGHT_S) < RIGHT_S

    async def set_public(self, repository: Repository, *, public: bool) -> None:
        """See ports.Index."""
        self._public.pop(repository, None)
        if public:
            self._public[repository] = time.monotonic()
            if len(self._public) > MAX_REMEMBERED:
                self._public.popitem(last=False)

    async def _read(self, key: str) -> dict[str, Any] | None:
        content = await self._cache.read(key)
        return None if content is None else json.loads(content)

    async def _write(self, key: str, said: dict[str, object], seconds: float) -> None:
        content = json.dumps(said).encode()
        await self._cache.put(key, content, seconds, len(content))


class EdgeStore:
    """The `ContentStore` port."""

    def __init__(self, cache: EdgeCache) -> None:
        self._cache = cache

    async def read(self, digest: str) -> bytes | None:
        """See ports.ContentStore."""
        return await self._cache.read(f"/content/{digest}")

    async def write(self, digest: str, content: bytes) -> None:
        """See ports.ContentStore; what cannot be kept is not."""
        await self._cache.put(f"/content/{digest}", content, CONTENT_S, len(content))

    def touch(self, digest: str) -> None:
        """See ports.ContentStore: the data centre knows itself what was used last."""


class EdgeBlobs:
    """The `BlobCache` port."""

    def __init__(self, cache: EdgeCache) -> None:
        self._cache = cache

    async def find(self, repository: Repository, digest: str) -> CachedBlob | None:
        """See ports.BlobCache."""
        key = _key("blob", repository, digest)
        marker = await self._cache.read(f"{key}/verified")
        found = None if marker is None else await self._cache.match(key)
        if marker is None or found is None:
            return None
        return CachedBlob(int(marker), StreamBody("cache", found))

    def keep(self, repository: Repository, digest: str, body: Body) -> Body:
        """See ports.BlobCache."""
        algorithm = digest.partition(":")[0]
        if not isinstance(body, StreamBody) or algorithm not in ("sha256", "sha512"):
            return body
        copy = body.split()
        if copy is not None:
            _go_on(self._keep(_key("blob", repository, digest), digest, copy))
        return body

    async def _keep(self, key: str, digest: str, copy: Any) -> None:
        length = int(copy.headers.get("content-length"))
        if not await self._cache.put(key, copy.body, CONTENT_S, length):
            return
        found = await self._cache.match(key)
        if found is None:
            return
        algorithm, _, expected = digest.partition(":")
        hashing = js.crypto.DigestStream.new("SHA-256" if algorithm == "sha256" else "SHA-512")
        try:
            await found.body.pipeTo(hashing)
            got = (await hashing.digest).to_bytes().hex()
        except JsException:
            got = "nothing"
        if got == expected:
            marker = str(length).encode()
            await self._cache.put(f"{key}/verified", marker, CONTENT_S, len(marker))
            return
        Events().warning("content_wrong", {"digest": digest, "got": f"{algorithm}:{got}"})
        await self._cache.drop(key)


def _go_on(work: Awaitable[None]) -> None:
    """Let work outlive the answer."""
    request_context.get().waitUntil(asyncio.ensure_future(work))


def _key(kind: str, repository: Repository, reference: str) -> str:
    return f"/{kind}/{quote(repository.upstream)}/{quote(repository.name)}/{quote(reference, safe=':')}"


def _said(manifest: Described) -> dict[str, object]:
    return {"digest": manifest.digest, "media_type": manifest.media_type, "size_bytes": manifest.size_bytes}


def _described(said: dict[str, Any]) -> Described:
    return Described(said["digest"], said["media_type"], said["size_bytes"])
