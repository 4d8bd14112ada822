"""Open a connection to a destination: its name, its addresses or the proxy in front of it, and TLS.

Each of these steps has its own limit in time.
"""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from hubferry.core.dialling import AddressHistory
from hubferry.core.no_proxy import NoProxy
from hubferry.core.proxy import Proxy, parse_proxy
from hubferry.core.redirect import literal_problem
from hubferry.core.settings import UpstreamSettings
from hubferry.ports.shell import Clock
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.transport.addresses import Names
from hubferry.transport.dial import dial
from hubferry.transport.failures import limited
from hubferry.transport.tunnel import ProxyFailed, tunnel
from hubferry.transport.wire import Buffers, Wire


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection leads. Connections to equal destinations may be used for each other's exchanges."""

    upstream: str
    scheme: str
    host: str
    port: int


class Connector:
    """Opens connections to the upstreams' hosts, for one event loop."""

    def __init__(self, upstreams: Mapping[str, UpstreamSettings], no_proxy: NoProxy, clock: Clock) -> None:
        self._upstreams = upstreams
        self._proxies = {name: parse_proxy(upstream.proxy) for name, upstream in upstreams.items() if upstream.proxy}
        self._no_proxy = no_proxy
        self._clock = clock
        self._names = Names()
        self._standing = AddressHistory()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._buffers = Buffers()

    async def connect(self, place: Destination) -> Wire:
        """Return a new connection that is ready for a request. Raises UpstreamFailure."""
        settings = self._upstreams[place.upstream]
        proxy = None if self._no_proxy.matches(place.host, place.port) else self._proxies.get(place.upstream)
        through, hint = "", ""
        if proxy:
            through, hint = " through the proxy", "; check that the proxy runs and that the proxy setting names it"
        async with limited(place.host, f"connection{through}", "connect_timeout", settings.connect_timeout, hint=hint):
            if proxy:
                sock, address = await self._open_through(proxy, place, settings), ""
            else:
                sock, address = await self._open(place, settings)
        wire = Wire(sock, self._buffers)
        try:
            if place.scheme == "https":
                async with limited(place.host, f"TLS handshake{through}", "tls_timeout", settings.tls_timeout):
                    await wire.start_tls(self._context(place.upstream), place.host)
        except BaseException as error:
            wire.close()
            if address and isinstance(error, UpstreamFailure):  # another address may be another machine or route
                self._standing.failed(place.host, address, self._clock.monotonic())
            raise
        if address:
            self._standing.served(place.host, address, self._clock.monotonic())
        return wire

    async def _open(self, place: Destination, settings: UpstreamSettings) -> tuple[socket.socket, str]:
        """Dial an upstream's own addresses, and return the socket and the address. Raises UpstreamFailure, OSError."""
        allowed = await self._names.checked_addresses(
            place.host, place.port, upstream=place.upstream, allow_private=settings.allow_private_addresses
        )
        try:
            return await dial(self._standing.order(place.host, allowed, self._clock.monotonic()), place.port)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise OSError(error.errno, f"{error.strerror or error} (port {place.port})") from None

    async def _open_through(self, proxy: Proxy, place: Destination, settings: UpstreamSettings) -> socket.socket:
        """Dial a proxy and have it forward the connection. Raises UpstreamFailure, ProxyFailed, TimeoutError."""
        # the proxy resolves the name, because a blocked network lies about names: only a literal can be checked here
        if not settings.allow_private_addresses and (problem := literal_problem(place.host)):
            raise UpstreamFailure(Cause.ADDRESS, place.host, problem)
        try:  # the operator has configured where the proxy is, so its address may be private
            addresses = await self._names.checked_addresses(
                proxy.host, proxy.port, upstream=place.upstream, allow_private=True
            )
            ordered = self._standing.order(proxy.host, addresses, self._clock.monotonic())
            sock, address = await dial(ordered, proxy.port)
        except UpstreamFailure as error:
            raise ProxyFailed(f"its own name cannot be resolved ({error.detail}); check the proxy setting") from None
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            said = error.strerror or str(error)
            raise ProxyFailed(
                f"it cannot be connected to ({said}); check that it runs, and the proxy setting"
            ) from None
        try:
            await tunnel(sock, proxy, place.host, place.port)
        except BaseException:
            sock.close()
            raise
        self._standing.served(proxy.host, address, self._clock.monotonic())
        return sock

    def _context(self, upstream: str) -> ssl.SSLContext:
        """Return the TLS settings of an upstream, made at its first connection."""
        context = self._contexts.get(upstream)
        if context is None:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            if ca_file := self._upstreams[upstream].ca_file:
                context.load_verify_locations(ca_file)
            self._contexts[upstream] = context
        return context
