"""The `Upstream` port over sockets of our own: one exchange, to exactly the address that was checked.

Why not a library: docs/dependencies.md. Connections are kept for reuse by (upstream, scheme, host, port); one that
turns out dead before it answered is replaced once. HTTP/1.1 only: one connection per body, so that a slow reader
stalls only its own.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from hubferry.core.exchange import Send
from hubferry.core.http import Headers
from hubferry.core.no_proxy import NoProxy
from hubferry.core.pace import Pace
from hubferry.core.redirect import origin as origin_of
from hubferry.core.settings import UpstreamSettings
from hubferry.core.trickle import Trickle
from hubferry.ports import Cause, Clock, Metrics, TooLarge, Uncounted, UpstreamFailure, UpstreamResponse
from hubferry.upstream.connect import Connector, Place
from hubferry.upstream.failures import ANSWER, TROUBLE, Stale, as_failure, limited
from hubferry.upstream.http1 import Reply, exchange
from hubferry.upstream.wire import Wire

MAX_IDLE = 64  # connections kept for one origin
IDLE_S = 30.0
SLOW_BYTES = 512 * 1024  # a piece for a client that may keep it waiting in memory
QUICK_BYTES = 2**20  # for who takes pieces as fast as they come: a blob is kept a tenth faster than with 512 KiB
WHOLE_S = 60.0  # for a manifest, a list or a token


@dataclass(frozen=True, slots=True)
class _Idle:
    wire: Wire
    since: float


class StreamedBody:
    """A body as it arrives; `read` is for the server shell, `close` for everybody."""

    def __init__(self, client: "SocketUpstream", place: Place, wire: Wire, reply: Reply) -> None:
        self._client = client
        self._place = place
        self._wire: Wire | None = wire
        self._reply = reply
        settings = client.settings(place)
        self._read_timeout = settings.read_timeout
        self._pace = Pace(small_bytes=SLOW_BYTES, large_bytes=QUICK_BYTES)
        wire.count_body(1)
        wire.patience_s = settings.read_timeout.seconds
        wire.trickle = Trickle(settings.min_rate.size_bytes, settings.read_timeout.seconds)

    @property
    def host(self) -> str:
        """Whom it comes from."""
        return self._place.host

    async def read(self) -> bytes | None:
        """What has arrived, at most 1 MiB; None at the end. Raises UpstreamFailure."""
        if self._wire is None:
            return None
        try:
            piece = await self._reply.next_piece(self._pace.next_bytes(time.monotonic()))
        except TROUBLE as error:
            raise as_failure(error, self._place.host, "more of the body", "read_timeout", self._read_timeout) from None
        if piece is not None:
            self._client.metrics.upstream_gave(self._place.upstream, len(piece))
        if self._reply.is_over:
            await self.close()
        return piece

    async def close(self) -> None:
        """Give the connection back when the body is over, else end it."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.count_body(-1)
            self._reply.drop_received()
            wire.patience_s, wire.trickle = None, None
            if self._reply.is_over and self._reply.keeps_alive:
                self._client.keep(self._place, wire)
            else:
                wire.close()


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """The head of one answer."""

    status: int
    headers: Headers
    body: StreamedBody


class SocketUpstream:
    """Performs single HTTP exchanges with the hosts of configured upstreams."""

    def __init__(
        self,
        upstreams: Mapping[str, UpstreamSettings],
        clock: Clock,
        metrics: Metrics | None = None,
        no_proxy: NoProxy | None = None,
    ) -> None:
        """`no_proxy` are the hosts that are reached without the proxy of their upstream."""
        self._upstreams = upstreams
        self._clock = clock
        self.metrics = metrics or Uncounted()
        self._idle: dict[Place, list[_Idle]] = {}
        self._connector = Connector(upstreams, no_proxy or NoProxy(), clock)
        self._sweep: asyncio.TimerHandle | None = None

    def settings(self, place: Place) -> UpstreamSettings:
        """The settings of the upstream that a place belongs to."""
        return self._upstreams[place.upstream]

    async def send(self, upstream: str, request: Send) -> StreamedResponse:
        """See ports.Upstream."""
        try:
            response = await self._send(upstream, request)
        except UpstreamFailure:
            self.metrics.upstream_asked(upstream, request.method, None)
            raise
        self.metrics.upstream_asked(upstream, request.method, response.status)
        return response

    async def _send(self, upstream: str, request: Send) -> StreamedResponse:
        place = Place(upstream, *origin_of(request.url))
        kept = self._take(place)
        if kept is not None:
            try:
                return await self._exchange(place, kept, request)
            except Stale:
                pass  # it was closed while it lay idle; nothing was answered, so asking again is safe
        wire = await self._connector.connect(place)
        try:
            return await self._exchange(place, wire, request)
        except Stale as error:
            raise UpstreamFailure(Cause.CUT, place.host, str(error)) from None

    async def _exchange(self, place: Place, wire: Wire, request: Send) -> StreamedResponse:
        parts = urlsplit(request.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        limit = self.settings(place).response_timeout
        try:
            async with limited(place.host, ANSWER, "response_timeout", limit):
                reply = await exchange(wire, target, parts.netloc, request)
        except BaseException:
            wire.close()
            raise
        body = StreamedBody(self, place, wire, reply)
        if reply.is_over:
            await body.close()
        return StreamedResponse(reply.status, reply.headers, body)

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        """See ports.Upstream."""
        body = response.body
        if not isinstance(body, StreamedBody):
            raise TypeError("a body of another client")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(WHOLE_S):  # each piece has its own limit; many small ones need another
                while (piece := await body.read()) is not None:
                    size += len(piece)
                    if size > limit_bytes:
                        raise TooLarge(f"more than {limit_bytes} bytes")
                    parts.append(piece)
        except TimeoutError:
            raise UpstreamFailure(Cause.TIMEOUT, body.host, "a small body took too long") from None
        finally:
            await body.close()
        return b"".join(parts)

    def _take(self, place: Place) -> Wire | None:
        idle = self._idle.get(place, [])
        while idle:
            kept = idle.pop()
            if self._clock.monotonic() - kept.since < IDLE_S and kept.wire.is_quiet:
                return kept.wire
            kept.wire.close()
        self._idle.pop(place, None)
        return None

    def keep(self, place: Place, wire: Wire) -> None:
        """Keep a connection for the next exchange with the same place, for IDLE_S."""
        idle = self._idle.setdefault(place, [])
        if len(idle) >= MAX_IDLE:
            wire.close()
            return
        idle.append(_Idle(wire, self._clock.monotonic()))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        now = self._clock.monotonic()
        for place, idle in list(self._idle.items()):
            while idle and (now - idle[0].since >= IDLE_S or not idle[0].wire.is_quiet):
                idle.pop(0).wire.close()
            if not idle:
                del self._idle[place]
        self._sweep = asyncio.get_running_loop().call_later(IDLE_S, self._close_idle) if self._idle else None

    async def close(self) -> None:
        """Close every idle connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        idle, self._idle = self._idle, {}
        for kept in (kept for group in idle.values() for kept in group):
            kept.wire.close()
