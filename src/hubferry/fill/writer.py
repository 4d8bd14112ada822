"""Write and hash the pieces of a blob on threads, while the next ones arrive.

A piece goes one way, and nobody changes or copies it:

    put         the event loop gives it, and waits while QUEUE_BYTES are with the writer
    _write      a thread writes it where it belongs in the file
    _hash       at the front of what is whole it is hashed; one ahead of the front is let go, and read back from the
                file, from memory as a rule, when the front has reached it
    on_written  the event loop learns how far the file is written and hashed, and gets the piece for readers who keep up

So readers in this process only see what is written and hashed, in order. (Who follows from another process sees the
file's length, which is ahead by what waits for the hash. Nobody sees the last bytes of a blob before its digest
matched.) Up to two processors one thread does both: the piece is still in that processor's cache then, and handing it
to a second thread costs more than it brings. With more of them each has its own (OVERLAPS).

All writers of a process share a few threads, no more than there are processors to use, so that the event loop finds
one: a piece is given in turn, by client, and all together hold no more than Turns says (places.py).

hashlib and pwrite release the interpreter, so that network, hash and disk overlap. Whatever fails on a thread ends
both, drops what waits, and is raised by `put` and `drain`. From time to time the hash so far goes into the sidecar, for
whoever continues. Not here: threads are the caller's pool; what the digest should be is decided in fill.py.
"""

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hubferry.fill.parts import PIECE_BYTES, Partial
from hubferry.fill.places import Turns
from hubferry.ports import StoreFailure

if TYPE_CHECKING:
    from hashlib import _Hash

QUEUE_BYTES = 4 * PIECE_BYTES  # half of it costs a third of the speed: network and disk wait for each other
CHECKED_EVERY_BYTES = 64 * 2**20
ROUNDS = 8  # how many pieces one job does before others get the thread
TURNS = 8  # pieces that are being given at the same moment: more than there are threads
ALL_QUEUED_BYTES = 8 * QUEUE_BYTES


def usable_processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


OVERLAPS = usable_processors() > 2


class Damaged(Exception):
    """A file under way does not hold what was once written to it."""


def hash_prefix(partial: Partial, digest: str, length_bytes: int) -> "_Hash":
    """The hash of the first bytes of a file, compared with what was noted of it. Blocks.

    Raises Damaged, StoreFailure.
    """
    hasher = hashlib.new(digest.partition(":")[0])
    declared = partial.declared()
    checked_bytes = declared.checked_bytes if declared is not None and declared.checked_hash else 0
    at = 0
    while at < length_bytes:
        until = checked_bytes if at < checked_bytes <= length_bytes else length_bytes
        piece = partial.read(at, min(PIECE_BYTES, until - at))
        if not piece:
            raise Damaged("it is shorter than it was")
        hasher.update(piece)
        at += len(piece)
        if declared is not None and at == checked_bytes and hasher.hexdigest() != declared.checked_hash:
            raise Damaged(f"its first {at} bytes are not what they were")
    return hasher


class _Stage:
    """One kind of work on pieces, by at most one thread at a time; guarded by the writer's lock."""

    def __init__(self, work: Callable[[int, bytes], None]) -> None:
        self.work = work
        self.waiting: deque[tuple[int, bytes]] = deque()
        self.is_running = False


class Writer:
    """The writing end of a file under way, for one event loop."""

    def __init__(
        self,
        partial: Partial,
        hasher: "_Hash",
        offset: int,
        *,
        size_bytes: int | None,
        pool: ThreadPoolExecutor,
        on_written: Callable[[int, bytes], None],
        overlaps: bool = OVERLAPS,
        turns: Turns | None = None,
        client: str = "",
    ) -> None:
        """`on_written` is told, on the event loop, up to where the file holds hashed bytes, and the last piece of them.

        The piece is empty when it was read back from the file. `overlaps`: hashing has a thread of its own.
        `turns` are shared by all writers, `client` is whose turn it takes.
        """
        self._turns = turns or Turns(1, ALL_QUEUED_BYTES)
        self._client = client
        self._partial = partial
        self._hasher = hasher
        self._size_bytes = size_bytes
        self._pool = pool
        self._on_written = on_written
        self._overlaps = overlaps
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._queued_bytes = 0  # given, and not told of; of the event loop only
        self._is_stopped = False
        self._lock = threading.Lock()  # guards the three below
        self._writing = _Stage(self._write)
        self._hashing = _Stage(self._hash)
        self._failure: StoreFailure | None = None
        # the rest, and the hash, belong to the thread that hashes
        self._offset = offset
        self._ahead: dict[int, int] = {}  # where what is written beyond the front begins -> where it ends
        self._ahead_from: dict[int, int] = {}  # the reverse
        self._checked_bytes = offset

    async def put(self, piece: bytes, at: int) -> None:
        """Give a piece to the writer, and wait while it has enough; `at` is where in the file it belongs.

        Of each byte one piece is given. Beyond the front nothing may be given before the file was told (`go_ahead`).
        Raises StoreFailure for whatever went wrong on a thread.
        """
        if self._failure is not None:  # what follows a piece that was not written has no place
            raise self._failure
        await self._turns.take(self._client)
        try:
            self._count(len(piece))
            self._give(self._writing, at, piece)
            await self._until(
                lambda: self._queued_bytes < QUEUE_BYTES and not (self._queued_bytes and self._turns.are_behind)
            )
        finally:
            self._turns.give_back(self._client)

    async def drain(self) -> str:
        """Wait until everything is written and hashed; the hash of it, hexadecimal. Raises as `put` does."""
        await self._until(lambda: not self._is_working)
        await asyncio.sleep(0)  # so that `on_written` was told of all of it, which the threads have left to the loop
        return self._hasher.hexdigest()

    async def stop(self) -> None:
        """Wait until the threads have let go of the file, whatever became of it. Never raises but CancelledError.

        What lies ahead is not hashed any more.
        """
        self._is_stopped = True
        while self._is_working:
            self._changed.clear()
            await self._changed.wait()
        await asyncio.sleep(0)  # as in `drain`
        self._count(-self._queued_bytes)  # what was dropped

    def _count(self, size_bytes: int) -> None:
        self._queued_bytes += size_bytes
        self._turns.queued_bytes += size_bytes

    @property
    def written_bytes(self) -> int:
        """Up to where it is written and hashed; only when nothing is being written."""
        return self._offset

    def note_progress(self) -> None:
        """Put the hash so far into the sidecar. Blocks; only when nothing is being written. Raises StoreFailure."""
        if self._failure is not None:
            return  # it may have come between the hash and the count of what is hashed
        self._partial.declare(self._size_bytes, self._offset, self._hasher.hexdigest())
        self._checked_bytes = self._offset

    @property
    def _is_working(self) -> bool:
        with self._lock:
            return self._writing.is_running or self._hashing.is_running

    async def _until(self, is_met: Callable[[], bool]) -> None:
        while not is_met() and self._failure is None:
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    def _give(self, stage: _Stage, at: int, piece: bytes) -> None:
        with self._lock:
            stage.waiting.append((at, piece))
            is_first, stage.is_running = not stage.is_running, True
        if is_first:
            self._submit(stage)

    def _submit(self, stage: _Stage) -> None:
        try:
            self._pool.submit(self._run, stage)
        except RuntimeError as error:  # the pool was shut down
            self._fail(stage, error)

    def _run(self, stage: _Stage) -> None:
        """On a thread: what waits for this stage, in order."""
        try:
            for _ in range(ROUNDS):
                with self._lock:
                    if self._failure is not None:
                        stage.waiting.clear()
                    if not stage.waiting:
                        stage.is_running = False
                        break
                    at, piece = stage.waiting.popleft()
                stage.work(at, piece)
                del piece  # or it would be held while this waits for its next turn
            else:
                self._submit(stage)
                return
        except Exception as error:  # noqa: BLE001 - a thread has no caller: whoever waits for it must learn of anything
            self._fail(stage, error)
            return
        self._loop.call_soon_threadsafe(self._changed.set)

    def _fail(self, stage: _Stage, error: Exception) -> None:
        """End a stage, and the other one with its next piece."""
        failure = error
        if not isinstance(failure, StoreFailure):
            failure = StoreFailure(f"a blob under way cannot be written: {error!r}")
            failure.__cause__ = error
        with self._lock:
            self._failure = self._failure or failure
            stage.waiting.clear()
            stage.is_running = False
        self._loop.call_soon_threadsafe(self._changed.set)

    def _write(self, at: int, piece: bytes) -> None:
        self._partial.write(at, [piece])
        if self._overlaps:
            self._give(self._hashing, at, piece)
        else:
            self._hash(at, piece)

    def _hash(self, at: int, piece: bytes) -> None:
        if at != self._offset:
            self._note_ahead(at, at + len(piece))
            self._loop.call_soon_threadsafe(self._tell, len(piece), self._offset, b"")
            return
        self._advance(piece)
        self._loop.call_soon_threadsafe(self._tell, len(piece), self._offset, piece)
        self._catch_up()

    def _note_ahead(self, start: int, end: int) -> None:
        """What follows another piece makes one range with it: several connections give many small ones."""
        start = self._ahead_from.pop(start, start)
        self._ahead[start], self._ahead_from[end] = end, start

    def _catch_up(self) -> None:
        """Hash what is there already."""
        while (end := self._ahead.pop(self._offset, None)) is not None:
            del self._ahead_from[end]
            while self._offset < end:
                if self._is_stopped:
                    return
                piece = self._partial.read(self._offset, min(PIECE_BYTES, end - self._offset))
                if not piece:
                    raise StoreFailure("the file of a blob under way is shorter than it was")
                self._advance(piece)
                # without the piece: nothing bounds how many of these the event loop has yet to see
                self._loop.call_soon_threadsafe(self._tell, 0, self._offset, b"")

    def _advance(self, piece: bytes) -> None:
        self._hasher.update(piece)
        self._offset += len(piece)
        self._partial.note_front(self._offset)
        if self._offset - self._checked_bytes >= CHECKED_EVERY_BYTES:
            self.note_progress()

    def _tell(self, done_bytes: int, written_bytes: int, piece: bytes) -> None:
        """On the event loop: so much of what was given is done, and it is written and hashed up to there."""
        self._count(-min(done_bytes, self._queued_bytes))
        self._changed.set()
        self._on_written(written_bytes, piece)
