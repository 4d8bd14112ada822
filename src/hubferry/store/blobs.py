"""Finished blobs: opened once however many read them, and handed out as bodies of any part of them.

The layout is that of content.py (`blobs/sha256/ab/abcd...`): what has a final name was verified. A file that is being
read may be removed meanwhile; its readers go on. A disk that fails under a body cuts it visibly.
Also here: where blobs under way are opened (partial.py).
"""

import asyncio
import contextlib
import fcntl
import os
import time
from pathlib import Path

from hubferry.core.pace import Pace
from hubferry.ports import Cause, UpstreamFailure
from hubferry.store.layout import Layout
from hubferry.store.ledger import Ledger
from hubferry.store.page_reads import PageReads
from hubferry.store.partial import PartialFile

HELD_ALONE_S = 1.0  # between a rename and the next line, or between a lock and the removal it is for
HELD_POLL_S = 0.005


class BlobStore:
    """Blobs under one folder, for one event loop."""

    def __init__(self, folder: Path, ledger: Ledger | None = None) -> None:
        """Without a ledger nothing is counted, and nothing ever removed."""
        self._layout = Layout(folder)
        self._ledger = ledger
        self._open: dict[str, _OpenFile] = {}
        self.reads = PageReads()

    def path(self, digest: str) -> Path:
        """Where a finished blob is kept, whether it is there or not."""
        return self._layout.content(digest)

    async def open(self, digest: str) -> "StoredBlob | None":
        """A finished blob, to be closed; None when it is not kept or cannot be opened."""
        shared = self._open.get(digest)
        if self._ledger is not None:
            self._ledger.touch(digest)
        if shared is None:
            found = await asyncio.to_thread(_open_sized, self.path(digest))
            if found is None:
                return None
            shared = self._open.get(digest)
            if shared is None:
                shared = self._open[digest] = _OpenFile(self, digest, *found)
            else:  # another request opened it while this one waited
                os.close(found[0])
        return StoredBlob(shared)

    def open_partial(self, upstream: str, digest: str) -> PartialFile:
        """The file of a blob under way, created if need be. Blocks. Raises StoreFailure."""
        return PartialFile(self._layout, upstream, digest, self.reads, self._ledger)

    def forget(self, digest: str) -> None:
        """For _OpenFile: nobody has it open any longer."""
        self._open.pop(digest, None)


class _OpenFile:
    """A descriptor shared by everybody who reads the file."""

    def __init__(self, store: BlobStore, digest: str, descriptor: int, size_bytes: int) -> None:
        self.store = store
        self.digest = digest
        self.descriptor = descriptor
        self.size_bytes = size_bytes
        self._users = 0

    def take(self) -> None:
        self._users += 1

    def give_back(self) -> None:
        self._users -= 1
        if not self._users:
            self.store.forget(self.digest)
            os.close(self.descriptor)

    async def read_on_thread(self, offset: int, size_bytes: int) -> bytes:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, os.pread, self.descriptor, size_bytes, offset)
        # the thread outlives a reader that is cancelled, and so must the descriptor
        self.take()
        reading.add_done_callback(self._was_read)
        return await asyncio.shield(reading)

    def _was_read(self, reading: asyncio.Future[bytes]) -> None:
        reading.exception()  # its reader may be gone
        self.give_back()


class StoredBlob:
    """A finished blob that is held open until `close`; its bodies hold it open themselves."""

    def __init__(self, shared: _OpenFile) -> None:
        self._shared: _OpenFile = shared
        self._is_closed = False
        shared.take()

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return self._shared.size_bytes

    @property
    def front_bytes(self) -> int:
        """How much of it is there: everything."""
        return self._shared.size_bytes

    def body(self, start: int, end: int | None) -> "StoredBody":
        """The bytes from `start` up to, not including, `end` (None: to the end)."""
        return StoredBody(self._shared, start, self.size_bytes if end is None else end)

    def close(self) -> None:
        """Let go; may be repeated."""
        if not self._is_closed:
            self._is_closed = True
            self._shared.give_back()


class StoredBody:
    """A part of a finished blob, as server.bodies reads it."""

    def __init__(self, shared: _OpenFile, start: int, end: int) -> None:
        self._shared: _OpenFile | None = shared
        self._at = start
        self._end = end
        self._pace = Pace()
        shared.take()

    async def read(self) -> bytes | None:
        """The next piece, None at the end. Raises UpstreamFailure."""
        shared = self._shared
        if shared is None or self._at >= self._end:
            return None
        size_bytes = min(self._pace.next_bytes(time.monotonic()), self._end - self._at)
        try:
            piece = shared.store.reads.read_cached(shared.descriptor, self._at, size_bytes)
            if piece is None:
                piece = await shared.read_on_thread(self._at, size_bytes)
        except OSError as error:
            raise UpstreamFailure(Cause.CUT, "cache", f"{shared.digest}: {error.strerror or error}") from None
        if not piece:
            raise UpstreamFailure(Cause.CUT, "cache", f"{shared.digest} is shorter than it was")
        self._at += len(piece)
        return piece

    async def close(self) -> None:
        """Let go; may be repeated."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.give_back()


def _open_sized(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # what is being read is not removed; whoever holds it alone is about to remove it, or has only just named it
            _lock_shared(descriptor)
            return descriptor, os.fstat(descriptor).st_size
        except OSError:
            os.close(descriptor)
    return None


def _lock_shared(descriptor: int) -> None:
    """Raises OSError when somebody else holds the file alone, and goes on doing so."""
    deadline = time.monotonic() + HELD_ALONE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if not os.fstat(descriptor).st_nlink or time.monotonic() > deadline:
                raise
            time.sleep(HELD_POLL_S)
