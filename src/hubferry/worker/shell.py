"""One request in, one `Response` out: what the server's app does, less what the platform does itself.

The platform sends the body at the client's pace, cuts it when it breaks off, and cancels it when the client leaves.
"""

import traceback
from dataclasses import replace
from typing import Any

from pyodide.ffi import JsException

from hubferry.core.errors import Code, OciError
from hubferry.core.http import Headers, Request
from hubferry.core.routing import is_token_path
from hubferry.core.token_request import MAX_FORM
from hubferry.pages.home import ROBOTS, SECURITY, HomePage
from hubferry.ports import TooLarge
from hubferry.pull import Answer, Gateway
from hubferry.pull.answer import NOSNIFF, error_answer, internal_error
from hubferry.worker.edge_cache import UnderWay, under_way
from hubferry.worker.log import Events, log_request
from hubferry.worker.messages import js_response, read_request
from hubferry.worker.upstream import StreamBody, read_stream

PLAIN: Headers = (("content-type", "text/plain; charset=utf-8"),)


class Shell:
    """Answers the requests of one isolate."""

    def __init__(self, gateway: Gateway, home: HomePage, *, log_level: str) -> None:
        """`log_level` is the lowest of those whose lines are written."""
        self._gateway = gateway
        self._home = home
        self._log_level = log_level

    async def answer(self, js_request: Any, ctx: Any) -> Any:
        """A JavaScript `Request` -> a JavaScript `Response`."""
        request = read_request(js_request)
        under_way.set(UnderWay(ctx, request.host))
        try:
            answer = await self._answer(request, js_request)
        except Exception:  # noqa: BLE001 - the last resort: log everything, tell the client nothing but that
            Events().error("internal_error", {"path": request.path[:512], "exception": traceback.format_exc()})
            answer = internal_error()
        log_request(request, answer.status, answer.trail, self._log_level)
        body = answer.body.take() if isinstance(answer.body, StreamBody) else answer.body
        return js_response(request.method, answer.status, (*answer.headers, NOSNIFF), body)

    async def _answer(self, request: Request, js_request: Any) -> Answer:
        try:
            if request.method == "POST" and is_token_path(request.path):
                request = replace(request, body=await _read_form(request, js_request.body))
        except OciError as error:
            return error_answer(error)
        return await self._gateway.handle(request) or self._page(request)

    def _page(self, request: Request) -> Answer:
        """What is no part of the registry protocol."""
        if request.method not in ("GET", "HEAD"):
            return Answer(405, (*PLAIN, ("allow", "GET, HEAD")), b"only GET and HEAD are answered here\n")
        if request.path == "/":
            html = self._home.render(request).encode()
            return Answer(200, (("content-type", "text/html; charset=utf-8"), *SECURITY.items()), html)
        if request.path == "/robots.txt":
            return Answer(200, PLAIN, ROBOTS.encode())
        if request.path == "/healthz":
            return Answer(200, (*PLAIN, ("cache-control", "no-store")), b"ok\n")
        return Answer(404, PLAIN, f"nothing is at {request.path[:512]}: see /\n".encode())


async def _read_form(request: Request, stream: Any) -> bytes:
    """The body of a token request. Raises OciError 400 and 413."""
    length = request.header("content-length") or "0"
    try:
        if length.isdecimal() and int(length) > MAX_FORM:
            raise TooLarge(length)
        return await read_stream(stream, MAX_FORM)
    except TooLarge:
        raise OciError(413, Code.UNSUPPORTED, f"a form of more than {MAX_FORM} bytes is not supported") from None
    except JsException:
        raise OciError(400, Code.UNSUPPORTED, "the form broke off") from None
