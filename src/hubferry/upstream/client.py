"""The `Upstream` port over sockets of our own: one exchange, to exactly the address that was checked.

Why not a library: docs/dependencies.md. Connections are kept for reuse by (upstream, scheme, host, port); one that
turns out dead before it answered is replaced once. HTTP/1.1 only: one connection per body, so that a slow reader
stalls only its own.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError
from python_socks.async_.asyncio import Proxy

from hubferry.core.exchange import Send
from hubferry.core.http import Headers
from hubferry.core.redirect import literal_problem
from hubferry.core.redirect import origin as origin_of
from hubferry.core.settings import UpstreamSettings
from hubferry.ports import Cause, Clock, Metrics, TooLarge, Uncounted, UpstreamFailure, UpstreamResponse
from hubferry.upstream.addresses import checked_addresses
from hubferry.upstream.http1 import Broken, ProtocolError, Reply, exchange
from hubferry.upstream.wire import Buffers, Wire

MAX_IDLE = 64  # connections kept for one origin
IDLE_S = 30.0
WHOLE_S = 60.0  # for a manifest, a list or a token
MAX_ADDRESSES = 3
HEAD = "no response header"


@dataclass(frozen=True, slots=True)
class Place:
    """Where connections lead: those to one place may be used in turn."""

    upstream: str
    scheme: str
    host: str
    port: int


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
        wire.patience_s = client.settings(place).read_timeout.seconds

    @property
    def host(self) -> str:
        """Whom it comes from."""
        return self._place.host

    async def read(self) -> bytes | None:
        """What has arrived, at most 512 KiB; None at the end. Raises UpstreamFailure."""
        if self._wire is None:
            return None
        try:
            piece = await self._reply.next_piece()
        except TROUBLE as error:
            raise as_failure(error, self._place.host, "the body stalled") from None
        if piece is not None:
            self._client.metrics.upstream_gave(self._place.upstream, len(piece))
        if self._reply.is_over:
            await self.close()
        return piece

    async def close(self) -> None:
        """Give the connection back when the body is over, else end it."""
        wire, self._wire = self._wire, None
        if wire is not None:
            self._reply.drop_received()
            wire.patience_s = None
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

    def __init__(self, upstreams: Mapping[str, UpstreamSettings], clock: Clock, metrics: Metrics | None = None) -> None:
        self._upstreams = upstreams
        self._clock = clock
        self.metrics = metrics or Uncounted()
        self._idle: dict[Place, list[_Idle]] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._buffers = Buffers()
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
            except _Stale:
                pass  # it was closed while it lay idle; nothing was answered, so asking again is safe
        wire = await self._connect(place)
        try:
            return await self._exchange(place, wire, request)
        except _Stale as error:
            raise UpstreamFailure(Cause.CUT, place.host, str(error)) from None

    async def _exchange(self, place: Place, wire: Wire, request: Send) -> StreamedResponse:
        parts = urlsplit(request.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        timeout_s = self.settings(place).response_timeout.seconds
        try:
            async with translated(place.host, timeout_s, HEAD):
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

    async def _connect(self, place: Place) -> Wire:
        """A new connection, through TLS and the proxy if there is one. Raises UpstreamFailure."""
        settings = self.settings(place)
        async with translated(place.host, settings.connect_timeout.seconds, "connecting"):
            sock = await self._open_socket(place, settings)
            wire = Wire(sock, self._buffers)
            try:
                if place.scheme == "https":
                    await wire.start_tls(self._context(place.upstream), place.host)
            except BaseException:
                wire.close()
                raise
            return wire

    async def _open_socket(self, place: Place, settings: UpstreamSettings) -> socket.socket:
        if settings.proxy:
            # the proxy resolves the name, because a blocked network lies about names: only literals can be checked
            if not settings.allow_private_addresses and (problem := literal_problem(place.host)):
                raise UpstreamFailure(Cause.ADDRESS, place.host, problem)
            proxy = Proxy.from_url(settings.proxy.replace("socks5h://", "socks5://"), rdns=True)
            return await proxy.connect(dest_host=place.host, dest_port=place.port)
        addresses = await checked_addresses(place.host, place.port, allow_private=settings.allow_private_addresses)
        share_s = settings.connect_timeout.seconds / min(len(addresses), MAX_ADDRESSES)
        failure: OSError | None = None
        for address in addresses[:MAX_ADDRESSES]:
            try:
                async with asyncio.timeout(share_s):
                    return await _dial(address, place.port)
            except OSError as error:  # TimeoutError is one: the next address has its own share
                failure = error
        raise failure or OSError("the name has no address")

    def _context(self, upstream: str) -> ssl.SSLContext:
        context = self._contexts.get(upstream)
        if context is None:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            if ca_file := self._upstreams[upstream].ca_file:
                context.load_verify_locations(ca_file)
            self._contexts[upstream] = context
        return context

    async def close(self) -> None:
        """Close every idle connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        idle, self._idle = self._idle, {}
        for kept in (kept for group in idle.values() for kept in group):
            kept.wire.close()


class _Stale(Exception):
    """A connection ended before it answered anything."""


async def _dial(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.asynccontextmanager
async def translated(host: str, timeout_s: float, waiting_for: str) -> AsyncIterator[None]:
    """Bound a step in time and turn what can go wrong into UpstreamFailure or _Stale."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TROUBLE as error:
        raise as_failure(error, host, waiting_for) from None


TROUBLE = (OSError, ssl.SSLError, Broken, ProtocolError, ProxyTimeoutError, ProxyError, ProxyConnectionError)


def as_failure(error: Exception, host: str, waiting_for: str) -> UpstreamFailure | _Stale:
    """What one of TROUBLE means, without any URL in it."""
    match error:
        case TimeoutError() | ProxyTimeoutError():
            return UpstreamFailure(Cause.TIMEOUT, host, waiting_for)
        case ssl.SSLCertVerificationError():
            return UpstreamFailure(Cause.TLS, host, f"certificate: {error.verify_message}")
        case ssl.SSLError():
            return UpstreamFailure(Cause.TLS, host, error.reason or "handshake")
        case Broken():
            return UpstreamFailure(Cause.CUT, host, str(error)) if error.begun else _Stale(str(error))
        case ProtocolError():
            return UpstreamFailure(Cause.PROTOCOL, host, str(error))
        case ProxyError() | ProxyConnectionError():
            return UpstreamFailure(Cause.PROXY, host, str(error))
        case ConnectionResetError() | BrokenPipeError() if waiting_for is HEAD:
            return _Stale(error.strerror)
        case ConnectionResetError() | BrokenPipeError():
            return UpstreamFailure(Cause.CUT, host, error.strerror or "reset")
        case OSError():
            return UpstreamFailure(Cause.TCP, host, error.strerror or str(error))
    raise AssertionError(f"{error!r} is none of TROUBLE")
