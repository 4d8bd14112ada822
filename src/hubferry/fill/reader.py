"""Readers of a fill: each reads the growing file by offset, at its own pace.

A reader waits for the fill; the fill never waits for a reader. A reader that keeps up, and whose client takes large
pieces quickly, is handed the pieces themselves (progress.recent_piece). Every other reader gets the same bytes from the
file. The file stays open for as long as anybody reads it, even after it got its final name or was removed.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from hubferry.core.pace import LargePieces, Pace
from hubferry.fill.progress import FillProgress
from hubferry.ports.content import NotKept, Region, StoreFailure
from hubferry.ports.partials import Partial
from hubferry.ports.upstream import Cause, UpstreamFailure

# how long a fill without readers counts as wanted: a fast upstream gives a lot before the first reader comes
GRACE_S = 1.0


class SharedFile:
    """A partial file shared by a fill and its readers, closed when the last of them gives it back."""

    def __init__(self, partial: Partial, pool: ThreadPoolExecutor) -> None:
        self.partial = partial
        self._pool = pool
        self._users = 1

    def take(self) -> None:
        """Add a holder, so that the file stays open. Raises AssertionError when it was closed already."""
        if not self._users:
            raise AssertionError("a file that was closed is not read again: its descriptor may be another's by now")
        self._users += 1

    def give_back(self) -> None:
        """Remove a holder; without any the file is closed."""
        self._users -= 1
        if not self._users:
            self.partial.close()

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes`: at once when they are in the page cache, otherwise read on a thread.

        Raises StoreFailure.
        """
        cached = self.partial.read_cached(offset, size_bytes)
        if cached is not None:
            return cached
        reading = asyncio.get_running_loop().run_in_executor(self._pool, self.partial.read, offset, size_bytes)
        # the thread outlives a reader that is cancelled, and so must the file
        self.take()
        reading.add_done_callback(self._was_read)
        return await asyncio.shield(reading)

    def _was_read(self, reading: asyncio.Future[bytes]) -> None:
        reading.exception()  # marks it as retrieved: its reader may be gone
        self.give_back()


class Watchers:
    """Who wants a fill: how many visits and bodies are open, and what was fetched since there were none.

    `large` limits how many readers of all fills hold a large piece in memory.
    """

    def __init__(self, progress: FillProgress, large: LargePieces) -> None:
        self.large = large
        self._progress = progress
        self._count = 0
        self._bytes_when_left = 0
        self._left_at_s = time.monotonic()

    def come(self) -> None:
        """Count one more visit or body."""
        self._count += 1

    def leave(self) -> None:
        """Count one visit or body less, and note when that was and how much had been fetched."""
        self._count -= 1
        self._bytes_when_left = self._progress.fetched_bytes
        self._left_at_s = time.monotonic()

    def count_from(self, offset: int) -> None:
        """Begin to count at `offset`, where the fill begins.

        The bytes before it were not fetched by this fill, and no reader has left yet.
        """
        self._bytes_when_left = max(self._bytes_when_left, offset)
        self._left_at_s = time.monotonic()

    @property
    def unwatched_bytes(self) -> int:
        """How many bytes were fetched for nobody; 0 while there is a reader, or while one may still be on its way."""
        if self._count or time.monotonic() - self._left_at_s < GRACE_S:
            return 0
        return self._progress.fetched_bytes - self._bytes_when_left

    @property
    def idle_s(self) -> float:
        """Seconds without a reader; 0 while there is one, or while one may still be on its way."""
        idle_s = 0.0 if self._count else time.monotonic() - self._left_at_s
        return idle_s if idle_s > GRACE_S else 0.0

    @property
    def are_there(self) -> bool:
        """Whether anybody wants the fill: a visit or body is open."""
        return self._count > 0


class FillVisit:
    """A reader's view of a blob that is being filled (ports.fills.FillingBlob).

    It is to be closed. Its bodies stay open on their own.
    """

    def __init__(self, file: SharedFile, progress: FillProgress, watchers: Watchers) -> None:
        self._file: SharedFile | None = file
        self._progress = progress
        self._watchers = watchers
        file.take()
        watchers.come()

    @property
    def size_bytes(self) -> int | None:
        """The size of the whole blob in bytes; None: not known yet."""
        return self._progress.size_bytes

    @property
    def front_bytes(self) -> int:
        """How many bytes from the start of the blob are there."""
        return self._progress.front_bytes

    @property
    def found_bytes(self) -> int:
        """How many bytes of the blob an earlier fill had left."""
        return self._progress.found_bytes

    def body(self, start: int, end: int | None) -> "FillBody":
        """Return the bytes from `start` up to, not including, `end` (None: to the end).

        Raises ValueError after `close`.
        """
        if self._file is None:
            raise ValueError("the visit is over")
        return FillBody(self._file, self._progress, self._watchers, start, end)

    def close(self) -> None:
        """End the visit: it no longer counts as a reader, and no longer holds the file. May be called again."""
        file, self._file = self._file, None
        if file is not None:
            self._watchers.leave()
            file.give_back()


class FillBody:
    """A part of a blob that is being filled, as a body that server/bodies.py reads (ports.content.InFile)."""

    def __init__(
        self, file: SharedFile, progress: FillProgress, watchers: Watchers, start: int, end: int | None
    ) -> None:
        self._file: SharedFile | None = file
        self._progress = progress
        self._watchers = watchers
        self._at = start
        self._end = end
        self._pace = Pace(watchers.large)
        file.take()
        watchers.come()

    async def read(self) -> bytes | None:
        """Return the next piece, waiting for the fill if need be; None at the end.

        Raises UpstreamFailure when the blob cannot be completed, and NotKept when its file cannot be read.
        """
        end = await self._wait_readable()
        if self._file is None or self._at >= end:
            return None
        now_s = time.monotonic()
        recent = self._recent_piece(end, now_s)
        size_bytes = min(self._pace.next_bytes(now_s), end - self._at)
        if recent is not None:
            self._at += len(recent)
            return recent
        try:
            piece = await self._file.read(self._at, size_bytes)
        except StoreFailure as failure:
            raise NotKept(Cause.CUT, "cache", str(failure)) from None
        if not piece:
            raise UpstreamFailure(Cause.CUT, "cache", "the file is shorter than it was")
        self._at += len(piece)
        return piece

    async def next_region(self) -> Region | None:
        """Gives only what `read` would give now, so never bytes that may turn out to be missing."""
        end = await self._wait_readable()
        now_s = time.monotonic()
        if self._recent_piece(end, now_s) is not None:
            return None  # `read` hands that piece out
        size_bytes = min(self._pace.next_region_bytes(now_s), end - self._at)
        if self._file is None or size_bytes <= 0:
            return None
        region = self._file.partial.region(self._at, size_bytes)
        if region is not None:
            self._at += size_bytes
            self._pace.sent_region(size_bytes)
        return region

    async def close(self) -> None:
        """End the body: it no longer counts as a reader, and no longer holds the file. May be called again."""
        self._pace.close()
        file, self._file = self._file, None
        if file is not None:
            self._watchers.leave()
            file.give_back()

    def _recent_piece(self, end: int, now_s: float) -> bytes | None:
        """Return the next piece when it is in memory, ends by `end`, and this client may hold a large one now."""
        if not self._pace.takes_large(now_s):
            return None
        piece = self._progress.recent_piece(self._at)
        return piece if piece is not None and self._at + len(piece) <= end else None

    async def _wait_readable(self) -> int:
        """Wait until there is something to read, and return the offset up to which this reader may read now.

        That is its own position when it is at its end. Raises the fill's failure.
        """
        progress = self._progress
        while self._file is not None and (self._end is None or self._at < self._end):
            readable = progress.readable_end
            if readable > self._at:
                return readable if self._end is None else min(readable, self._end)
            if progress.is_verified:
                break
            if progress.failure is not None:
                # a new exception for each reader: the traceback of a shared one grows with every raise
                failure = progress.failure
                raise type(failure)(failure.cause, failure.host, failure.detail)
            await progress.changed()
        return self._at
