"""Finished blobs: each file is opened once however many read it, and handed out as bodies of any part of it.

The layout is that of layout.py (`blobs/sha256/ab/abcd...`): whatever has a final name was verified. A file that was
written to since then (mark.py) is hashed before its first byte leaves. When that takes long, its body waits, so that
the head need not. A damaged file is put aside, and is treated as if it had never been there. A file that is being read
may be removed meanwhile; its readers go on. What a body cannot give any more (NotKept), its reader has to get
elsewhere.
Also here: where partial files are opened (partial.py).
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from hubferry.core.bounded import BoundedMap
from hubferry.core.pace import LargePieces, Pace
from hubferry.ports.content import NotKept, Region, StoreFailure
from hubferry.ports.shell import EventLog
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.store.checks import check_file, put_aside
from hubferry.store.content import close_file
from hubferry.store.layout import Layout
from hubferry.store.ledger import Ledger
from hubferry.store.mark import is_marked
from hubferry.store.page_reads import PageReads
from hubferry.store.partial import PartialFile

# how long `open` waits for a check: by then a small file is checked, and if damaged fetched anew with nobody noticing
CHECK_PATIENCE_S = 0.3
CHECKS = 2  # how many files are checked at the same time
REMEMBERED = 10_000  # how many checked files without a mark are remembered
HELD_ALONE_S = 1.0  # how long an exclusive lock is waited for: it is held around a rename, or for a removal
HELD_POLL_S = 0.005


class FileBlobs:
    """The finished blobs of one cache folder, for one event loop."""

    def __init__(self, folder: Path, ledger: Ledger | None = None, log: EventLog | None = None) -> None:
        """Without a ledger nothing is counted, and nothing is ever removed. `log` is told of damaged files."""
        self._layout = Layout(folder)
        self._ledger = ledger
        self._log = log
        self._checked: BoundedMap[tuple[int, int, int]] = BoundedMap(REMEMBERED)
        self._open: dict[str, _OpenFile] = {}
        # a pool of its own: after a cache was copied there is a lot to hash, and no other work may wait for that
        self._checks = ThreadPoolExecutor(CHECKS, thread_name_prefix="check")
        self.reads = PageReads()
        self.large = LargePieces()

    async def close(self) -> None:
        """Wait for the checks that are running, and drop those that have not begun."""
        await asyncio.to_thread(self._checks.shutdown, cancel_futures=True)

    def path(self, digest: str) -> Path:
        """Return where a finished blob is kept, whether it is there or not."""
        return self._layout.content(digest)

    async def open(self, digest: str, size_bytes: int | None = None) -> "StoredBlob | None":
        """Return a finished blob, to be closed; None when it is not kept, cannot be opened, or was found to be damaged.

        `size_bytes` is how long it is, if known. When the file has that length, a check is waited for no longer than
        CHECK_PATIENCE_S, and the body waits for the rest. Otherwise `open` waits until the check is over.
        """
        if self._ledger is not None:
            self._ledger.touch(digest)
        shared = self._open.get(digest)
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

    async def kept_since(self, digest: str) -> float | None:
        try:
            return (await asyncio.to_thread(self.path(digest).stat)).st_mtime
        except OSError:
            return None

    async def _open_anew(self, digest: str) -> "_OpenFile | None":
        """Open a blob that nobody has open, and share the opening; None when that fails."""
        opening = asyncio.get_running_loop().run_in_executor(None, _open_file, self.path(digest))
        try:
            found = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)  # otherwise its lock would keep the file from removal for ever
            raise
        if found is None:
            return None
        shared = self._open.get(digest)
        if shared is None:
            shared = self._open[digest] = _OpenFile(self, digest, *found)
        else:  # another request opened it while this one waited
            os.close(found[0])
        return shared

    def _check_unmarked(self, shared: "_OpenFile") -> None:
        """Begin to hash a file that has no mark, unless this process has checked it already."""
        stat = os.fstat(shared.descriptor)
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if shared.is_being_checked or shared.is_damaged:
            return  # no second check: whoever waits for the first one is to get its result
        if is_marked(stat, shared.digest) or self._checked.get(shared.digest) == seen:
            return
        shared.take()  # for the check
        loop = asyncio.get_running_loop()
        shared.check = loop.run_in_executor(self._checks, self._check, shared)
        shared.check.add_done_callback(lambda _: self._was_checked(shared, seen))

    def _check(self, shared: "_OpenFile") -> bool:
        """On a thread: return whether a file is what its digest says; one that is not is put aside and logged."""
        digest, descriptor = shared.digest, shared.descriptor
        try:
            problem = check_file(digest, descriptor)
        except OSError as error:
            problem = f"it cannot be read ({error.strerror})"
        if not problem:
            return True
        try:
            if not put_aside(self._layout, self._ledger, digest, self.path(digest), descriptor):
                return False  # somebody else who had it open has put it aside and logged it
        except StoreFailure as failure:
            problem += f"; {failure}"
        if self._log is not None:
            self._log.warning("content_damaged", {"digest": digest, "problem": problem})
        return False

    def _was_checked(self, shared: "_OpenFile", seen: tuple[int, int, int]) -> None:
        """Remember a file that is right; share one that is damaged no longer."""
        if not shared.is_damaged:
            self._checked.put(shared.digest, seen)
        else:
            self.forget(shared)  # requests from now on find nothing, or another file
        shared.give_back()

    def open_partial(self, upstream: str, digest: str) -> PartialFile:
        """Return the partial file of a blob, created if need be. Blocks. Raises StoreFailure."""
        return PartialFile(self._layout, upstream, digest, self.reads, self._ledger)

    async def rehearse(self, upstream: str, digest: str) -> None:
        """A file that nobody else uses is opened, looked at and removed again."""
        nobodys = f"{upstream}-{secrets.token_hex(8)}"

        def open_and_remove() -> None:
            with contextlib.suppress(StoreFailure):
                partial = self.open_partial(nobodys, digest)
                try:
                    is_unused = partial.standing() == "ours" and partial.declared() is None
                    if not partial.final_exists() or is_unused:
                        partial.cut_to_whole()
                    if is_unused and not partial.length_bytes():
                        partial.discard()
                finally:
                    partial.close()

        await asyncio.get_running_loop().run_in_executor(None, open_and_remove)

    def forget(self, shared: "_OpenFile") -> None:
        """Share this opening no longer: new readers open the file anew."""
        if self._open.get(shared.digest) is shared:
            del self._open[shared.digest]


class _OpenFile:
    """A descriptor shared by everybody who reads the file; it is closed when nobody uses it any more."""

    def __init__(self, store: FileBlobs, digest: str, descriptor: int, stat: os.stat_result) -> None:
        self.store = store
        self.digest = digest
        self.descriptor = descriptor
        self.size_bytes = stat.st_size
        self.check: asyncio.Future[bool] | None = None
        self._users = 0

    @property
    def is_damaged(self) -> bool:
        """Whether the file was hashed and is not what its digest says. A check that was cancelled counts as that."""
        check = self.check
        return check is not None and check.done() and (check.cancelled() or not check.result())

    @property
    def is_being_checked(self) -> bool:
        """Whether the file is still being hashed, so that no byte of it may be given yet."""
        return self.check is not None and not self.check.done()

    def take(self) -> None:
        """Add a user, so that the descriptor stays open."""
        self._users += 1

    def give_back(self) -> None:
        """Remove a user; without any the descriptor is closed."""
        self._users -= 1
        if not self._users:
            self.store.forget(self)
            close_file(self.descriptor)

    async def read_on_thread(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes` from `offset`. Raises OSError."""
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, os.pread, self.descriptor, size_bytes, offset)
        # the thread outlives a reader that is cancelled, and so must the descriptor
        self.take()
        reading.add_done_callback(self._was_read)
        return await asyncio.shield(reading)

    def _was_read(self, reading: asyncio.Future[bytes]) -> None:
        reading.exception()  # marks it as retrieved: its reader may be gone
        self.give_back()


class StoredBlob:
    """A finished blob that stays open until `close`; its bodies keep it open themselves."""

    def __init__(self, shared: _OpenFile) -> None:
        self._shared: _OpenFile = shared
        self._is_closed = False
        shared.take()

    @property
    def size_bytes(self) -> int:
        """The size of the blob in bytes."""
        return self._shared.size_bytes

    @property
    def front_bytes(self) -> int:
        """How many bytes from the start of the blob are there: all of them."""
        return self._shared.size_bytes

    def body(self, start: int, end: int | None) -> "StoredBody":
        """Return the bytes from `start` up to, not including, `end` (None: to the end)."""
        return StoredBody(self._shared, start, self.size_bytes if end is None else end)

    def close(self) -> None:
        """Stop holding the file open. May be called again."""
        if not self._is_closed:
            self._is_closed = True
            self._shared.give_back()


class StoredBody:
    """A part of a finished blob, as a body that server/bodies.py reads (ports.content.InFile)."""

    def __init__(self, shared: _OpenFile, start: int, end: int) -> None:
        self._shared: _OpenFile | None = shared
        self._at = start
        self._end = end
        self._pace = Pace(shared.store.large)
        shared.take()

    async def read(self) -> bytes | None:
        """Return the next piece, None at the end.

        Raises NotKept when the file is damaged or cannot be read, UpstreamFailure when it is shorter than it was.
        """
        shared = self._shared
        if shared is None or self._at >= self._end:
            return None
        if shared.is_being_checked:
            await asyncio.wait({cast("asyncio.Future[bool]", shared.check)})
        if shared.is_damaged:
            raise NotKept(Cause.CUT, "cache", f"{shared.digest} was damaged on the disk")
        size_bytes = min(self._pace.next_bytes(time.monotonic()), self._end - self._at)
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
        size_bytes = min(self._pace.next_region_bytes(time.monotonic()), self._end - self._at)
        shared = self._shared
        if shared is None or size_bytes <= 0 or shared.is_being_checked or shared.is_damaged:
            return None
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
        """Stop holding the file open. May be called again."""
        self._pace.close()
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.give_back()


def _open_file(path: Path) -> tuple[int, os.stat_result] | None:
    """Open a file and lock it as one that is being read; None when that fails. Blocks."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # keeps the file from being removed; an exclusive holder is about to remove it, or has only just named it
            _lock_shared(descriptor)
        except OSError:
            os.close(descriptor)
        else:
            found = os.fstat(descriptor)
            if found.st_nlink:  # otherwise it was removed just before
                return descriptor, found
            os.close(descriptor)
    return None


def _close_opened(opening: asyncio.Future[tuple[int, os.stat_result] | None]) -> None:
    """Close a file whose opener was cancelled."""
    if not opening.cancelled() and opening.exception() is None and (found := opening.result()) is not None:
        os.close(found[0])


def _lock_shared(descriptor: int) -> None:
    """Take a shared lock. Raises OSError when somebody holds the file exclusively, and goes on doing so."""
    deadline = time.monotonic() + HELD_ALONE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if not os.fstat(descriptor).st_nlink or time.monotonic() > deadline:
                raise
            time.sleep(HELD_POLL_S)
