"""Decide whose body may be held in memory next, of those that do not fit all at once.

Pure: no waiting, no clock. Only large bodies come here; what is small is bounded by the number of connections.
Whoever's address holds least comes first, so that one stranger with many connections waits for himself; among equals
the first that came. Nobody overtakes the one whose turn it is, or a large body would never have its turn. One address
has at most a SHARE of it all, or its slow readers would keep everybody waiting for as long as they are allowed to take.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Wish:
    """A body of that many bytes, for a client of that address."""

    address: str
    size_bytes: int


class BodyRoom:
    """How much memory the bodies of all clients have together, and who has it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: dict[str, int] = {}
        self.held_bytes = 0

    def choose(self, waiting: Sequence[Wish]) -> int | None:
        """Which of the wishes may be fulfilled now; None: none of them. One body is always allowed, however large."""
        allowed = [number for number, wish in enumerate(waiting) if self._is_allowed(wish)]
        if not allowed:
            return None
        first = min(allowed, key=lambda number: self._held.get(waiting[number].address, 0))
        fits = not self.held_bytes or self.held_bytes + waiting[first].size_bytes <= self._most_bytes
        return first if fits else None

    def _is_allowed(self, wish: Wish) -> bool:
        held_bytes = self._held.get(wish.address, 0)
        return not held_bytes or held_bytes + wish.size_bytes <= self._most_bytes * SHARE

    def take(self, wish: Wish) -> None:
        """Count a body as held."""
        self.held_bytes += wish.size_bytes
        self._held[wish.address] = self._held.get(wish.address, 0) + wish.size_bytes

    def give_back(self, wish: Wish) -> None:
        """Count a body as held no longer, once its client has all of it or has left."""
        self.held_bytes -= wish.size_bytes
        left = self._held[wish.address] - wish.size_bytes
        if left:
            self._held[wish.address] = left
        else:
            del self._held[wish.address]
