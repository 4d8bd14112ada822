"""What an upstream said a moment ago that it does not have, for the caller to whom it said so.

A client that waits for a tag to appear, and a crowd that asks for one that does not exist, would otherwise cost an
upstream request each. In memory only, and not for long.
"""

from collections.abc import Hashable

from hubferry.core.bounded import BoundedMap
from hubferry.core.errors import OciError
from hubferry.core.freshness import NEGATIVE_TTL_S
from hubferry.ports.shell import Clock


class Absences:
    """The 404s of the last NEGATIVE_TTL_S seconds, by what was asked and by whom."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: BoundedMap[tuple[float, OciError]] = BoundedMap()

    def note(self, key: Hashable, error: OciError) -> None:
        """Remember that `key` was answered with this 404."""
        self._known.put(key, (self._clock.monotonic() + NEGATIVE_TTL_S, error.anew()))

    def find(self, key: Hashable) -> OciError | None:
        """Return the 404 for `key` that is not older than NEGATIVE_TTL_S, None when there is none."""
        known = self._known.get(key)
        if known is None:
            return None
        if self._clock.monotonic() < known[0]:
            return known[1].anew()
        self._known.drop(key)
        return None
