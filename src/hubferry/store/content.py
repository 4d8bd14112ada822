"""The `ContentStore` port: one file for each digest, complete or not there.

A file gets its final name only after its bytes were verified by the caller, written and synced; then its folder is
synced. Small content (manifests) is remembered in memory as well, up to a bound, because a tag is asked for far more
often than it changes. Not here: blobs under way.
"""

import asyncio
import contextlib
import hashlib
import os
from collections import OrderedDict
from pathlib import Path

from hubferry.ports import StoreFailure

MEMORY_BYTES = 32 * 2**20


class FileStore:
    """Content under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory: OrderedDict[str, bytes] = OrderedDict()
        self._memory_bytes = 0

    def path(self, digest: str) -> Path:
        """Where content of a digest is kept, whether it is there or not."""
        algorithm, _, encoded = digest.partition(":")
        return self._folder / "blobs" / algorithm / encoded[:2] / encoded

    async def read(self, digest: str) -> bytes | None:
        """See ports.ContentStore."""
        known = self._memory.get(digest)
        if known is not None:
            self._memory.move_to_end(digest)
            return known
        content = await asyncio.to_thread(_read, self.path(digest), digest)
        if content is not None:
            self._remember(digest, content)
        return content

    async def write(self, digest: str, content: bytes) -> None:
        """See ports.ContentStore."""
        path = self.path(digest)
        try:
            await asyncio.to_thread(write_durably, path, content)
        except OSError as error:
            raise StoreFailure(f"{path} cannot be written: {error.strerror or error}") from None
        self._remember(digest, content)

    def _remember(self, digest: str, content: bytes) -> None:
        if digest in self._memory or len(content) > MEMORY_BYTES // 8:
            return
        self._memory[digest] = content
        self._memory_bytes += len(content)
        while self._memory_bytes > MEMORY_BYTES:
            self._memory_bytes -= len(self._memory.popitem(last=False)[1])


def _read(path: Path, digest: str) -> bytes | None:
    """The content of a file; one that was altered on the disk is removed, as if it had never been there."""
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        algorithm, _, encoded = digest.partition(":")
        if hashlib.new(algorithm, content).hexdigest() == encoded:
            return content
        path.unlink()
    return None


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is either whole under its name or not there. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{id(content):x}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
