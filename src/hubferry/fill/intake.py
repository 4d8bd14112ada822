"""What all connections of one fill have in common: where their bytes go, and which range each of them fetches.

Not here: how many there are (connections.py, crew.py).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from hubferry.fill.parts import Fetch
from hubferry.fill.progress import Progress
from hubferry.fill.segments import Segment, Segments
from hubferry.fill.source import Source
from hubferry.fill.writer import Writer

SOON_S = 0.3  # before that a rate means nothing


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, and the range that it fetches; times in seconds of the event loop."""

    segment: Segment
    source: Source
    began_s: float
    came_s: float  # when the last piece came
    fetched_bytes: int | None = None  # of the range, since its first piece
    given_bytes: int = 0  # of all its ranges
    all_bytes: int = 0  # what all connections had fetched when the last piece came

    @property
    def is_of_use(self) -> bool:
        """Whether it gave something."""
        return self.given_bytes > 0

    def rate_bps(self, now_s: float) -> float | None:
        """What it gives of its range; None: too early to say."""
        elapsed_s = now_s - self.began_s
        return None if self.fetched_bytes is None or elapsed_s < SOON_S else self.fetched_bytes / elapsed_s

    def left_s(self, now_s: float) -> float | None:
        """How long its range will take; None: too early to say."""
        rate_bps = self.rate_bps(now_s)
        return None if rate_bps is None else self.segment.left_bytes / max(rate_bps, 1.0)


class Intake:
    """The way of a blob's bytes from connections to the writer. `segments` are empty while the size is not known."""

    def __init__(
        self,
        upstream: str,
        fetch: Fetch,
        *,
        segments: Segments,
        size_bytes: int | None,
        writer: Writer,
        progress: Progress,
        check_wanted: Callable[[], None],
    ) -> None:
        """`check_wanted` is called after each piece, and may raise."""
        self.upstream = upstream
        self.segments = segments
        self.fetched_bytes = 0
        self.now = asyncio.get_running_loop().time
        self._fetch = fetch
        self._size_bytes = size_bytes
        self._writer = writer
        self._progress = progress
        self._check_wanted = check_wanted

    def connect(self, segment: Segment, source: Source | None = None, *, patience_s: float = 0.0) -> Connection:
        """A connection for a range: one that is there, or one of several with a request of its own."""
        if source is None:
            source = self._source(segment, segment.end, patience_s, is_alone=False)
        now_s = self.now()
        return Connection(segment, source, now_s, now_s, all_bytes=self.fetched_bytes)

    def connect_anew(self, connection: Connection, segment: Segment, *, patience_s: float) -> None:
        """The next range for one of several."""
        following = self.connect(segment, patience_s=patience_s)
        connection.segment, connection.source = segment, following.source
        connection.came_s, connection.fetched_bytes = following.came_s, None

    def connect_alone(self, segment: Segment, patience_s: float) -> Connection:
        """The only connection, for a range."""
        end = None if segment.end == self._size_bytes else segment.end
        return self.connect(segment, self._source(segment, end, patience_s, is_alone=True))

    async def next_piece(self, connection: Connection) -> int:
        """Receive, and give to the writer; how much it was, 0 at the end of the range.

        Raises UpstreamFailure, WrongContent, StoreFailure, and what `check_wanted` does.
        """
        piece = await connection.source.next_piece()
        if piece is None:
            return 0
        at = connection.segment.at
        self.segments.fetched(connection.segment, len(piece))
        if connection.fetched_bytes is None:  # before it there was the round trip
            connection.began_s, connection.fetched_bytes = self.now(), 0
        else:
            connection.fetched_bytes += len(piece)
        connection.given_bytes += len(piece)
        await self.put(piece, at)
        connection.came_s, connection.all_bytes = self.now(), self.fetched_bytes
        return len(piece)

    async def put(self, piece: bytes, at: int) -> None:
        """Give a piece to the writer; `at` is where in the blob it belongs. Raises as `next_piece` does."""
        self.fetched_bytes += len(piece)
        self._progress.fetched_bytes += len(piece)
        await self._writer.put(piece, at)
        self._check_wanted()
        await asyncio.sleep(0)  # when both sides are fast nothing above waits, and everybody else would

    def _source(self, segment: Segment, end: int | None, patience_s: float, *, is_alone: bool) -> Source:
        return Source(
            self._fetch,
            self.upstream,
            segment.at,
            size_bytes=self._size_bytes,
            end=end,
            patience_s=patience_s,
            is_alone=is_alone,
        )
