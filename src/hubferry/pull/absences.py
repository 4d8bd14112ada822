"""What an upstream said a moment ago that it does not have, for the caller to whom it said so.

A client that waits for a tag to appear, and a crowd that asks for one that does not exist, would otherwise cost an
upstream request each. In memory only, and not for long.
"""

from collections.abc import Hashable

from hubferry.core.access import credential_bytes
from hubferry.core.bounded import BoundedMap
from hubferry.core.errors import OciError
from hubferry.core.freshness import NEGATIVE_TTL_S
from hubferry.ports.shell import Clock
from hubferry.pull.rights import repository_of
from hubferry.remote.target import Target

MOST_BYTES = 8 * 2**20  # of all that is remembered: a client's credential may have 12 KB
ENTRY_BYTES = 1000  # of one beside its texts


class Absences:
    """The 404s of the last NEGATIVE_TTL_S seconds, by what was asked of a repository, and by whom."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: BoundedMap[tuple[float, OciError]] = BoundedMap(most_bytes=MOST_BYTES)

    def note(self, target: Target, question: str, error: OciError) -> None:
        """Remember that a question was answered with this 404 for the caller of `target`."""
        size_bytes = ENTRY_BYTES + len(question) + credential_bytes(target.credential)
        self._known.put(_key(target, question), (self._clock.monotonic() + NEGATIVE_TTL_S, error.anew()), size_bytes)

    def find(self, target: Target, question: str) -> OciError | None:
        """Return the 404 for a question that is not older than NEGATIVE_TTL_S, None when there is none."""
        key = _key(target, question)
        known = self._known.get(key)
        if known is None:
            return None
        if self._clock.monotonic() < known[0]:
            return known[1].anew()
        self._known.drop(key)
        return None


def _key(target: Target, question: str) -> Hashable:
    return repository_of(target), question, target.credential
