"""A bounded memory of what happened lately: the last things that were put, whatever clients make up."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

MAX_REMEMBERED = 10_000
V = TypeVar("V")


class Lately(Generic[V]):
    """The last `most` things that were put, by key, and no more of them than take `most_bytes` (None: any sizes)."""

    def __init__(self, most: int = MAX_REMEMBERED, most_bytes: int | None = None) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._total_bytes = 0
        self._things: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """What was put last under a key, None when nothing was or it had to go."""
        found = self._things.get(key)
        return None if found is None else found[0]

    def put(self, key: Hashable, thing: V, size_bytes: int = 0) -> None:
        """Remember a thing, and forget those that were put longest ago when there is too much.

        `size_bytes` is what it takes together with its key; it only matters where there is a bound of bytes.
        """
        self.drop(key)
        self._things[key] = thing, size_bytes
        self._total_bytes += size_bytes
        while len(self._things) > self._most or self._total_bytes > (self._most_bytes or self._total_bytes):
            self.drop(next(iter(self._things)))

    def drop(self, key: Hashable) -> None:
        """Forget what was put under a key, if anything was."""
        dropped = self._things.pop(key, None)
        if dropped is not None:
            self._total_bytes -= dropped[1]
