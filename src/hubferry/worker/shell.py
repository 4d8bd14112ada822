"""One request in, one JavaScript `Response` out: the counterpart of server/app.py.

The platform itself sends the body at the client's pace, cuts the connection when the body breaks off, and cancels the
body when the client leaves.
"""

import traceback
from dataclasses import replace
from typing import Any

from pyodide.ffi import JsException

from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request
from hubferry.core.routing import is_token_path
from hubferry.core.token_request import MAX_FORM
from hubferry.core.users import take_secret_from_path
from hubferry.gateway.answer import NOSNIFF, Answer, error_answer, internal_error
from hubferry.gateway.gateway import Gateway
from hubferry.pages.site import Site, form_limit
from hubferry.ports.upstream import TooLarge
from hubferry.worker.edge_cache import CurrentRequest, current_request
from hubferry.worker.log import Events, log_request
from hubferry.worker.messages import js_response, read_request
from hubferry.worker.transport import StreamBody, read_stream


class Shell:
    """Answers the requests of one isolate."""

    def __init__(self, gateway: Gateway, site: Site, *, log_level: str) -> None:
        """`log_level` is the lowest level of requests that are logged."""
        self._gateway = gateway
        self._site = site
        self._log_level = log_level

    async def answer(self, js_request: Any, ctx: Any) -> Any:
        """Answer a JavaScript `Request` with a JavaScript `Response`. `ctx` is the runtime's context of the request."""
        request = take_secret_from_path(read_request(js_request))
        current_request.set(CurrentRequest(ctx, request.host))
        try:
            answer = await self._answer(request, js_request)
        except Exception:  # noqa: BLE001 - the last resort: log everything, tell the client only that it failed
            Events().error("internal_error", {"path": request.path[:512], "exception": traceback.format_exc()})
            answer = internal_error()
        log_request(request, answer.status, answer.record, self._log_level)
        body = answer.body.take() if isinstance(answer.body, StreamBody) else answer.body
        return js_response(request.method, answer.status, (*answer.headers, NOSNIFF), body)

    async def _answer(self, request: Request, js_request: Any) -> Answer:
        try:
            most_bytes = MAX_FORM if is_token_path(request.path) else form_limit(request.path)
            if request.method == "POST" and most_bytes:
                request = replace(request, body=await _read_form(request, js_request.body, most_bytes))
        except OciError as error:
            return error_answer(error)
        return await self._gateway.handle(request) or await self._site.answer(request)


async def _read_form(request: Request, stream: Any, most_bytes: int) -> bytes:
    """Read the form that a client sends.

    Raises OciError 413 when it is larger than `most_bytes`, and 400 when it breaks off.
    """
    length = request.header("content-length") or "0"
    try:
        if length.isdecimal() and int(length) > most_bytes:
            raise TooLarge(length)
        return await read_stream(stream, most_bytes)
    except TooLarge:
        raise OciError(413, Code.UNSUPPORTED, f"a form of more than {most_bytes} bytes is not supported") from None
    except JsException:
        raise OciError(400, Code.UNSUPPORTED, "the form broke off") from None
