"""The connections of clients, all together: how many each address has, and who takes too little.

Bounds are those of one worker process. Not here: what one connection may send (protocol.py), when a client takes too
little (core/uptake.py), bodies in memory (room.py).
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hubferry.core.client import Network, address_group, is_in, plain_address
from hubferry.server.log import logger

LOOK_S = 1.0  # between two looks at what clients take
TELL_S = 10.0  # refusals are told of once in so long, however many there are


@dataclass(frozen=True)
class ClientLimits:
    """`[server]`'s write_timeout, min_client_rate, connections_per_address (0: any) and trusted_proxies."""

    write_timeout_s: float
    min_bytes_per_s: int
    connections_per_address: int
    trusted: Sequence[Network] = ()


class Connection(Protocol):
    """What is asked of one connection here."""

    @property
    def is_unused(self) -> bool:
        """Whether it was used, all is answered, and it waits for whatever its client may want next."""

    def let_go(self) -> None:
        """Close it; its client opens another one when it needs it."""

    def look(self, passed_s: float) -> None:
        """Cut it if its client takes too little; `passed_s` after the last look."""


class Clients:
    """All connections of one worker process."""

    def __init__(self, limits: ClientLimits) -> None:
        self.limits = limits
        self._of_address: dict[str, dict[Connection, None]] = {}
        self._looked_at_s = time.monotonic()
        self._refused = 0
        self._told_at_s: float | None = None

    @property
    def look_s(self) -> float:
        """How often `look` is to be called, in seconds."""
        return min(LOOK_S, self.limits.write_timeout_s / 8)

    def admit(self, connection: Connection, peer: str) -> bool:
        """Count a connection that `peer` made; whether it may stay. One of its own that is unused makes room.

        A trusted proxy may have any number: they are its clients'.
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
        """Count it no longer; may be repeated."""
        address = address_group(peer)
        known = self._of_address.get(address)
        if known is not None:
            known.pop(connection, None)
            if not known:
                del self._of_address[address]

    def look(self, connections: Iterable[Connection]) -> None:
        """Cut those whose clients take too little. A process that was held up itself blames nobody for that."""
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
