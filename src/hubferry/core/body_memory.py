"""Decide whose body may be held in memory next, when not all bodies fit at once.

No I/O, no clock, no waiting. Only large bodies come here; the memory of small ones is bounded by the number of
connections. Rules:

- The client address that holds the least memory comes first, so that a client with many connections waits only for
  itself. Among equals the first to ask comes first.
- Nobody overtakes the body whose turn it is. Otherwise a large body would never get its turn.
- One address gets at most a SHARE of all the memory, or its slow readers would make everybody wait.
- Slow readers on several addresses are limited in time (`MemoryRequest.patience_s`) while anybody waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SHARE = 0.25
UNDISTURBED_S = 5.0
WANTED_BYTES_PER_S = 256 * 1024  # by a client at least, while others wait; the largest body takes 32 s then


@dataclass(frozen=True, slots=True)
class MemoryRequest:
    """A request for memory: a body of `size_bytes` for a client at `address`."""

    address: str
    size_bytes: int

    @property
    def patience_s(self) -> float:
        """How many seconds the client may take to read the body while others wait for memory."""
        return UNDISTURBED_S + self.size_bytes / WANTED_BYTES_PER_S


class BodyMemory:
    """The memory for the bodies of all clients together, and how much of it each address holds."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: dict[str, int] = {}
        self.held_bytes = 0

    def choose(self, waiting: Sequence[MemoryRequest]) -> int | None:
        """Return the index of the request that may be granted now, or None when none may.

        When nothing is held, any body is allowed, however large.
        """
        allowed = [number for number, request in enumerate(waiting) if self._is_allowed(request)]
        if not allowed:
            return None
        first = min(allowed, key=lambda number: self._held.get(waiting[number].address, 0))
        fits = not self.held_bytes or self.held_bytes + waiting[first].size_bytes <= self._most_bytes
        return first if fits else None

    def is_short(self, waiting: Sequence[MemoryRequest]) -> bool:
        """Return whether somebody waits for memory that others hold, and not only for its own address's share.

        Call this after `choose` has returned None, so that every request that could be granted was granted.
        """
        return any(map(self._is_allowed, waiting))

    def _is_allowed(self, request: MemoryRequest) -> bool:
        held_bytes = self._held.get(request.address, 0)
        return not held_bytes or held_bytes + request.size_bytes <= self._most_bytes * SHARE

    def take(self, request: MemoryRequest) -> None:
        """Count a body as held in memory from now on."""
        self.held_bytes += request.size_bytes
        self._held[request.address] = self._held.get(request.address, 0) + request.size_bytes

    def give_back(self, request: MemoryRequest) -> None:
        """Stop counting a body as held, because its client has all of it or has left."""
        self.held_bytes -= request.size_bytes
        left = self._held[request.address] - request.size_bytes
        if left:
            self._held[request.address] = left
        else:
            del self._held[request.address]
