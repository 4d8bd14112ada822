"""What the fills of one process know of the ways to upstreams: whether several connections are faster than one.

Pure: takes the time. What was learnt is believed for KNOWN_S, for a network changes. All fills together open at most
MAX_EXTRA connections to one upstream beyond the first of each: an image has many layers.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

KNOWN_S = 600.0
MAX_EXTRA = 24

Verdict = Literal["helps", "useless", "refused"]


@dataclass(frozen=True, slots=True)
class Known:
    """Several connections help, or are no faster than one, or the upstream gives no ranges; what one of them gave."""

    verdict: Verdict
    rate_bps: float


class Links:
    """The ways to all upstreams."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Known, float]] = {}
        self._extra: Counter[str] = Counter()

    def known(self, upstream: str, now_s: float) -> Known | None:
        """What was learnt of an upstream, None: nothing, or too long ago."""
        found = self._known.get(upstream)
        return found[0] if found is not None and now_s < found[1] else None

    def learn(self, upstream: str, verdict: Verdict, rate_bps: float, now_s: float) -> None:
        """Remember; that there are no ranges is not forgotten for a fill that had luck."""
        known = self.known(upstream, now_s)
        if known is None or known.verdict != "refused":
            self._known[upstream] = Known(verdict, rate_bps), now_s + KNOWN_S

    def has_room(self, upstream: str) -> bool:
        """Whether any further connection may be opened now."""
        return self._extra[upstream] < MAX_EXTRA

    def extra_of(self, upstream: str) -> int:
        """How many further connections all fills have now."""
        return self._extra[upstream]

    def take(self, upstream: str, wanted: int) -> int:
        """How many further connections may be opened now, at most so many; to be given back."""
        taken = max(min(wanted, MAX_EXTRA - self._extra[upstream]), 0)
        self._extra[upstream] += taken
        return taken

    def give_back(self, upstream: str, count: int) -> None:
        """So many are closed."""
        self._extra[upstream] -= count
        if not self._extra[upstream]:
            del self._extra[upstream]
