"""A bounded memory of what happened lately: the last things that were put, whatever clients make up."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

MAX_REMEMBERED = 10_000
V = TypeVar("V")


class Lately(Generic[V]):
    """The last `most` things that were put, by key."""

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._things: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """What was put last under a key, None when nothing was or it had to go."""
        return self._things.get(key)

    def put(self, key: Hashable, thing: V) -> None:
        """Remember a thing, and forget the one that was put longest ago when there are too many."""
        self._things[key] = thing
        self._things.move_to_end(key)
        if len(self._things) > self._most:
            self._things.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        """Forget what was put under a key, if anything was."""
        self._things.pop(key, None)
