"""The `Transport` port over sockets of our own: one exchange, with exactly the address that was checked.

Why this is not a library: docs/dependencies.md. Connections are kept for reuse by (upstream, scheme, host, port); one
that turns out to be dead before it has answered is replaced once. HTTP/1.1 only: each body has a connection of its own,
so that a slow reader stalls only its own.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from hubferry.core.arrival_rate import ArrivalRate
from hubferry.core.exchange import Send
from hubferry.core.http import Headers
from hubferry.core.no_proxy import NoProxy
from hubferry.core.pace import Pace
from hubferry.core.redirect import origin as origin_of
from hubferry.core.settings import UpstreamSettings
from hubferry.ports.shell import UNCOUNTED, Clock, Metrics, UpstreamPace
from hubferry.ports.upstream import Cause, TooLarge, UpstreamFailure, UpstreamResponse
from hubferry.transport.connect import Connector, Destination
from hubferry.transport.failures import ANSWER, TROUBLE, Stale, as_failure, limited
from hubferry.transport.http1 import Reply, send_request
from hubferry.transport.wire import Wire

MAX_IDLE = 64  # connections kept for one destination
MAX_ALL_IDLE = 512  # of all destinations
IDLE_S = 30.0  # how long a connection is kept
SLOW_BYTES = 512 * 1024  # a piece for a reader that may leave it waiting in memory
QUICK_BYTES = 2**20  # for one that takes pieces as fast as they come: a blob is kept a tenth faster than with 512 KiB
WHOLE_S = 60.0  # how long it may take to read a manifest, a list or a token


@dataclass(frozen=True, slots=True)
class _Idle:
    """A connection that waits for its next exchange, since a time of the monotonic clock, in seconds."""

    wire: Wire
    since: float


class StreamedBody:
    """A body as it arrives: the server shell reads it, and anybody may close it."""

    def __init__(self, client: "SocketTransport", place: Destination, wire: Wire, reply: Reply) -> None:
        self._client = client
        self._place = place
        self._wire: Wire | None = wire
        self._reply = reply
        self._owed_bytes = 0  # of what was received: they are paid for before more is read
        settings = client.settings(place)
        self._read_timeout = settings.read_timeout
        self._pace = Pace(small_bytes=SLOW_BYTES, large_bytes=QUICK_BYTES)
        wire.count_body(1)
        wire.patience_s = settings.read_timeout.seconds
        wire.arrival_rate = ArrivalRate(settings.min_rate.size_bytes, settings.read_timeout.seconds)

    @property
    def host(self) -> str:
        """The host that the body comes from."""
        return self._place.host

    async def read(self) -> bytes | None:
        """Return what has arrived, at most 1 MiB; None at the end. Raises UpstreamFailure."""
        if self._wire is None:
            return None
        owed_bytes, self._owed_bytes = self._owed_bytes, 0
        if owed_bytes and self._client.pace is not None:
            await self._client.pace.pay_upstream(owed_bytes)
        try:
            piece = await self._reply.next_piece(self._pace.next_bytes(time.monotonic()))
        except TROUBLE as error:
            raise as_failure(error, self._place.host, "more of the body", "read_timeout", self._read_timeout) from None
        if piece is not None:
            self._client.metrics.upstream_gave(self._place.upstream, len(piece))
            self._owed_bytes = len(piece)
        if self._reply.is_over:
            await self.close()
        return piece

    def charge(self) -> None:
        """Pay for what was received without waiting."""
        owed_bytes, self._owed_bytes = self._owed_bytes, 0
        if owed_bytes and self._client.pace is not None:
            self._client.pace.charge_upstream(owed_bytes)

    async def close(self) -> None:
        """Give the connection back when the body was read to its end, otherwise close it."""
        wire, self._wire = self._wire, None
        self.charge()
        if wire is not None:
            wire.count_body(-1)
            self._reply.drop_received()
            wire.patience_s, wire.arrival_rate = None, None
            if self._reply.is_over and self._reply.keeps_alive:
                self._client.keep(self._place, wire)
            else:
                wire.close()


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """The head of one answer, with its body still to come."""

    status: int
    headers: Headers
    body: StreamedBody


class SocketTransport:
    """Performs single HTTP exchanges with the hosts of configured upstreams."""

    def __init__(
        self,
        upstreams: Mapping[str, UpstreamSettings],
        clock: Clock,
        metrics: Metrics = UNCOUNTED,
        no_proxy: NoProxy | None = None,
        pace: UpstreamPace | None = None,
    ) -> None:
        """`no_proxy` names the hosts that are reached without the proxy of their upstream.

        `pace` says how fast blobs may come; None: as fast as they can.
        """
        self._upstreams = upstreams
        self._clock = clock
        self.metrics = metrics
        self.pace = pace
        self._idle: dict[Destination, list[_Idle]] = {}
        self._connector = Connector(upstreams, no_proxy or NoProxy(), clock)
        self._sweep: asyncio.TimerHandle | None = None

    def settings(self, place: Destination) -> UpstreamSettings:
        """Return the settings of the upstream that a destination belongs to."""
        return self._upstreams[place.upstream]

    async def send(self, upstream: str, request: Send) -> StreamedResponse:
        try:
            response = await self._send(upstream, request)
        except UpstreamFailure:
            self.metrics.upstream_asked(upstream, request.method, None)
            raise
        self.metrics.upstream_asked(upstream, request.method, response.status)
        return response

    async def _send(self, upstream: str, request: Send) -> StreamedResponse:
        """Send a request over an idle connection, or over a new one when there is none that still works."""
        place = Destination(upstream, *origin_of(request.url))
        kept = self._take(place)
        if kept is not None:
            try:
                return await self._send_over(place, kept, request)
            except Stale:
                pass  # it was closed while it lay idle; nothing was answered, so asking again is safe
        wire = await self._connector.connect(place)
        try:
            return await self._send_over(place, wire, request)
        except Stale as error:
            raise UpstreamFailure(Cause.CUT, place.host, str(error)) from None

    async def _send_over(self, place: Destination, wire: Wire, request: Send) -> StreamedResponse:
        """Perform one exchange on a connection, which is closed when that fails. Raises UpstreamFailure, Stale."""
        parts = urlsplit(request.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        limit = self.settings(place).response_timeout
        try:
            async with limited(place.host, ANSWER, "response_timeout", limit):
                reply = await send_request(wire, target, parts.netloc, request)
        except BaseException:
            wire.close()
            raise
        body = StreamedBody(self, place, wire, reply)
        if reply.is_over:
            await body.close()
        return StreamedResponse(reply.status, reply.headers, body)

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        body = response.body
        if not isinstance(body, StreamedBody):
            raise TypeError("a body of another client")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(WHOLE_S):  # each piece has its own limit; many small ones need another one
                while (piece := await body.read()) is not None:
                    body.charge()  # blobs are waited for, and what is needed to fetch them is not
                    size += len(piece)
                    if size > limit_bytes:
                        raise TooLarge(f"more than {limit_bytes} bytes")
                    parts.append(piece)
        except TimeoutError:
            raise UpstreamFailure(Cause.TIMEOUT, body.host, "a small body took too long") from None
        finally:
            await body.close()
        return b"".join(parts)

    def _take(self, place: Destination) -> Wire | None:
        """Return an idle connection that is still usable; None when there is none."""
        idle = self._idle.get(place, [])
        while idle:
            kept = idle.pop()
            if not idle:
                del self._idle[place]  # no destination has an empty list: see `keep`
            if self._clock.monotonic() - kept.since < IDLE_S and kept.wire.is_quiet:
                return kept.wire
            kept.wire.close()
        return None

    def keep(self, place: Destination, wire: Wire) -> None:
        """Keep a connection for the next exchange with the same destination, for IDLE_S.

        Beyond MAX_IDLE of one destination it is closed. Beyond MAX_ALL_IDLE the one that is idle for longest is:
        upstreams decide where they redirect to.
        """
        if len(self._idle.get(place, ())) >= MAX_IDLE:
            wire.close()
            return
        if sum(map(len, self._idle.values())) >= MAX_ALL_IDLE:
            oldest = min(self._idle, key=lambda one: self._idle[one][0].since)
            self._idle[oldest].pop(0).wire.close()
            if not self._idle[oldest]:
                del self._idle[oldest]
        idle = self._idle.setdefault(place, [])
        idle.append(_Idle(wire, self._clock.monotonic()))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        """Close connections that were idle for IDLE_S or are no longer usable, and come back while any are left."""
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
