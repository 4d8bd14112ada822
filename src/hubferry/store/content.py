"""The `ContentStore` port: one file for each digest, complete or not there.

A file gets its final name only after its bytes were verified by the caller, written and synced; then its folder is
synced. Small content (manifests) is kept in memory as well, up to MEMORY_BYTES, because a tag is asked for far more
often than it changes. What was removed from the disk is forgotten within RECHECK_S. A client may ask for the digest of
a blob here too: a file longer than the reader's limit is not read, and one that many ask for is read once.
Not here: partial files (partial.py).
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from hubferry.core.manifest import MAX_BYTES, has_digest
from hubferry.ports.content import StoreFailure
from hubferry.store.layout import Layout, is_gone
from hubferry.store.ledger import Ledger
from hubferry.store.mark import set_mark

MEMORY_BYTES = 32 * 2**20
RECHECK_S = 2.0  # how long content in memory is given without looking whether its file is still there


class FileStore:
    """The content of one cache folder, read and written whole."""

    def __init__(self, folder: Path, ledger: Ledger | None = None) -> None:
        """Without a ledger nothing is counted, and nothing is ever removed."""
        self._layout = Layout(folder)
        self._ledger = ledger
        self._memory: OrderedDict[str, _Remembered] = OrderedDict()
        self._memory_bytes = 0
        self._reading: dict[tuple[str, int], asyncio.Future[bytes | None]] = {}

    async def read(self, digest: str, limit_bytes: int = MAX_BYTES) -> bytes | None:
        self.touch(digest)
        known = self._memory.get(digest)
        if known is not None:
            if time.monotonic() - known.seen_at < RECHECK_S:
                return known.content
            if await asyncio.to_thread(self._layout.content(digest).exists):
                known.seen_at = time.monotonic()
                if digest in self._memory:  # it may have made way for other content meanwhile
                    self._memory.move_to_end(digest)
                return known.content
            self._drop(digest)
        key = (digest, limit_bytes)
        reading = self._reading.get(key)
        if reading is None:
            loop = asyncio.get_running_loop()
            reading = self._reading[key] = loop.run_in_executor(None, self._read, digest, limit_bytes)
            reading.add_done_callback(lambda _: self._reading.pop(key))
        content = await asyncio.shield(reading)
        if content is not None:
            self._remember(digest, content)
        return content

    def touch(self, digest: str) -> None:
        if self._ledger is not None:
            self._ledger.touch(digest)

    async def write(self, digest: str, content: bytes) -> None:
        await asyncio.to_thread(self._write, digest, content)
        self._remember(digest, content)

    def _read(self, digest: str, limit_bytes: int) -> bytes | None:
        """Return the content of a file; None when it is not there, cannot be read or is too long. Blocks.

        A file that was altered on the disk is removed, as if it had never been there.
        """
        path = self._layout.content(digest)
        with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if before.st_size > limit_bytes:
                return None
            content = file.read(limit_bytes + 1)
            if has_digest(content, digest):
                return content
            if os.path.samestat(path.stat(), before):  # otherwise it was removed, and this may be another file
                path.unlink()
                if self._ledger is not None:
                    self._ledger.forget([digest])
        return None

    def _write(self, digest: str, content: bytes) -> None:
        """Count content in the ledger, and write it unless it is there already. Blocks. Raises StoreFailure."""
        if not has_digest(content, digest):
            raise StoreFailure(f"{digest} is not the digest of these {len(content)} bytes")
        if self._ledger is not None:
            self._ledger.reserve(digest, len(content))
        path = self._layout.content(digest)
        try:
            if not _holds(path, content):
                write_durably(path, content, digest)
        except OSError as error:
            # what is known of content that was there before stays: tags and lists of many repositories may mean it
            if self._ledger is not None and is_gone(path):
                self._ledger.forget([digest])
            raise StoreFailure(f"{path} cannot be written: {error.strerror or error}") from None
        if self._ledger is not None:
            self._ledger.note_parts(digest, content)

    def _remember(self, digest: str, content: bytes) -> None:
        """Keep small content in memory, in place of what was asked for longest ago."""
        if digest in self._memory or len(content) > MEMORY_BYTES // 4:
            return
        self._memory[digest] = _Remembered(content, time.monotonic())
        self._memory_bytes += len(content)
        while self._memory_bytes > MEMORY_BYTES:
            self._drop(next(iter(self._memory)))

    def _drop(self, digest: str) -> None:
        dropped = self._memory.pop(digest, None)
        if dropped is not None:
            self._memory_bytes -= len(dropped.content)


@dataclass(slots=True)
class _Remembered:
    """Content in memory, and when its file was last seen (monotonic seconds)."""

    content: bytes
    seen_at: float


def _holds(path: Path, content: bytes) -> bool:
    """Return whether a file has exactly this content. Unreadable ones have not."""
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        return os.fstat(file.fileno()).st_size == len(content) and file.read(len(content) + 1) == content
    return False


def write_durably(path: Path, content: bytes, digest: str) -> None:
    """Write verified content so that after a crash it is either whole under its name or not there. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # not a process id: in containers two servers of one folder may have the same one, and so may the next server
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            set_mark(file.fileno(), digest)
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    sync_folder(path.parent)


def close_file(descriptor: int) -> None:
    """Close a file, and release its lock at once.

    A file that was removed is closed on a thread, because that is when its bytes are freed: 0.2 s for a GB.
    """
    if os.fstat(descriptor).st_nlink:
        os.close(descriptor)
    else:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        try:
            threading.Thread(target=os.close, args=(descriptor,), name="close").start()
        except RuntimeError:  # there are as many threads as the machine allows
            os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
