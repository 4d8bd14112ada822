"""Readers of a fill: each reads the growing file by offset, at its own pace.

A reader waits for the fill, never the fill for a reader. One that keeps up, and whose client takes large pieces
quickly, is handed the pieces themselves (progress.recent_piece); everybody else gets the same bytes from the file.
The file stays open for as long as anybody reads it, also after it got its final name or was removed.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from hubferry.core.pace import Pace
from hubferry.fill.parts import Partial
from hubferry.fill.progress import Progress
from hubferry.ports import Cause, NotKept, Region, StoreFailure, UpstreamFailure

GRACE_S = 1.0  # between the beginning of a fill and its first reader a fast upstream gives a lot


class SharedFile:
    """A file under way, closed when the last of those who hold it gives it back."""

    def __init__(self, partial: Partial, pool: ThreadPoolExecutor) -> None:
        self.partial = partial
        self._pool = pool
        self._users = 1

    def take(self) -> None:
        """Hold it open."""
        if not self._users:
            raise AssertionError("a file that was closed is not read again: its descriptor may be another's by now")
        self._users += 1

    def give_back(self) -> None:
        """Hold it no longer."""
        self._users -= 1
        if not self._users:
            self.partial.close()

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """From the page cache at once, else on a thread. Raises StoreFailure."""
        cached = self.partial.read_cached(offset, size_bytes)
        if cached is not None:
            return cached
        reading = asyncio.get_running_loop().run_in_executor(self._pool, self.partial.read, offset, size_bytes)
        # the thread outlives a reader that is cancelled, and so must the file
        self.take()
        reading.add_done_callback(self._was_read)
        return await asyncio.shield(reading)

    def _was_read(self, reading: asyncio.Future[bytes]) -> None:
        reading.exception()  # its reader may be gone
        self.give_back()


class Watchers:
    """Who wants a fill: how many, and since how many bytes nobody has."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._count = 0
        self._left_at = 0
        self._left_at_s = time.monotonic()

    def come(self) -> None:
        """One more."""
        self._count += 1

    def leave(self) -> None:
        """One less."""
        self._count -= 1
        self._left_at = self._progress.fetched_bytes
        self._left_at_s = time.monotonic()

    def count_from(self, offset: int) -> None:
        """The fill begins: what was there before was not fetched for anybody, and nobody has left yet."""
        self._left_at = max(self._left_at, offset)
        self._left_at_s = time.monotonic()

    @property
    def unwatched_bytes(self) -> int:
        """How much was fetched for nobody; nothing while whoever wants it may still be on the way to it."""
        if self._count or time.monotonic() - self._left_at_s < GRACE_S:
            return 0
        return self._progress.fetched_bytes - self._left_at

    @property
    def idle_s(self) -> float:
        """For how long nobody has wanted it; 0 while whoever wants it may still be on the way to it."""
        idle_s = 0.0 if self._count else time.monotonic() - self._left_at_s
        return idle_s if idle_s > GRACE_S else 0.0

    @property
    def are_there(self) -> bool:
        """Whether anybody wants it."""
        return self._count > 0


class FillVisit:
    """A blob that is being filled, as pull uses it: to be closed; its bodies last on their own."""

    def __init__(self, file: SharedFile, progress: Progress, watchers: Watchers) -> None:
        self._file: SharedFile | None = file
        self._progress = progress
        self._watchers = watchers
        file.take()
        watchers.come()

    @property
    def size_bytes(self) -> int | None:
        """How long the whole blob is, if known."""
        return self._progress.size_bytes

    @property
    def front_bytes(self) -> int:
        """How far the fill is."""
        return self._progress.front_bytes

    @property
    def found_bytes(self) -> int:
        """How much of it an earlier fill had left."""
        return self._progress.found_bytes

    def body(self, start: int, end: int | None) -> "FillBody":
        """The bytes from `start` up to, not including, `end` (None: to the end)."""
        if self._file is None:
            raise ValueError("the visit is over")
        return FillBody(self._file, self._progress, self._watchers, start, end)

    def close(self) -> None:
        """Let go; may be repeated."""
        file, self._file = self._file, None
        if file is not None:
            self._watchers.leave()
            file.give_back()


class FillBody:
    """A part of a blob that is being filled, as server.bodies reads it."""

    def __init__(self, file: SharedFile, progress: Progress, watchers: Watchers, start: int, end: int | None) -> None:
        self._file: SharedFile | None = file
        self._progress = progress
        self._watchers = watchers
        self._at = start
        self._end = end
        self._pace = Pace()
        file.take()
        watchers.come()

    async def read(self) -> bytes | None:
        """The next piece, None at the end. Raises UpstreamFailure when the blob cannot be completed."""
        end = await self._wait_readable()
        if self._file is None or self._at >= end:
            return None
        now_s = time.monotonic()
        recent = self._recent_piece(end, now_s)
        size_bytes = min(self._pace.next_bytes(now_s), end - self._at)
        try:
            self._file.partial.took(size_bytes if recent is None else len(recent))
            if recent is not None:
                self._at += len(recent)
                return recent
            piece = await self._file.read(self._at, size_bytes)
        except StoreFailure as failure:
            raise NotKept(Cause.CUT, "cache", str(failure)) from None
        if not piece:
            raise UpstreamFailure(Cause.CUT, "cache", "the file is shorter than it was")
        self._at += len(piece)
        return piece

    async def next_region(self) -> Region | None:
        """See ports.InFile; never of what may turn out to be missing or wrong."""
        end = await self._wait_readable()
        now_s = time.monotonic()
        if self._recent_piece(end, now_s) is not None:
            return None  # `read` gives it
        size_bytes = min(self._pace.next_region_bytes(now_s), end - self._at)
        if self._file is None or size_bytes <= 0:
            return None
        try:
            self._file.partial.took(size_bytes)
        except StoreFailure:
            return None  # reading it says why
        region = self._file.partial.region(self._at, size_bytes)
        if region is not None:
            self._at += size_bytes
            self._pace.sent_region(size_bytes)
        return region

    async def close(self) -> None:
        """Let go; may be repeated."""
        file, self._file = self._file, None
        if file is not None:
            self._watchers.leave()
            file.give_back()

    def _recent_piece(self, end: int, now_s: float) -> bytes | None:
        """The next piece if it is in memory, ends before `end`, and its client would not hold it for long."""
        if not self._pace.takes_large(now_s):
            return None
        piece = self._progress.recent_piece(self._at)
        return piece if piece is not None and self._at + len(piece) <= end else None

    async def _wait_readable(self) -> int:
        """Up to where may be read now; the reader's own position when it is at its end."""
        progress = self._progress
        while self._file is not None and (self._end is None or self._at < self._end):
            readable = progress.readable_end
            if readable > self._at:
                return readable if self._end is None else min(readable, self._end)
            if progress.is_verified:
                break
            if progress.failure is not None:
                # one for each reader: a traceback grows with every raise
                failure = progress.failure
                raise type(failure)(failure.cause, failure.host, failure.detail)
            await progress.changed()
        return self._at
