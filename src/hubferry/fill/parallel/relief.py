"""Decide which of several connections lose their ranges, so that other connections fetch the rest of them.

No I/O, no clock: takes the time as an argument. Clients read in order, so that one connection that gives nothing, or a
hundredth of what the others give, holds up everybody. A connection is relieved when it is silent while others make
progress, or when the rest of its range takes several times as long as it would take another connection. At the end the
others have nothing left to do and receive nothing. Then silence is enough, and what the others gave before is compared
with; but that is believed less each time it was used, because the line itself may have become slow.
Not here: which range is next (segments.py), closing and opening connections (crew.py).
"""

from collections import deque
from collections.abc import Collection
from statistics import median_high

from hubferry.fill.parallel.intake import Connection
from hubferry.fill.source import PROGRESS_BYTES

STALLED_S = 5.0  # a connection that has given nothing for longer is silent
STALLED_BYTES = 2**20  # that others got meanwhile
WINDOW_S = 2.0  # over which a recent rate is measured
SLOW_S = 3.0  # a range that will be complete sooner is waited for
SLOWER = 4.0  # a connection is slow when others are more than this many times as fast
DOUBT = 4.0  # what the earlier rate of the others is divided by each time it was used


class Relief:
    """What was seen of the connections of one blob."""

    def __init__(self, most: int) -> None:
        """At most `most` connections are relieved for being slow: the upstream itself may be slow."""
        self._left = most
        self._seen: dict[Connection, deque[tuple[float, int]]] = {}
        self._peer_bytes_per_s = 0.0  # what one of them gave while there was enough to do
        # at the end, silence is not enough before this much was fetched: otherwise no connection would ever give up
        self._end_bytes = 0

    def look(
        self, now_s: float, fetched_bytes: int, connections: Collection[Connection], *, is_end: bool
    ) -> list[Connection]:
        """Return the connections to be relieved. Called several times a second.

        `fetched_bytes` is what all connections have received. `is_end` says that further connections would find no
        range.
        """
        self._seen = {one: self._sampled(one, now_s) for one in connections}
        rates = {one: rate for one in connections if (rate := self._rate(one, now_s)) is not None}
        if len(rates) > 1 and not is_end:
            self._peer_bytes_per_s = median_high(rates.values())
        found = [one for one in connections if self._is_silent(one, now_s, fetched_bytes, is_end=is_end)]
        slow = [one for one in connections if self._is_slow(one, now_s, rates, is_end=is_end)][: self._left]
        self._left -= len(slow)
        if is_end and (found or slow):
            self._end_bytes = fetched_bytes + PROGRESS_BYTES
        if is_end and slow:
            self._peer_bytes_per_s /= DOUBT
        return found + slow

    def _sampled(self, one: Connection, now_s: float) -> deque[tuple[float, int]]:
        """Return a connection's samples of (time, bytes given) over the last WINDOW_S, with one of now."""
        samples = self._seen.get(one, deque())
        samples.append((now_s, one.given_bytes))
        while len(samples) > 1 and samples[1][0] <= now_s - WINDOW_S:
            samples.popleft()
        return samples

    def _rate(self, one: Connection, now_s: float) -> float | None:
        """Return what a connection gave lately over all its ranges, in bytes a second; None: too early to say."""
        from_s, from_bytes = self._seen[one][0]
        elapsed_s = now_s - from_s
        return None if elapsed_s < WINDOW_S / 2 else (one.given_bytes - from_bytes) / elapsed_s

    def _is_silent(self, one: Connection, now_s: float, fetched_bytes: int, *, is_end: bool) -> bool:
        """Return whether a connection gives nothing while the others make progress, or at the end."""
        if now_s - one.came_s <= STALLED_S:
            return False
        return fetched_bytes - one.all_bytes > STALLED_BYTES or (is_end and fetched_bytes >= self._end_bytes)

    def _is_slow(self, one: Connection, now_s: float, rates: dict[Connection, float], *, is_end: bool) -> bool:
        """Return whether others would be several times as fast with the rest of a connection's range."""
        from_s, from_bytes = self._seen[one][0]
        elapsed_s = one.came_s - from_s  # up to its last piece: a moment's silence says nothing about its rate
        if one.fetched_bytes is None or now_s - one.began_s < WINDOW_S or elapsed_s < WINDOW_S / 2:
            return False
        bytes_per_s = (one.given_bytes - from_bytes) / elapsed_s
        others = [rate for other, rate in rates.items() if other is not one]
        peer_bytes_per_s = median_high(others) if others else 0.0
        if is_end:
            peer_bytes_per_s = max(peer_bytes_per_s, self._peer_bytes_per_s)
        return one.segment.left_bytes > bytes_per_s * SLOW_S and peer_bytes_per_s > bytes_per_s * SLOWER
