"""Connections from load balancers that begin with a PROXY protocol header (core/proxy_protocol.py).

The header is read here, before TLS. Then the connection belongs to protocol.py, as if the client had made it itself.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from uvicorn.protocols.utils import get_remote_addr

from hubferry.core.client import Network, is_in, plain_address
from hubferry.core.proxy_protocol import ProxyHeader, parse_proxy_header
from hubferry.server.log import logger
from hubferry.server.protocol import HEAD_TIMEOUT_S, BoundedHttpProtocol

TELL_S = 10.0  # invalid headers are logged at most once in this time


class ProxyHeaders:
    """Makes the protocol of each new connection, and reads the header of those that come from `balancers`."""

    def __init__(self, make: Callable[..., BoundedHttpProtocol], balancers: Sequence[Network]) -> None:
        self._make = make
        self._balancers = balancers
        self._told_at_s: float | None = None

    def __call__(self, **arguments: Any) -> asyncio.Protocol:
        """Return the protocol of a new connection. `arguments` are those that uvicorn gives to its own protocol."""
        return _Beginning(self, lambda: self._make(**arguments))

    def come_first_from(self, peer: str) -> bool:
        """Return whether a connection from the address `peer` begins with a header; empty: the address is not known."""
        return not peer or is_in(plain_address(peer), self._balancers)

    def tell(self, peer: str, problem: str) -> None:
        """Log that a connection from `peer` was closed because of its header."""
        now_s = time.monotonic()
        if self._told_at_s is None or now_s - self._told_at_s >= TELL_S:
            self._told_at_s = now_s
            remedy = "let it send PROXY protocol headers, or take it out of server.proxy_protocol"
            logger().warning("proxy_header_invalid", peer=peer, reason=f"{problem}: {remedy}")


class _Beginning(asyncio.Protocol):
    """A connection until it is known whose it is."""

    def __init__(self, headers: ProxyHeaders, make: Callable[[], BoundedHttpProtocol]) -> None:
        self._headers = headers
        self._make = make
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Hand the connection on at once, unless a header comes first."""
        self._transport = transport
        address = get_remote_addr(transport)
        self._peer = address[0] if address else ""
        if self._headers.come_first_from(self._peer):
            self._timer = asyncio.get_running_loop().call_later(HEAD_TIMEOUT_S, self._refuse, "no header came in time")
        else:
            self._hand_on(transport, None, b"")

    def data_received(self, data: bytes) -> None:
        """Read the header as soon as it is complete. A connection without a valid one is closed."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._received += data
        try:
            header = parse_proxy_header(self._received)
        except ValueError as error:
            self._refuse(str(error))
            return
        if header is not None:
            self._stop_timer()
            self._hand_on(transport, header, self._received[header.size_bytes :])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nothing depends on why
        """Forget the timer. A balancer that only looks whether somebody listens ends its connection like this."""
        self._stop_timer()

    def _refuse(self, problem: str) -> None:
        self._headers.tell(self._peer, problem)
        if self._transport is not None:
            self._transport.abort()

    def _hand_on(self, transport: asyncio.Transport, header: ProxyHeader | None, rest: bytes) -> None:
        protocol = self._make()
        if header is not None:
            protocol.said_client = header.client
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest and not transport.is_closing():
            protocol.data_received(rest)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
