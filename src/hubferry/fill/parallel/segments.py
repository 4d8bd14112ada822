"""Decide which connection fetches which range of a blob next.

No I/O, no clock. The missing part of the blob, [start, size), consists at every moment of what is done, what is under
way (one segment for each connection) and what is free. Free ranges are given out in order and in chunks, so that the
front advances steadily: readers get the bytes in order. Near the end the chunks become smaller, so that all connections
end together. When nothing is free, the segment with most left is split. The first segment is split too when it is so
slow that every reader would wait for it.
Invariant: what is done, under way and free never overlaps, and together it is everything.
Not here: bytes and time (connections.py).
"""

from collections.abc import Iterator

from hubferry.fill.segment import Segment

MIN_CHUNK_BYTES = 2 * 2**20
MAX_CHUNK_BYTES = 16 * 2**20
MIN_SHARE_BYTES = 2**20  # less is not worth a request
CHUNK_S = 3.0


def decide_chunk(bytes_per_s: float) -> int:
    """Return how many bytes a connection that gives `bytes_per_s` bytes a second fetches with one request."""
    return int(min(max(bytes_per_s * CHUNK_S, MIN_CHUNK_BYTES), MAX_CHUNK_BYTES))


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
        """Whether everything has been fetched."""
        return not self._free and not self._running

    @property
    def free_bytes(self) -> int:
        """How many bytes no connection is fetching."""
        return sum(end - start for start, end in self._free)

    @property
    def left_bytes(self) -> int:
        """How many bytes are still to come, under way or free."""
        return self.free_bytes + sum(segment.left_bytes for segment in self._running)

    @property
    def first(self) -> Segment | None:
        """The segment that all readers wait for; None when no connection fetches the first missing byte."""
        found = min(self._running, key=lambda segment: segment.at, default=None)
        return None if found is None or (self._free and self._free[0][0] < found.at) else found

    @property
    def running(self) -> Iterator[Segment]:
        """The segments that are under way."""
        return iter(self._running)

    def take_gap(self) -> Segment | None:
        """Take all of the first free range; None when nothing is free."""
        return self._begin(self._free[0][1] - self._free[0][0]) if self._free else None

    def take(self, chunk_bytes: int, connections: int) -> Segment | None:
        """Take the next free range, sized for one of several connections; None when nothing is free."""
        if not self._free:
            return None
        fair_bytes = self.free_bytes // max(connections, 1)
        return self._begin(max(min(chunk_bytes, fair_bytes), self._min_chunk_bytes))

    def share(self, segment: Segment | None = None) -> Segment | None:
        """Split a segment, by default the one with most left, and return the second half of what is left of it.

        None when too little is left to be worth a request.
        """
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
        """Add the free range that follows a segment to it, because its answer goes on into that range.

        Returns whether that range was free. At most a chunk is added.
        """
        for number, (start, end) in enumerate(self._free):
            if start == segment.end:
                fair_bytes = max(min(chunk_bytes, self.free_bytes // max(connections, 1)), self._min_chunk_bytes)
                segment.end = self._cut(number, start, end, fair_bytes)
                return True
        return False

    def shorten(self, segment: Segment, chunk_bytes: int) -> None:
        """Cut what is left of a segment down to a chunk, and free the rest."""
        end = min(segment.end, segment.at + max(chunk_bytes, self._min_chunk_bytes))
        if end < segment.end:
            self._release(end, segment.end)
            segment.end = end

    def fetched(self, segment: Segment, size_bytes: int) -> None:
        """Record that `size_bytes` more of a segment have come."""
        segment.at += size_bytes
        if segment.at > segment.end:
            raise AssertionError("more was fetched than a segment has")

    def finish(self, segment: Segment) -> None:
        """End a segment, which nobody fetches any longer; what is left of it becomes free."""
        self._running.remove(segment)
        if segment.left_bytes:
            self._release(segment.at, segment.end)

    def _begin(self, size_bytes: int) -> Segment:
        """Take the beginning of the first free range as a segment."""
        start, end = self._free[0]
        segment = Segment(start, self._cut(0, start, end, size_bytes))
        self._running.append(segment)
        return segment

    def _cut(self, number: int, start: int, end: int, size_bytes: int) -> int:
        """Take the beginning of a free range, and return where the part that was taken ends.

        All of the range is taken when only a crumb would remain.
        """
        if end - start < size_bytes + self._min_share_bytes:
            del self._free[number]
            return end
        self._free[number] = (start + size_bytes, end)
        return start + size_bytes

    def _release(self, start: int, end: int) -> None:
        """Add a range to the free ones, joined with those that it touches."""
        ranges: list[tuple[int, int]] = []
        for free in sorted([*self._free, (start, end)]):
            if ranges and ranges[-1][1] == free[0]:
                ranges[-1] = (ranges[-1][0], free[1])
            else:
                ranges.append(free)
        self._free = ranges
