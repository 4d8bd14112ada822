"""Decide which of several connections are relieved of their ranges, so that a peer fetches the rest of them.

Pure: takes the time. Clients read in order, so that one connection that gives nothing, or a hundredth of what the
others do, holds up everybody. A connection is relieved when it is silent while others get on, or when the rest of its
range takes several times what it would take a peer. At the end others have nothing left to do and get nothing: then
silence is enough, and what peers gave before is what counts; but that is believed less each time it was tried, for the
line itself may have become slow. Not here: which range is next (segments.py), closing and opening (crew.py).
"""

from collections import deque
from collections.abc import Collection
from statistics import median_high

from hubferry.fill.intake import Connection
from hubferry.fill.source import PROGRESS_BYTES

STALLED_S = 5.0
STALLED_BYTES = 2**20  # that others got meanwhile
WINDOW_S = 2.0  # of which a rate is recent
SLOW_S = 3.0  # what is there sooner is waited for
SLOWER = 4.0  # times
DOUBT = 4.0


class Relief:
    """What is seen of the connections of one blob."""

    def __init__(self, most: int) -> None:
        """At most so many are relieved because they are slow: an upstream may be like that."""
        self._left = most
        self._seen: dict[Connection, deque[tuple[float, int]]] = {}
        self._peer_bps = 0.0  # what one of them gave while there was enough to do
        self._end_bytes = 0  # silence at the end is not enough before so much was fetched: else nobody would give up

    def look(
        self, now_s: float, fetched_bytes: int, connections: Collection[Connection], *, is_end: bool
    ) -> list[Connection]:
        """Those to be relieved; called several times a second. `is_end`: there is nothing for further connections."""
        self._seen = {one: self._sampled(one, now_s) for one in connections}
        rates = {one: rate for one in connections if (rate := self._rate(one, now_s)) is not None}
        if len(rates) > 1 and not is_end:
            self._peer_bps = median_high(rates.values())
        found = [one for one in connections if self._is_silent(one, now_s, fetched_bytes, is_end=is_end)]
        slow = [one for one in connections if self._is_slow(one, now_s, rates, is_end=is_end)][: self._left]
        self._left -= len(slow)
        if is_end and (found or slow):
            self._end_bytes = fetched_bytes + PROGRESS_BYTES
        if is_end and slow:
            self._peer_bps /= DOUBT
        return found + slow

    def _sampled(self, one: Connection, now_s: float) -> deque[tuple[float, int]]:
        samples = self._seen.get(one, deque())
        samples.append((now_s, one.given_bytes))
        while len(samples) > 1 and samples[1][0] <= now_s - WINDOW_S:
            samples.popleft()
        return samples

    def _rate(self, one: Connection, now_s: float) -> float | None:
        """What it gave lately, in bytes a second, over all its ranges; None: too early to say."""
        from_s, from_bytes = self._seen[one][0]
        elapsed_s = now_s - from_s
        return None if elapsed_s < WINDOW_S / 2 else (one.given_bytes - from_bytes) / elapsed_s

    def _is_silent(self, one: Connection, now_s: float, fetched_bytes: int, *, is_end: bool) -> bool:
        if now_s - one.came_s <= STALLED_S:
            return False
        return fetched_bytes - one.all_bytes > STALLED_BYTES or (is_end and fetched_bytes >= self._end_bytes)

    def _is_slow(self, one: Connection, now_s: float, rates: dict[Connection, float], *, is_end: bool) -> bool:
        from_s, from_bytes = self._seen[one][0]
        elapsed_s = one.came_s - from_s  # not until now: a moment's silence is no rate
        if one.fetched_bytes is None or now_s - one.began_s < WINDOW_S or elapsed_s < WINDOW_S / 2:
            return False
        rate_bps = (one.given_bytes - from_bytes) / elapsed_s
        others = [rate for other, rate in rates.items() if other is not one]
        peer_bps = median_high(others) if others else 0.0
        if is_end:
            peer_bps = max(peer_bps, self._peer_bps)
        return one.segment.left_bytes > rate_bps * SLOW_S and peer_bps > rate_bps * SLOWER
