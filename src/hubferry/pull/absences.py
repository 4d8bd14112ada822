"""What an upstream said a moment ago that it does not have, for the caller to whom it said so.

A client that waits for a tag to appear, and a crowd that asks for one that does not exist, would otherwise cost an
upstream request each. In memory only, and not for long.
"""

from collections import OrderedDict
from collections.abc import Hashable

from hubferry.core.errors import OciError
from hubferry.core.freshness import NEGATIVE_TTL_S
from hubferry.ports import Clock

MAX_REMEMBERED = 10_000


class Absences:
    """The 404s of the last NEGATIVE_TTL_S seconds, by what was asked and by whom."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[Hashable, tuple[float, OciError]] = OrderedDict()

    def note(self, key: Hashable, error: OciError) -> None:
        """Remember a 404."""
        self._known[key] = (self._clock.monotonic() + NEGATIVE_TTL_S, error.anew())
        self._known.move_to_end(key)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def find(self, key: Hashable) -> OciError | None:
        """The 404 that still holds, if there is one."""
        known = self._known.get(key)
        if known is None:
            return None
        if self._clock.monotonic() < known[0]:
            return known[1].anew()
        del self._known[key]
        return None
