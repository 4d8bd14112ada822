"""Decide which connection fetches which range of a blob next.

Pure. The part of the blob that is missing, [start, size), consists at every moment of what is done, what is under way
(one segment for each connection) and what is free. Free ranges are given out in order and in chunks, so that the front
advances steadily: whoever reads gets the bytes in order. Near the end the chunks become smaller, so that all
connections end together. When nothing is free the segment with most left is shared; so is the first one, when it is so
slow that everybody would wait for it.
Invariant: done, under way and free never overlap, and are everything. Not here: bytes and time (connections.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

MIN_CHUNK_BYTES = 2 * 2**20
MAX_CHUNK_BYTES = 16 * 2**20
MIN_SHARE_BYTES = 2**20  # less is not worth a request
CHUNK_S = 3.0


def decide_chunk(rate_bps: float) -> int:
    """How much a connection of that many bytes a second fetches with one request."""
    return int(min(max(rate_bps * CHUNK_S, MIN_CHUNK_BYTES), MAX_CHUNK_BYTES))


@dataclass(slots=True, eq=False)
class Segment:
    """A range under way: [start, at) is fetched, [at, end) is still to come."""

    start: int
    end: int
    at: int = field(init=False)

    def __post_init__(self) -> None:
        self.at = self.start

    @property
    def left_bytes(self) -> int:
        """How much is still to come."""
        return self.end - self.at


class Segments:
    """The missing part of one blob. `min_chunk_bytes` and `min_share_bytes` are smaller in tests only."""

    def __init__(
        self,
        start: int,
        size_bytes: int,
        *,
        min_chunk_bytes: int = MIN_CHUNK_BYTES,
        min_share_bytes: int = MIN_SHARE_BYTES,
    ) -> None:
        self._free: list[tuple[int, int]] = [(start, size_bytes)] if start < size_bytes else []
        self._running: list[Segment] = []
        self._min_chunk_bytes = min_chunk_bytes
        self._min_share_bytes = min_share_bytes

    @property
    def is_done(self) -> bool:
        """Whether everything was fetched."""
        return not self._free and not self._running

    @property
    def free_bytes(self) -> int:
        """How much nobody is fetching."""
        return sum(end - start for start, end in self._free)

    @property
    def left_bytes(self) -> int:
        """How much is still to come."""
        return self.free_bytes + sum(segment.left_bytes for segment in self._running)

    @property
    def first(self) -> Segment | None:
        """The segment that everybody who reads is waiting for; None when nobody fetches that."""
        found = min(self._running, key=lambda segment: segment.at, default=None)
        return None if found is None or (self._free and self._free[0][0] < found.at) else found

    @property
    def running(self) -> Iterator[Segment]:
        """The segments under way."""
        return iter(self._running)

    def take_gap(self) -> Segment | None:
        """The first free range, all of it."""
        return self._begin(self._free[0][1] - self._free[0][0]) if self._free else None

    def take(self, chunk_bytes: int, connections: int) -> Segment | None:
        """The next free range for one of so many connections; None when there is none."""
        if not self._free:
            return None
        fair_bytes = self.free_bytes // max(connections, 1)
        return self._begin(max(min(chunk_bytes, fair_bytes), self._min_chunk_bytes))

    def share(self, segment: Segment | None = None) -> Segment | None:
        """The second half of what is left of a segment, by default of the one with most left; None: too little."""
        if segment is None:
            segment = max(self._running, key=lambda one: one.left_bytes, default=None)
        if segment is None or segment.left_bytes < 2 * self._min_share_bytes:
            return None
        middle = segment.at + segment.left_bytes // 2
        half = Segment(middle, segment.end)
        segment.end = middle
        self._running.append(half)
        return half

    def extend(self, segment: Segment, chunk_bytes: int, connections: int) -> bool:
        """Whether what follows a segment was free and is now part of it: its answer goes on into that."""
        for number, (start, end) in enumerate(self._free):
            if start == segment.end:
                fair_bytes = max(min(chunk_bytes, self.free_bytes // max(connections, 1)), self._min_chunk_bytes)
                segment.end = self._cut(number, start, end, fair_bytes)
                return True
        return False

    def shorten(self, segment: Segment, chunk_bytes: int) -> None:
        """Free what is left of a segment but for a chunk of it."""
        end = min(segment.end, segment.at + max(chunk_bytes, self._min_chunk_bytes))
        if end < segment.end:
            self._release(end, segment.end)
            segment.end = end

    def fetched(self, segment: Segment, size_bytes: int) -> None:
        """So much more of a segment has come."""
        segment.at += size_bytes
        if segment.at > segment.end:
            raise AssertionError("more was fetched than a segment has")

    def finish(self, segment: Segment) -> None:
        """Nobody fetches the segment any longer: what is left of it, if anything, is free."""
        self._running.remove(segment)
        if segment.left_bytes:
            self._release(segment.at, segment.end)

    def _begin(self, size_bytes: int) -> Segment:
        start, end = self._free[0]
        segment = Segment(start, self._cut(0, start, end, size_bytes))
        self._running.append(segment)
        return segment

    def _cut(self, number: int, start: int, end: int, size_bytes: int) -> int:
        """Take the beginning of a free range, all of it when only a crumb would remain; where what was taken ends."""
        if end - start < size_bytes + self._min_share_bytes:
            del self._free[number]
            return end
        self._free[number] = (start + size_bytes, end)
        return start + size_bytes

    def _release(self, start: int, end: int) -> None:
        ranges: list[tuple[int, int]] = []
        for free in sorted([*self._free, (start, end)]):
            if ranges and ranges[-1][1] == free[0]:
                ranges[-1] = (ranges[-1][0], free[1])
            else:
                ranges.append(free)
        self._free = ranges
