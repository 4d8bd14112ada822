"""What all connections of one fill share: where their bytes go, and which range each of them fetches.

Not here: how many there are (connections.py, crew.py).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from hubferry.fill.parallel.segments import Segments
from hubferry.fill.progress import FillProgress
from hubferry.fill.segment import Segment
from hubferry.fill.source import Source
from hubferry.fill.writer import Writer
from hubferry.ports.fills import FillOrder

SOON_S = 0.3  # a rate that was measured for less time means nothing


@dataclass(slots=True, eq=False)
class Connection:
    """One connection and the range that it fetches; times are in seconds of the event loop's clock."""

    segment: Segment
    source: Source
    began_s: float
    came_s: float  # when the last piece came
    fetched_bytes: int | None = None  # of the range, after its first piece; None before that
    given_bytes: int = 0  # of all its ranges
    all_bytes: int = 0  # what all connections had fetched when the last piece came

    @property
    def is_of_use(self) -> bool:
        """Whether the connection has given anything."""
        return self.given_bytes > 0

    def bytes_per_s(self, now_s: float) -> float | None:
        """Return how fast it gives its range, in bytes a second; None when it is too early to say."""
        elapsed_s = now_s - self.began_s
        return None if self.fetched_bytes is None or elapsed_s < SOON_S else self.fetched_bytes / elapsed_s

    def left_s(self, now_s: float) -> float | None:
        """Return how many seconds the rest of its range will take; None when it is too early to say."""
        bytes_per_s = self.bytes_per_s(now_s)
        return None if bytes_per_s is None else self.segment.left_bytes / max(bytes_per_s, 1.0)


class Intake:
    """Passes the bytes of all connections of one fill to the writer.

    `segments` are empty while the size of the blob is not known.
    """

    def __init__(
        self,
        order: FillOrder,
        writer: Writer,
        progress: FillProgress,
        check_wanted: Callable[[], None],
        segments: Segments,
        *,
        size_bytes: int | None,
    ) -> None:
        """`check_wanted` is called after each piece, and may raise to stop the fill."""
        self.upstream = order.upstream
        self.client = order.client
        self.segments = segments
        self.size_bytes = size_bytes
        self.fetched_bytes = 0
        self.now = asyncio.get_running_loop().time
        self._fetch = order.fetch
        self._writer = writer
        self._progress = progress
        self._check_wanted = check_wanted

    def connect(self, segment: Segment, source: Source | None = None, *, patience_s: float = 0.0) -> Connection:
        """Return a connection for a range: with `source`, or else, as one of several, with a request of its own."""
        if source is None:
            source = self._source(segment, segment, patience_s, is_alone=False)
        now_s = self.now()
        return Connection(segment, source, now_s, now_s, all_bytes=self.fetched_bytes)

    def connect_anew(self, connection: Connection, segment: Segment, *, patience_s: float) -> None:
        """Give a connection, which is one of several, its next range with a new request."""
        following = self.connect(segment, patience_s=patience_s)
        connection.segment, connection.source = segment, following.source
        connection.came_s, connection.fetched_bytes = following.came_s, None

    def connect_alone(self, segment: Segment, patience_s: float) -> Connection:
        """Return a connection for a range, as the only one.

        A range that goes to the blob's end is requested without an end.
        """
        bound = None if segment.end == self.size_bytes else segment
        return self.connect(segment, self._source(segment, bound, patience_s, is_alone=True))

    async def next_piece(self, connection: Connection) -> int:
        """Receive a piece and give it to the writer. Returns how many bytes that were, 0 at the end of the range.

        Raises UpstreamFailure, WrongContent, StoreFailure, and what `check_wanted` raises.
        """
        piece = await connection.source.next_piece()
        if piece is None:
            return 0
        at = connection.segment.at
        self.segments.fetched(connection.segment, len(piece))
        if connection.fetched_bytes is None:  # the time before the first piece is the round trip
            connection.began_s, connection.fetched_bytes = self.now(), 0
        else:
            connection.fetched_bytes += len(piece)
        connection.given_bytes += len(piece)
        connection.came_s = self.now()  # what follows waits for the disk, and says nothing of the connection
        await self.put(piece, at)
        connection.came_s, connection.all_bytes = self.now(), self.fetched_bytes
        return len(piece)

    async def put(self, piece: bytes, at: int) -> None:
        """Give a piece to the writer; `at` is its offset in the blob. Raises as `next_piece` does."""
        self.fetched_bytes += len(piece)
        self._progress.fetched_bytes += len(piece)
        await self._writer.put(piece, at)
        self._check_wanted()
        await asyncio.sleep(0)  # when network and disk are fast nothing above waits, and other tasks would

    def _source(self, segment: Segment, bound: Segment | None, patience_s: float, *, is_alone: bool) -> Source:
        return Source(
            self._fetch,
            self.upstream,
            segment.at,
            size_bytes=self.size_bytes,
            segment=bound,
            patience_s=patience_s,
            is_alone=is_alone,
        )
