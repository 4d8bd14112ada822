"""What readers of a fill may read, and how they learn that it became more.

Readers get what is written and hashed, but for the last HELD_BACK_BYTES of the blob, until the digest matched: whoever
reads from the first byte on can never take a wrong blob for a whole one. While the size is not known the last bytes
so far are held back. Content known to be wrong is not read at all any more; after any other failure what is there may
still be read, for it may be right and its readers continue it elsewhere.

The last large pieces that were hashed stay in memory, RECENT_BYTES at most, for readers who keep up with the fill: to
send them costs less than to send the same bytes from the file. Who is further behind reads the file.
"""

import asyncio

from hubferry.fill.parts import HELD_BACK_BYTES, PIECE_BYTES
from hubferry.ports import UpstreamFailure

RECENT_BYTES = 2 * PIECE_BYTES
RECENT_FROM_BYTES = PIECE_BYTES // 4  # smaller ones come over slow lines, where nothing is gained


class Progress:
    """How far a fill is, for one event loop."""

    def __init__(self) -> None:
        self.size_bytes: int | None = None
        self.fetched_bytes = 0  # by this process, which is ahead of what is written
        self.written_bytes = 0
        self.found_bytes = 0  # what an earlier fill left, which is hashed before it may be read
        self.is_verified = False
        self.failure: UpstreamFailure | None = None
        self._is_wrong = False
        self._changed = asyncio.Event()
        self._recent: dict[int, bytes] = {}  # where in the blob a piece begins -> the piece; oldest first
        self._recent_bytes = 0

    @property
    def front_bytes(self) -> int:
        """From where on the upstream is being asked."""
        return max(self.written_bytes, self.found_bytes)

    @property
    def readable_end(self) -> int:
        """Up to where readers may read."""
        if self._is_wrong:
            return 0
        if self.is_verified:
            return self.written_bytes
        end = self.written_bytes if self.size_bytes is None else self.size_bytes
        return max(0, min(self.written_bytes, end - HELD_BACK_BYTES))

    def advance(self, written_bytes: int, piece: bytes = b"") -> None:
        """More is written and hashed; `piece` is the last of it, for `recent_piece`, or empty."""
        if written_bytes > self.written_bytes:
            self.written_bytes = written_bytes
            if len(piece) >= RECENT_FROM_BYTES:
                self._remember(written_bytes - len(piece), piece)
            self._wake()

    def forget_recent(self) -> None:
        """Hold no pieces in memory: there are too many fills for that."""
        self._recent.clear()
        self._recent_bytes = 0

    def recent_piece(self, start: int) -> bytes | None:
        """The piece that begins there, if it is in memory and all of it may be read now."""
        piece = self._recent.get(start)
        return piece if piece is not None and start + len(piece) <= self.readable_end else None

    def verify(self, size_bytes: int) -> None:
        """All of it is written, and it is what it should be."""
        self.size_bytes = self.written_bytes = size_bytes
        self.is_verified = True
        self._end()

    def fail(self, failure: UpstreamFailure, *, is_wrong: bool = False) -> None:
        """It goes no further; `is_wrong`: nor may what is there be read."""
        if self.failure is None and not self.is_verified:
            self.failure = failure
            self._is_wrong = is_wrong
            self._end()

    async def changed(self) -> None:
        """Wait until anything of this is different."""
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
