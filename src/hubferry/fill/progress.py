"""What readers of a fill may read, and how they learn that it became more.

Readers get what is written and hashed, but for the last HELD_BACK_BYTES of the blob, until the digest matched: whoever
reads from the first byte on can never take a wrong blob for a whole one. While the size is not known the last bytes
so far are held back. Content known to be wrong is not read at all any more; after any other failure what is there may
still be read, for it may be right and its readers continue it elsewhere.
"""

import asyncio

from hubferry.fill.parts import HELD_BACK_BYTES
from hubferry.ports import UpstreamFailure


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

    def advance(self, written_bytes: int) -> None:
        """More is written and hashed."""
        if written_bytes > self.written_bytes:
            self.written_bytes = written_bytes
            self._wake()

    def verify(self, size_bytes: int) -> None:
        """All of it is written, and it is what it should be."""
        self.size_bytes = self.written_bytes = size_bytes
        self.is_verified = True
        self._wake()

    def fail(self, failure: UpstreamFailure, *, is_wrong: bool = False) -> None:
        """It goes no further; `is_wrong`: nor may what is there be read."""
        if self.failure is None and not self.is_verified:
            self.failure = failure
            self._is_wrong = is_wrong
            self._wake()

    async def changed(self) -> None:
        """Wait until anything of this is different."""
        await self._changed.wait()

    def _wake(self) -> None:
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()
