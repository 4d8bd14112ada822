"""Bytes that are known in advance: blobs by digest, of any size, deterministic.

Pure. A Blob is a block repeated up to its size; each repetition of a generated blob starts with its number,
so that a stream continued at a wrong multiple of the block is noticed. A 1 GiB blob costs 1 MiB of memory.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MIB", "Blob", "digest_of"]

MIB = 1024 * 1024
_SEND_CHUNK = 256 * 1024
_COUNTER_SIZE = 8


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Blob:
    """Content with a digest. `Blob(data)` for given bytes, `Blob.generated(size)` for cheap large ones."""

    block: bytes = field(repr=False)
    total: int | None = None
    media_type: str = "application/octet-stream"

    @classmethod
    def generated(cls, size: int, seed: int = 0) -> Blob:
        """`size` bytes that look random and differ for each seed."""
        return cls(random.Random(seed).randbytes(min(size, MIB)), size)

    @property
    def size(self) -> int:
        return len(self.block) if self.total is None else self.total

    @cached_property
    def digest(self) -> str:
        sha = hashlib.sha256()
        for chunk in self.chunks():
            sha.update(chunk)
        return "sha256:" + sha.hexdigest()

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks())

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes | memoryview]:
        """The bytes from `start` up to `stop`, in pieces of at most 256 KiB."""
        stop = self.size if stop is None else min(stop, self.size)
        view = memoryview(self.block)
        length = len(view)
        while start < stop:
            number, offset = divmod(start, length)
            end = min(offset + _SEND_CHUNK, length, offset + stop - start)
            if offset < _COUNTER_SIZE and self.total is not None and length > _COUNTER_SIZE:
                end = min(end, _COUNTER_SIZE)
                yield number.to_bytes(_COUNTER_SIZE, "big")[offset:end]
            else:
                yield view[offset:end]
            start += end - offset
