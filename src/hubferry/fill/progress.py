"""What readers of a fill may read, and how they learn that there is more.

Readers get what is written and hashed. The last HELD_BACK_BYTES of the blob are held back until the digest has matched,
so that nobody who reads from the first byte on can take a wrong blob for a whole one. While the size is not known, the
last HELD_BACK_BYTES so far are held back. Content known to be wrong is not read any more. After any other failure the
bytes that are there may still be read: they may be right, and their readers continue elsewhere.

The latest large pieces that were hashed stay in memory, at most RECENT_BYTES, for readers that keep up with the fill:
sending them costs less than sending the same bytes from the file. A reader that is further behind reads the file.
"""

import asyncio

from hubferry.fill.bounds import HELD_BACK_BYTES, PIECE_BYTES
from hubferry.ports.upstream import UpstreamFailure

RECENT_BYTES = 2 * PIECE_BYTES
RECENT_FROM_BYTES = PIECE_BYTES // 4  # smaller pieces come over slow lines, where keeping them gains nothing


class FillProgress:
    """How far a fill has come, and how it ended; for one event loop."""

    def __init__(self) -> None:
        self.size_bytes: int | None = None
        self.fetched_bytes = 0  # from the start, with what an earlier fill left; ahead of what is written
        self.written_bytes = 0  # from the start of the blob; hashed too, but in a follower: there the file's length
        self.found_bytes = 0  # what an earlier fill left, which is hashed before it may be read
        self.is_verified = False
        self.failure: UpstreamFailure | None = None
        self._is_wrong = False
        self._changed = asyncio.Event()
        self._recent: dict[int, bytes] = {}  # where in the blob a piece begins -> the piece; oldest first
        self._recent_bytes = 0

    @property
    def front_bytes(self) -> int:
        """How many bytes from the start of the blob are there: the upstream is being asked for what follows."""
        return max(self.written_bytes, self.found_bytes)

    @property
    def readable_end(self) -> int:
        """The offset up to which readers may read now."""
        if self._is_wrong:
            return 0
        if self.is_verified:
            return self.written_bytes
        end = self.written_bytes if self.size_bytes is None else self.size_bytes
        return max(0, min(self.written_bytes, end - HELD_BACK_BYTES))

    def advance(self, written_bytes: int, piece: bytes = b"") -> None:
        """Record that the first `written_bytes` are written and hashed, and wake the readers.

        `piece` is the last part of them, to be kept for `recent_piece`; empty when it is not in memory.
        """
        if written_bytes > self.written_bytes:
            self.written_bytes = written_bytes
            if len(piece) >= RECENT_FROM_BYTES:
                self._remember(written_bytes - len(piece), piece)
            self._wake()

    def forget_recent(self) -> None:
        """Drop the pieces kept in memory: the fill has ended, or too many fills are running."""
        self._recent.clear()
        self._recent_bytes = 0

    def recent_piece(self, start: int) -> bytes | None:
        """Return the piece that begins at `start` when it is in memory and all of it may be read now, or else None."""
        piece = self._recent.get(start)
        return piece if piece is not None and start + len(piece) <= self.readable_end else None

    def verify(self, size_bytes: int) -> None:
        """Record that the whole blob, `size_bytes` long, is written and its digest has matched."""
        self.size_bytes = self.written_bytes = size_bytes
        self.is_verified = True
        self._end()

    def fail(self, failure: UpstreamFailure, *, is_wrong: bool = False) -> None:
        """End the fill with a failure, unless it has ended already.

        With `is_wrong` the bytes that are there may not be read either.
        """
        if self.failure is None and not self.is_verified:
            self.failure = failure
            self._is_wrong = is_wrong
            self._end()

    async def changed(self) -> None:
        """Wait until there is more to read, or until the fill has ended."""
        await self._changed.wait()

    def _remember(self, start: int, piece: bytes) -> None:
        self._recent[start] = piece
        self._recent_bytes += len(piece)
        while self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= len(self._recent.pop(next(iter(self._recent))))

    def _end(self) -> None:
        self.forget_recent()
        self._wake()

    def _wake(self) -> None:
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()
