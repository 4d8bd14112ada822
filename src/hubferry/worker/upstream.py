"""The `Upstream` port over the runtime's `fetch`: one exchange, redirects left to the core.

The runtime resolves names and dials; only addresses that are written as such can be refused (core/redirect.py). A
Worker cannot reach its owner's private network by a public name, because there is none around it.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import js
from pyodide.ffi import JsException

from hubferry.core.exchange import Send
from hubferry.core.http import Headers, get
from hubferry.core.redirect import literal_problem
from hubferry.core.settings import UpstreamSettings
from hubferry.ports import Cause, TooLarge, UpstreamFailure, UpstreamResponse
from hubferry.worker.messages import js_headers, js_object

WHOLE_S = 60.0  # for a manifest, a list or a token


class StreamBody:
    """A body as the runtime holds it."""

    def __init__(self, host: str, response: Any, aborting: Any = None) -> None:
        """`aborting` is the AbortController of the fetch, if there is one."""
        self.host = host
        self._response = response
        self._aborting = aborting

    def take(self) -> Any:
        """The stream, to be handed on; it is no longer this body's to close. `null` when there is none."""
        response, self._response = self._response, None
        return response.body

    async def whole(self) -> bytes:
        """All of it at once: half the time of piece by piece, where the length is known. Raises JsException."""
        response, self._response = self._response, None
        return bytes((await response.arrayBuffer()).to_bytes())

    def abort(self) -> None:
        """End the transfer, whoever reads it."""
        if self._aborting is not None:
            self._aborting.abort()

    def split(self) -> Any:
        """A second `Response` with the same bytes; what one reader has not taken yet waits in memory. None: no body."""
        if not self._response.body:
            return None
        return self._response.clone()

    async def close(self) -> None:
        """See ports.Body: what is not read is given up, so that its connection is free again."""
        response, self._response = self._response, None
        if response is not None and response.body and not response.bodyUsed:
            with contextlib.suppress(JsException):  # it had failed already: nobody wants it any longer
                await response.body.cancel()


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """The head of one answer."""

    status: int
    headers: Headers
    body: StreamBody


class FetchUpstream:
    """Performs single HTTP exchanges with the hosts of configured upstreams."""

    def __init__(self, upstreams: Mapping[str, UpstreamSettings]) -> None:
        self._upstreams = upstreams

    async def send(self, upstream: str, request: Send) -> StreamedResponse:
        """See ports.Upstream."""
        parts = urlsplit(request.url)
        host = parts.netloc
        settings = self._upstreams[upstream]
        if not settings.allow_private_addresses and (problem := literal_problem(parts.hostname or "")):
            raise UpstreamFailure(
                Cause.ADDRESS, host, f"{problem}; allow_private_addresses = true allows it for this upstream"
            )
        aborting = js.AbortController.new()
        init = js_object(
            {
                "method": request.method,
                "redirect": "manual",
                # a fetch goes through the domain's own cache, which could answer in place of the upstream
                "cache": "no-store",
                "headers": request.headers,
            }
        )
        init.signal = aborting.signal
        try:
            async with asyncio.timeout(settings.response_timeout.seconds):
                response = await js.fetch(request.url, init)
        except TimeoutError:
            aborting.abort()
            raise UpstreamFailure(Cause.TIMEOUT, host, "no response header") from None
        except JsException:
            # what it says differs between runtimes and may quote the URL, with its signature
            raise UpstreamFailure(Cause.TCP, host) from None
        except asyncio.CancelledError:  # another base answered first
            aborting.abort()
            raise
        return StreamedResponse(response.status, js_headers(response.headers), StreamBody(host, response, aborting))

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        """See ports.Upstream."""
        body = response.body
        if not isinstance(body, StreamBody):
            raise TypeError("a body of another client")
        length = get(response.headers, "content-length") or ""
        is_known = length.isdecimal() and get(response.headers, "content-encoding") is None
        try:
            if is_known and int(length) > limit_bytes:
                raise TooLarge(f"more than {limit_bytes} bytes")
            async with asyncio.timeout(WHOLE_S):
                return await body.whole() if is_known else await read_stream(body.take(), limit_bytes)
        except TimeoutError:
            body.abort()
            raise UpstreamFailure(Cause.TIMEOUT, body.host, "a small body took too long") from None
        except JsException:
            raise UpstreamFailure(Cause.CUT, body.host) from None
        finally:
            await body.close()


async def read_stream(stream: Any, limit_bytes: int) -> bytes:
    """All of a stream. Raises TooLarge, JsException."""
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
    """A stream that failed already has nothing to give up."""
