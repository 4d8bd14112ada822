"""Write and hash the pieces of a blob on threads, while the next ones arrive.

The front is where the bytes that are written and hashed without a gap end. A piece goes through these steps, and is
never changed or copied:

    put         the event loop hands it over, and waits while QUEUE_BYTES are queued here
    _write      a thread writes it where it belongs in the file
    _hash       a piece at the front is hashed. One ahead of the front is dropped, and read back from the file, usually
                from memory, when the front has reached it
    on_written  the event loop learns how far the file is written and hashed, and gets the piece for readers that keep
                up

So readers in this process only see what is written and hashed, in order. (Followers in another process see the length
of the file, which is ahead by what waits for the hash. Nobody sees the last bytes of a blob before its digest matched.)

With up to two processors one thread does both steps: the piece is still in that processor's cache then, and handing it
to a second thread costs more than it gains. With more processors each step has a thread of its own (OVERLAPS).

All writers of a process share a few threads, about as many as there are processors to use, so that the event loop finds
one too. Pieces are handed over in turn, by client, and all writers together hold no more than Turns allows (slots.py).

hashlib and pwrite release the interpreter lock, so that network, hash and disk overlap. A failure on a thread ends both
steps, drops what is queued, and is raised by `put` and `drain`. From time to time the hash so far goes into the
sidecar, for whoever continues the file.
Not here: the threads, which are the caller's pool; which digest the blob should have (lead.py).
"""

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hubferry.fill.bounds import PIECE_BYTES
from hubferry.fill.slots import Turns
from hubferry.ports.content import StoreFailure
from hubferry.ports.partials import Partial

if TYPE_CHECKING:
    from hashlib import _Hash

QUEUE_BYTES = 4 * PIECE_BYTES  # half of it costs a third of the speed: network and disk wait for each other then
CHECKED_EVERY_BYTES = 64 * 2**20  # how often the hash so far goes into the sidecar
ROUNDS = 8  # how many pieces one job does before other jobs get the thread
TURNS = 8  # pieces that are being handed over at the same moment: more than there are threads
ALL_QUEUED_BYTES = 8 * QUEUE_BYTES


def usable_processors() -> int:
    """Return how many processors this process may use: its affinity where the system has one, otherwise all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


OVERLAPS = usable_processors() > 2


class Damaged(Exception):
    """A partial file does not hold what was once written to it."""


def hash_prefix(partial: Partial, digest: str, length_bytes: int) -> "_Hash":
    """Return the hash of the first `length_bytes` of a file, which can be continued. Blocks.

    On the way it is compared with the hash in the sidecar, when that covers no more bytes. Raises Damaged when they
    differ or the file is shorter, StoreFailure.
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
    """One kind of work on pieces, done by at most one thread at a time; guarded by the writer's lock."""

    def __init__(self, work: Callable[[int, bytes], None]) -> None:
        self.work = work
        self.waiting: deque[tuple[int, bytes]] = deque()
        self.is_running = False


class Writer:
    """The writing end of a partial file, for one event loop."""

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
        """`on_written` is called on the event loop with how far the file is written and hashed, and the last piece.

        That piece is empty when it was read back from the file, or when it lies ahead of the front. `overlaps` says
        that hashing has a thread of its own. `turns` are shared by all writers; `client` is whose turn a piece takes.
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
        self._queued_bytes = 0  # handed over, and not reported as done; used on the event loop only
        self._is_stopped = False
        self._lock = threading.Lock()  # guards the three below
        self._writing = _Stage(self._write)
        self._hashing = _Stage(self._hash)
        self._failure: StoreFailure | None = None
        # the rest, and the hash, belong to the thread that hashes
        self._offset = offset
        self._ahead: dict[int, int] = {}  # ranges that are written beyond the front: start -> end
        self._ahead_from: dict[int, int] = {}  # the same ranges: end -> start
        self._checked_bytes = offset

    async def put(self, piece: bytes, at: int) -> None:
        """Hand a piece over, and wait while enough is queued; `at` is its offset in the file.

        Each byte is handed over once, also by whoever is cancelled while waiting. Beyond the front nothing may be
        handed over before the file was told (`go_ahead`). Raises StoreFailure for whatever went wrong on a thread.
        """
        if self._failure is not None:  # an earlier piece was not written, so that this one is of no use
            raise self._failure
        try:
            await self._turns.take(self._client)
        except asyncio.CancelledError:
            # a connection that is closed: nobody fetches the piece again, and without it the blob would be wrong
            self._hand_over(piece, at)
            raise
        try:
            self._hand_over(piece, at)
            await self._until(
                lambda: self._queued_bytes < QUEUE_BYTES and not (self._queued_bytes and self._turns.are_behind)
            )
        finally:
            self._turns.give_back(self._client)

    def _hand_over(self, piece: bytes, at: int) -> None:
        self._count(len(piece))
        self._give(self._writing, at, piece)

    async def drain(self) -> str:
        """Wait until everything is written and hashed, and return the hash, hexadecimal. Raises as `put` does."""
        await self._until(lambda: not self._is_working)
        await asyncio.sleep(0)  # lets the loop make the calls of `on_written` that the threads have scheduled
        return self._hasher.hexdigest()

    async def stop(self) -> None:
        """Wait until no thread uses the file any more, also after a failure. Raises nothing but CancelledError.

        Bytes ahead of the front are not hashed any more.
        """
        self._is_stopped = True
        while self._is_working:
            self._changed.clear()
            await self._changed.wait()
        await asyncio.sleep(0)  # as in `drain`
        self._count(-self._queued_bytes)  # what was dropped after a failure

    def _count(self, size_bytes: int) -> None:
        """Count queued bytes, of this writer and of all writers; negative for those that are done."""
        self._queued_bytes += size_bytes
        self._turns.queued_bytes += size_bytes

    @property
    def written_bytes(self) -> int:
        """How many bytes from the start of the file are written and hashed. Only while no thread is at work."""
        return self._offset

    def note_progress(self) -> None:
        """Write the hash so far into the sidecar. Blocks. Raises StoreFailure. Does nothing after a failure.

        Called by the thread that hashes, or while no thread is at work.
        """
        if self._failure is not None:
            return  # it may have come after a piece was hashed and before it was counted
        self._partial.declare(self._size_bytes, self._offset, self._hasher.hexdigest())
        self._checked_bytes = self._offset

    @property
    def _is_working(self) -> bool:
        with self._lock:
            return self._writing.is_running or self._hashing.is_running

    async def _until(self, is_met: Callable[[], bool]) -> None:
        """Wait until a condition is met. Raises the failure of a thread."""
        while not is_met() and self._failure is None:
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    def _give(self, stage: _Stage, at: int, piece: bytes) -> None:
        """Queue a piece for a stage, and start the stage when it is not running. From any thread."""
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
        """On a thread: do a stage's work on what is queued for it, in order."""
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
                del piece  # otherwise it would stay in memory while this job waits for its next turn
            else:
                self._submit(stage)
                return
        except Exception as error:  # noqa: BLE001 - a thread has no caller: who waits for it must learn of any error
            self._fail(stage, error)
            return
        self._loop.call_soon_threadsafe(self._changed.set)

    def _fail(self, stage: _Stage, error: Exception) -> None:
        """Record a failure and end a stage; the other stage ends with its next piece."""
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
        """Hash a piece when it is at the front; otherwise note where it lies, to be read back later."""
        if at != self._offset:
            self._note_ahead(at, at + len(piece))
            self._loop.call_soon_threadsafe(self._tell, len(piece), self._offset, b"")
            return
        self._advance(piece)
        self._loop.call_soon_threadsafe(self._tell, len(piece), self._offset, piece)
        self._catch_up()

    def _note_ahead(self, start: int, end: int) -> None:
        """Note a range that is written beyond the front, joined with the range before it when the two touch.

        Several connections give many small ranges.
        """
        start = self._ahead_from.pop(start, start)
        self._ahead[start], self._ahead_from[end] = end, start

    def _catch_up(self) -> None:
        """Hash the ranges that were written ahead and that the front has reached, reading them back from the file."""
        while (end := self._ahead.pop(self._offset, None)) is not None:
            del self._ahead_from[end]
            while self._offset < end:
                if self._is_stopped:
                    return
                piece = self._partial.read(self._offset, min(PIECE_BYTES, end - self._offset))
                if not piece:
                    raise StoreFailure("the file of a blob under way is shorter than it was")
                self._advance(piece)
                # without the piece: nothing limits how many of these calls the event loop has yet to make
                self._loop.call_soon_threadsafe(self._tell, 0, self._offset, b"")

    def _advance(self, piece: bytes) -> None:
        """Hash a piece at the front, and move the front behind it."""
        self._hasher.update(piece)
        self._offset += len(piece)
        self._partial.note_front(self._offset)
        if self._offset - self._checked_bytes >= CHECKED_EVERY_BYTES:
            self.note_progress()

    def _tell(self, done_bytes: int, written_bytes: int, piece: bytes) -> None:
        """On the event loop: count `done_bytes` as done, and report how far the file is written and hashed."""
        self._count(-min(done_bytes, self._queued_bytes))
        self._changed.set()
        self._on_written(written_bytes, piece)
