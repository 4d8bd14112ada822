"""All connections of clients: limit how many each address has, and regularly cut clients that take too little.

The limits apply to one worker process. Not here: what one connection may send (protocol.py), when a client takes too
little (core/client_rate.py), memory for large bodies (body_memory.py).
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hubferry.core.client import Network, address_group, is_in, plain_address
from hubferry.core.pace import LargePieces
from hubferry.server.kernel_memory import MOST_LARGE
from hubferry.server.log import logger

LOOK_S = 1.0  # the longest time between two checks of what clients take
MOST_LINGERING = 256  # how many refused connections stay open for a moment; beyond that they are closed at once
TELL_S = 10.0  # refusals are logged at most once in this time, however many there are


@dataclass(frozen=True)
class ClientLimits:
    """The limits for clients, from `[server]`.

    They are write_timeout, min_client_rate (0: any rate), connections_per_address (0: any number) and trusted_proxies.
    """

    write_timeout_s: float
    min_bytes_per_s: int
    connections_per_address: int
    trusted: Sequence[Network] = ()


class Connection(Protocol):
    """One connection, as far as this module needs it (protocol.BoundedHttpProtocol)."""

    @property
    def is_unused(self) -> bool:
        """Whether every request on it was answered, and it is only kept open for the client's next request."""

    def let_go(self) -> None:
        """Close an unused connection. Its client opens another one when it needs one."""

    def look(self, passed_s: float) -> None:
        """Cut the connection if its client takes too little. `passed_s` seconds have passed since the last call."""


class Clients:
    """All connections of one worker process."""

    def __init__(self, limits: ClientLimits) -> None:
        self.limits = limits
        self.large_buffers = LargePieces(MOST_LARGE)
        self.is_stopping = False  # then nobody new is served
        self._of_address: dict[str, dict[Connection, None]] = {}
        self._looked_at_s = time.monotonic()
        self._lingering = 0
        self._refused = 0
        self._told_at_s: float | None = None

    @property
    def look_s(self) -> float:
        """The interval in seconds at which `look` has to be called."""
        return min(LOOK_S, self.limits.write_timeout_s / 8)

    def admit(self, connection: Connection, peer: str) -> bool:
        """Count a new connection from the address `peer`. Return whether it may stay.

        When the address has too many connections, an unused one of them is closed to make room for it. A trusted proxy
        may have any number of connections, because they belong to its clients.
        """
        most = self.limits.connections_per_address
        if not most or is_in(plain_address(peer), self.limits.trusted):
            return True
        address = address_group(peer)
        known = self._of_address.setdefault(address, {})
        if len(known) >= most:
            unused = next((one for one in known if one.is_unused), None)
            if unused is None:
                self._tell_refused(address)
                return False
            del known[unused]
            unused.let_go()
        known[connection] = None
        return True

    def leave(self, connection: Connection, peer: str) -> None:
        """Stop counting a connection. May be called more than once."""
        address = address_group(peer)
        known = self._of_address.get(address)
        if known is not None:
            known.pop(connection, None)
            if not known:
                del self._of_address[address]

    def may_linger(self) -> bool:
        """Return whether a refused connection may stay open for a moment, until its client has read the reason.

        If so, the caller has to call `has_lingered` when it closes the connection.
        """
        is_allowed = self._lingering < MOST_LINGERING
        self._lingering += is_allowed
        return is_allowed

    def has_lingered(self) -> None:
        """Note that a refused connection, for which `may_linger` returned True, was closed."""
        self._lingering -= 1

    def look(self, connections: Iterable[Connection]) -> None:
        """Cut the connections whose clients take too little.

        The time since the last call counts as at most two intervals (`look_s`), so that no client is cut because this
        process itself was held up.
        """
        now_s = time.monotonic()
        passed_s, self._looked_at_s = min(now_s - self._looked_at_s, 2 * self.look_s), now_s
        for connection in list(connections):
            connection.look(passed_s)

    def _tell_refused(self, address: str) -> None:
        self._refused += 1
        now_s = time.monotonic()
        if self._told_at_s is None or now_s - self._told_at_s >= TELL_S:
            logger().warning("connections_refused", peer=address, refused=self._refused)
            self._refused, self._told_at_s = 0, now_s
