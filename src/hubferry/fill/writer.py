"""Hash and write the pieces of a blob on a thread, while the next ones arrive.

Pieces are written where they belong, and hashed in the order of the file: what lies ahead of the front waits in the
file until the front reaches it, and is read back then, from memory as a rule. `on_written` is told of the front only.

hashlib and pwrite release the interpreter, so that network, hash and disk overlap. At most QUEUE_BYTES wait; a
producer that is faster waits. From time to time the hash so far goes into the sidecar, for whoever continues.
Not here: threads are the caller's pool; what the digest should be is decided in fill.py.
"""

import asyncio
import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hubferry.fill.parts import PIECE_BYTES, Partial
from hubferry.ports import StoreFailure

if TYPE_CHECKING:
    from hashlib import _Hash

QUEUE_BYTES = 8 * PIECE_BYTES  # less, and network and disk wait for each other: 2 pieces cost a third of the speed
CHECKED_EVERY_BYTES = 64 * 2**20
ROUNDS = 16  # how many times one job goes on before others get the thread


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
        on_written: Callable[[int], None],
    ) -> None:
        """`on_written` is told, on the event loop, up to where the file holds hashed bytes."""
        self._partial = partial
        self._hasher = hasher
        self._size_bytes = size_bytes
        self._pool = pool
        self._on_written = on_written
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._lock = threading.Lock()  # guards the five below, which both sides change
        self._queue: list[tuple[int | None, bytes]] = []
        self._queued_bytes = 0
        self._is_working = False
        self._failure: StoreFailure | None = None
        self._is_stopped = False
        self._offset = offset  # of the thread only, as are the hash and the next two
        self._ahead: dict[int, int] = {}  # where what is written beyond the front begins -> where it ends
        self._checked_bytes = offset

    async def put(self, piece: bytes, at: int | None = None) -> None:
        """Give a piece to the thread, and wait while it has enough; `at` is where it belongs, None: at the front.

        Of each byte one piece is given. Beyond the front nothing may be given before the file was told (`go_ahead`).
        Raises StoreFailure.
        """
        with self._lock:
            if self._failure is not None:  # what follows a piece that was not written has no place
                raise self._failure
            self._queue.append((at, piece))
            self._queued_bytes += len(piece)
            is_first, self._is_working = not self._is_working, True
        if is_first:
            self._pool.submit(self._work)
        await self._until(lambda: self._queued_bytes < QUEUE_BYTES)

    async def drain(self) -> str:
        """Wait until everything is written; the hash of it, hexadecimal. Raises StoreFailure."""
        await self._until(lambda: not self._is_working)
        return self._hasher.hexdigest()

    async def stop(self) -> None:
        """Wait until the thread has let go of the file, whatever became of it. Never raises but CancelledError.

        What lies ahead is not hashed any more.
        """
        with self._lock:
            self._is_stopped = True
        while self._is_working:
            self._changed.clear()
            await self._changed.wait()

    @property
    def written_bytes(self) -> int:
        """Up to where it is written; only when nothing is being written."""
        return self._offset

    def note_progress(self) -> None:
        """Put the hash so far into the sidecar. Blocks; only when nothing is being written. Raises StoreFailure."""
        if self._failure is not None:
            return  # the hash is ahead of the file
        self._partial.declare(self._size_bytes, self._offset, self._hasher.hexdigest())
        self._checked_bytes = self._offset

    async def _until(self, is_met: Callable[[], bool]) -> None:
        while not is_met() and self._failure is None:
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        """On the thread."""
        for _ in range(ROUNDS):
            with self._lock:
                items, self._queue = self._queue, []
                if not items:
                    self._is_working = False
            if not items:
                self._loop.call_soon_threadsafe(self._changed.set)
                return
            try:
                self._process(items)
            except StoreFailure as failure:
                with self._lock:
                    self._failure = failure
                    self._is_working = False
                self._loop.call_soon_threadsafe(self._changed.set)
                return
            with self._lock:
                self._queued_bytes -= sum(len(piece) for _, piece in items)
            self._loop.call_soon_threadsafe(self._tell, self._offset)
        self._pool.submit(self._work)

    def _process(self, items: Sequence[tuple[int | None, bytes]]) -> None:
        for at, pieces in self._runs(items):
            if at != self._offset:
                self._partial.write(at, pieces)
                self._ahead[at] = at + sum(map(len, pieces))
                continue
            for piece in pieces:
                self._hasher.update(piece)
            self._partial.write(at, pieces)
            self._advance(sum(map(len, pieces)))
            self._catch_up()

    def _runs(self, items: Sequence[tuple[int | None, bytes]]) -> Iterator[tuple[int, list[bytes]]]:
        """Pieces that follow each other in the file, together; None is the front as it is when its turn comes."""
        for at, run in itertools.groupby(_placed(items), key=lambda item: item[0]):
            yield self._offset if at is None else at, [piece for _, piece in run]

    def _catch_up(self) -> None:
        """Hash what is there already."""
        while (end := self._ahead.pop(self._offset, None)) is not None:
            while self._offset < end:
                if self._is_stopped:
                    return
                piece = self._partial.read(self._offset, min(PIECE_BYTES, end - self._offset))
                if not piece:
                    raise StoreFailure("the file of a blob under way is shorter than it was")
                self._hasher.update(piece)
                self._advance(len(piece))
                self._loop.call_soon_threadsafe(self._tell, self._offset)

    def _advance(self, size_bytes: int) -> None:
        self._offset += size_bytes
        self._partial.note_front(self._offset)
        if self._offset - self._checked_bytes >= CHECKED_EVERY_BYTES:
            self.note_progress()

    def _tell(self, written_bytes: int) -> None:
        self._changed.set()
        self._on_written(written_bytes)


def _placed(items: Sequence[tuple[int | None, bytes]]) -> Iterator[tuple[int | None, bytes]]:
    """Each with where the run that it goes on begins."""
    first, end = None, None
    for at, piece in items:
        if at is not None:
            if at != end:
                first = at
            end = at + len(piece)
        else:
            first, end = None, None
        yield first, piece
