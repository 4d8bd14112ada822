"""Finished blobs: opened once however many read them, and handed out as bodies of any part of them.

The layout is that of content.py (`blobs/sha256/ab/abcd...`): what has a final name was verified. A file that was
written to since (mark.py) is hashed before its first byte leaves: when that takes long its body waits, so that the head
need not. A damaged file is put aside and is as if it had never been there. A file that is being read may be removed
meanwhile; its readers go on, but for those who took next to nothing of it (pins.py). What a body cannot give any more
(NotKept) its reader has to get elsewhere. Also here: where blobs under way are opened (partial.py).
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from hubferry.core.pace import LargePieces, Pace
from hubferry.ports import Cause, EventLog, NotKept, Region, StoreFailure, UpstreamFailure
from hubferry.store.checks import check_file, put_aside
from hubferry.store.layout import Layout
from hubferry.store.ledger import Ledger
from hubferry.store.mark import is_marked
from hubferry.store.page_reads import PageReads
from hubferry.store.partial import PartialFile
from hubferry.store.pins import Pins

CHECK_PATIENCE_S = 0.3  # a small file is checked by then, and fetched anew without anybody noticing
CHECKS = 2  # at a time
REMEMBERED = 10_000
HELD_ALONE_S = 1.0  # between a rename and the next line, or between a lock and the removal it is for
HELD_POLL_S = 0.005


class BlobStore:
    """Blobs under one folder, for one event loop."""

    def __init__(self, folder: Path, ledger: Ledger | None = None, log: EventLog | None = None) -> None:
        """Without a ledger nothing is counted, and nothing ever removed. `log` is told of damaged files."""
        self._layout = Layout(folder)
        self._ledger = ledger
        self._log = log
        self._checked: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self._open: dict[str, _OpenFile] = {}
        # of its own: after a cache was copied there is a lot to hash, and nobody else's work may wait for that
        self._checks = ThreadPoolExecutor(CHECKS, thread_name_prefix="check")
        self.reads = PageReads()
        self.large = LargePieces()

    async def close(self) -> None:
        """Wait for what is being checked."""
        await asyncio.to_thread(self._checks.shutdown, cancel_futures=True)

    def path(self, digest: str) -> Path:
        """Where a finished blob is kept, whether it is there or not."""
        return self._layout.content(digest)

    async def open(self, digest: str, size_bytes: int | None = None) -> "StoredBlob | None":
        """A finished blob, to be closed; None when it is not kept, cannot be opened, or was found to be damaged.

        `size_bytes` is how long it is if known: a file of another length is waited for until it was checked.
        """
        if self._ledger is not None:
            self._ledger.touch(digest)
        shared = self._open.get(digest)
        if shared is not None and not shared.took(0):
            self.forget(shared)  # it had to make room meanwhile; its readers learn of it themselves
            shared = None
        shared = shared or await self._open_anew(digest)
        if shared is None:
            return None
        blob = StoredBlob(shared)
        self._check_unmarked(shared)
        if shared.check is not None and not shared.check.done():
            patience_s = CHECK_PATIENCE_S if shared.size_bytes == size_bytes else None
            try:
                await asyncio.wait({shared.check}, timeout=patience_s)
            except BaseException:
                blob.close()
                raise
        if shared.is_damaged:
            blob.close()
            return None
        return blob

    async def _open_anew(self, digest: str) -> "_OpenFile | None":
        opening = asyncio.get_running_loop().run_in_executor(None, _open_file, self.path(digest))
        try:
            found = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)  # its lock would keep the file for ever
            raise
        if found is None:
            return None
        shared = self._open.get(digest)
        if shared is None:
            pins = None if self._ledger is None else self._ledger.pins
            shared = self._open[digest] = _OpenFile(self, digest, *found, pins)
        else:  # another request opened it while this one waited
            os.close(found[0])
        return shared

    def _check_unmarked(self, shared: "_OpenFile") -> None:
        stat = os.fstat(shared.descriptor)
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if shared.is_being_checked or shared.is_damaged:
            return  # what was found is not looked at again: who waits for the answer is to get it
        if is_marked(stat, shared.digest) or self._checked.get(shared.digest) == seen:
            return
        shared.take()  # for the check
        loop = asyncio.get_running_loop()
        shared.check = loop.run_in_executor(self._checks, self._check, shared)
        shared.check.add_done_callback(lambda _: self._was_checked(shared, seen))

    def _check(self, shared: "_OpenFile") -> bool:
        """On a thread: whether the file is what it should be."""
        digest, descriptor = shared.digest, shared.descriptor
        try:
            problem = check_file(digest, descriptor, shared.hashed)
        except OSError as error:
            problem = f"it cannot be read ({error.strerror})"
        if not problem:
            return True
        try:
            if not put_aside(self._layout, self._ledger, digest, self.path(digest), descriptor):
                return False  # whoever opened it at the same moment did, and said so
        except StoreFailure as failure:
            problem += f"; {failure}"
        if self._log is not None:
            self._log.warning("content_damaged", {"digest": digest, "problem": problem})
        return False

    def _was_checked(self, shared: "_OpenFile", seen: tuple[int, int, int]) -> None:
        if not shared.is_damaged:
            self._checked[shared.digest] = seen
            while len(self._checked) > REMEMBERED:
                self._checked.popitem(last=False)
        else:
            self.forget(shared)  # whoever comes now finds nothing, or another file
        shared.give_back()

    def open_partial(self, upstream: str, digest: str) -> PartialFile:
        """The file of a blob under way, created if need be. Blocks. Raises StoreFailure."""
        return PartialFile(self._layout, upstream, digest, self.reads, self._ledger)

    async def rehearse(self, upstream: str, digest: str) -> None:
        """See ports.BlobStore: a file that nobody else uses is opened, looked at and removed again."""
        nobodys = f"{upstream}-{secrets.token_hex(8)}"

        def open_and_remove() -> None:
            with contextlib.suppress(StoreFailure):
                partial = self.open_partial(nobodys, digest)
                try:
                    is_unused = partial.standing() == "ours" and partial.declared() is None
                    if not partial.final_exists() or is_unused:
                        partial.settle()
                    if is_unused and not partial.length_bytes():
                        partial.discard()
                finally:
                    partial.close()

        await asyncio.get_running_loop().run_in_executor(None, open_and_remove)

    def forget(self, shared: "_OpenFile") -> None:
        """Nobody is to read this opening any longer."""
        if self._open.get(shared.digest) is shared:
            del self._open[shared.digest]


class _OpenFile:
    """A descriptor shared by everybody who reads the file."""

    def __init__(self, store: BlobStore, digest: str, descriptor: int, stat: os.stat_result, pins: Pins | None) -> None:
        """`pins` None: nothing is ever removed."""
        self.store = store
        self.digest = digest
        self.descriptor = descriptor
        self.size_bytes = stat.st_size
        self.check: asyncio.Future[bool] | None = None
        self._users = 0
        self._pins = pins
        self._pin = None if pins is None else pins.add(descriptor, stat.st_size)

    def took(self, size_bytes: int) -> bool:
        """A reader is about to be given so much; False when the bytes had to make room."""
        return self._pin is None or self._pin.took(size_bytes)

    def hashed(self, size_bytes: int) -> None:
        """Its check reads it, which is use enough."""
        self.took(size_bytes)

    @property
    def is_damaged(self) -> bool:
        """Whether it was hashed and is not what it should be."""
        check = self.check
        return check is not None and check.done() and (check.cancelled() or not check.result())

    @property
    def is_being_checked(self) -> bool:
        """Whether nothing of it may be given yet."""
        return self.check is not None and not self.check.done()

    def take(self) -> None:
        self._users += 1

    def give_back(self) -> None:
        self._users -= 1
        if not self._users:
            self.store.forget(self)
            if self._pins is not None and self._pin is not None:
                self._pins.remove(self._pin)
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
        self._pace = Pace(shared.store.large)
        shared.take()

    async def read(self) -> bytes | None:
        """The next piece, None at the end. Raises UpstreamFailure."""
        shared = self._shared
        if shared is None or self._at >= self._end:
            return None
        if shared.is_being_checked:
            await asyncio.wait({cast("asyncio.Future[bool]", shared.check)})
        if shared.is_damaged:
            raise NotKept(Cause.CUT, "cache", f"{shared.digest} was damaged on the disk")
        size_bytes = min(self._pace.next_bytes(time.monotonic()), self._end - self._at)
        if not shared.took(size_bytes):
            problem = f"{shared.digest} had to make room, because too little of it was read"
            raise NotKept(Cause.CUT, "cache", problem)
        try:
            piece = shared.store.reads.read_cached(shared.descriptor, self._at, size_bytes)
            if piece is None:
                piece = await shared.read_on_thread(self._at, size_bytes)
        except OSError as error:
            raise NotKept(Cause.CUT, "cache", f"{shared.digest}: {error.strerror or error}") from None
        if not piece:
            raise UpstreamFailure(Cause.CUT, "cache", f"{shared.digest} is shorter than it was")
        self._at += len(piece)
        return piece

    async def next_region(self) -> Region | None:
        """See ports.InFile."""
        size_bytes = min(self._pace.next_region_bytes(time.monotonic()), self._end - self._at)
        shared = self._shared
        if shared is None or size_bytes <= 0 or shared.is_being_checked or shared.is_damaged:
            return None
        if not shared.took(size_bytes):
            return None  # reading it says why
        try:
            if not shared.store.reads.is_cached(shared.descriptor, self._at + size_bytes - 1):
                return None
        except OSError:
            return None  # reading it will say why
        region = Region(shared.descriptor, self._at, size_bytes)
        self._at += size_bytes
        self._pace.sent_region(size_bytes)
        return region

    async def close(self) -> None:
        """Let go; may be repeated."""
        self._pace.close()
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.give_back()


def _open_file(path: Path) -> tuple[int, os.stat_result] | None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # what is being read is not removed; whoever holds it alone is about to remove it, or has only just named it
            _lock_shared(descriptor)
            return descriptor, os.fstat(descriptor)
        except OSError:
            os.close(descriptor)
    return None


def _close_opened(opening: asyncio.Future[tuple[int, os.stat_result] | None]) -> None:
    if not opening.cancelled() and opening.exception() is None and (found := opening.result()) is not None:
        os.close(found[0])


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
