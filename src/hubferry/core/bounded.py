"""A map of bounded size that forgets what was put longest ago.

It keeps memory bounded where clients choose the keys and can make up any number of them.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

MAX_REMEMBERED = 10_000
V = TypeVar("V")


class BoundedMap(Generic[V]):
    """The last `most` values that were put, by key, as long as they take no more than `most_bytes` together.

    `most_bytes` None: sizes do not matter.
    """

    def __init__(self, most: int = MAX_REMEMBERED, most_bytes: int | None = None) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._total_bytes = 0
        self._things: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """Return the value that was last put under a key, or None when there is none or it was forgotten."""
        found = self._things.get(key)
        return None if found is None else found[0]

    def put(self, key: Hashable, thing: V, size_bytes: int = 0) -> None:
        """Remember a value, and forget the values that were put longest ago when there are too many.

        `size_bytes` is the memory that the value takes together with its key. It only matters with `most_bytes`.
        """
        self.drop(key)
        self._things[key] = thing, size_bytes
        self._total_bytes += size_bytes
        while len(self._things) > self._most or self._total_bytes > (self._most_bytes or self._total_bytes):
            self.drop(next(iter(self._things)))

    def drop(self, key: Hashable) -> None:
        """Forget the value under a key, if there is one."""
        dropped = self._things.pop(key, None)
        if dropped is not None:
            self._total_bytes -= dropped[1]
