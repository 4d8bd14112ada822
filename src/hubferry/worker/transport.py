"""The `Transport` port over the runtime's `fetch`: single HTTP requests, with redirects left to the core.

The runtime resolves names and connects, so only hosts that are written as addresses can be refused (core/redirect.py).
A public name that resolves to a private address leads nowhere, because there is no private network around a Worker.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import js
from pyodide.ffi import JsException

from hubferry.core.exchange import Send
from hubferry.core.http import Headers, get
from hubferry.core.redirect import literal_problem
from hubferry.core.settings import UpstreamSettings
from hubferry.ports.upstream import Cause, TooLarge, UpstreamFailure, UpstreamResponse
from hubferry.worker.messages import js_headers, js_object

WHOLE_S = 60.0  # the time for the whole body of a manifest, a list or a token


class StreamBody:
    """The body of a JavaScript `Response`, whose bytes stay in the runtime."""

    def __init__(self, host: str, response: Any, aborting: Any = None) -> None:
        """`host` is named in failures. `aborting` is the AbortController of the fetch, if there is one."""
        self.host = host
        self.aborting = aborting
        self._response = response

    def take(self) -> Any:
        """Return the stream, or `null` when there is none. The caller owns it from then on; `close` does nothing."""
        response, self._response = self._response, None
        return response.body

    async def whole(self) -> bytes:
        """Return the whole body at once, which takes half the time of reading it piece by piece.

        It reads without a limit, so it is only for a body whose length is known. Raises JsException.
        """
        response, self._response = self._response, None
        return bytes((await response.arrayBuffer()).to_bytes())

    def split(self) -> Any:
        """Return a second `Response` with the same bytes, or None when there is no body.

        Bytes that only one of the two readers has taken wait in memory for the other.
        """
        if not self._response.body:
            return None
        return self._response.clone()

    async def close(self) -> None:
        """The rest of the body is cancelled, so that its connection is free again."""
        response, self._response = self._response, None
        if response is not None and response.body and not response.bodyUsed:
            with contextlib.suppress(JsException):  # the transfer had failed already, and nobody needs it any longer
                await response.body.cancel()


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """The head of one upstream answer, and its body, which has not been read yet."""

    status: int
    headers: Headers
    body: StreamBody


class FetchTransport:
    """Performs single HTTP requests for the configured upstreams."""

    def __init__(self, upstreams: Mapping[str, UpstreamSettings]) -> None:
        self._upstreams = upstreams

    async def send(self, upstream: str, request: Send) -> StreamedResponse:
        parts = urlsplit(request.url)
        host = parts.netloc
        settings = self._upstreams[upstream]
        if not settings.allow_private_addresses and (problem := literal_problem(parts.hostname or "")):
            raise UpstreamFailure(Cause.ADDRESS, host, problem)
        aborting = js.AbortController.new()
        init = js_object(
            {
                "method": request.method,
                "redirect": "manual",
                # a fetch goes through the cache of the Worker's own domain, which could answer in the upstream's place
                "cache": "no-store",
                "headers": request.headers,
            }
        )
        init.signal = aborting.signal
        try:
            with _aborted_after(settings.response_timeout.seconds, aborting):
                response = await js.fetch(request.url, init)
        except JsException:
            if aborting.signal.aborted:
                raise UpstreamFailure(Cause.TIMEOUT, host, "no response header") from None
            # the exception's text is left out: it differs between runtimes, and may quote the URL with its signature
            raise UpstreamFailure(Cause.TCP, host) from None
        except asyncio.CancelledError:  # another base (upstream or mirror) has answered first
            aborting.abort()
            raise
        return StreamedResponse(response.status, js_headers(response.headers), StreamBody(host, response, aborting))

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        body = response.body
        if not isinstance(body, StreamBody):
            raise TypeError("a body of another client")
        length = get(response.headers, "content-length") or ""
        is_known = length.isdecimal() and get(response.headers, "content-encoding") is None
        try:
            if is_known and int(length) > limit_bytes:
                raise TooLarge(f"more than {limit_bytes} bytes")
            with _aborted_after(WHOLE_S, body.aborting):
                return await body.whole() if is_known else await read_stream(body.take(), limit_bytes)
        except JsException:
            if body.aborting.signal.aborted:
                raise UpstreamFailure(Cause.TIMEOUT, body.host, "a small body took too long") from None
            raise UpstreamFailure(Cause.CUT, body.host) from None
        finally:
            await body.close()


@contextlib.contextmanager
def _aborted_after(seconds: float, aborting: Any) -> Iterator[None]:
    """Abort a transfer that takes longer than that many seconds.

    The runtime's own timer is used, so that no callback into Python has to be made.
    """
    timer = js.setTimeout(aborting.abort.bind(aborting), int(seconds * 1000))
    try:
        yield
    finally:
        js.clearTimeout(timer)


async def read_stream(stream: Any, limit_bytes: int) -> bytes:
    """Read a whole stream; `null` counts as empty. Raises TooLarge for more than `limit_bytes`, and JsException."""
    if not stream:
        return b""
    reader = stream.getReader()
    parts: list[bytes] = []
    size = 0
    is_over = False
    try:
        while not is_over:
            piece = await reader.read()
            is_over = bool(piece.done)
            if not is_over:
                parts.append(piece.value.to_bytes())
                size += len(parts[-1])
                if size > limit_bytes:
                    raise TooLarge(f"more than {limit_bytes} bytes")
    finally:
        if not is_over:
            reader.cancel().catch(_ignore)
    return b"".join(parts)


def _ignore(_: Any) -> None:
    """Ignore that cancelling a stream failed, because the stream had failed already."""
