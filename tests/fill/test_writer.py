"""The thread that hashes and writes: in order, bounded, and never beyond a failure."""

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hubferry.fill.writer import QUEUE_BYTES, Writer
from hubferry.ports import StoreFailure

PIECES = [bytes([number]) * 200_000 for number in range(20)]


class MemoryPartial:
    def __init__(self, fail_at: int | None = None) -> None:
        self.data = b""
        self.fail_at = fail_at

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        if self.fail_at is not None and offset >= self.fail_at:
            raise StoreFailure("full")
        assert offset == len(self.data)
        self.data += b"".join(pieces)


def writer(partial: MemoryPartial, pool: ThreadPoolExecutor, seen: list[int]) -> Writer:
    like: Any = partial
    return Writer(like, hashlib.sha256(), 0, size_bytes=None, pool=pool, on_written=seen.append)


def test_pieces_are_written_in_order_and_hashed() -> None:
    partial = MemoryPartial()
    seen: list[int] = []

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            one = writer(partial, pool, seen)
            for piece in PIECES:
                await one.put(piece)
                assert one._queued_bytes < QUEUE_BYTES
            assert await one.drain() == hashlib.sha256(b"".join(PIECES)).hexdigest()
            assert one.written_bytes == len(partial.data)

    asyncio.run(scene())
    assert partial.data == b"".join(PIECES)
    assert seen == sorted(seen)
    assert seen[-1] == len(partial.data)


def test_nothing_is_written_after_a_failure() -> None:
    partial = MemoryPartial(fail_at=1)
    seen: list[int] = []

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            one = writer(partial, pool, seen)
            for _ in range(50):  # a producer that does not look
                try:
                    await one.put(PIECES[0])
                except StoreFailure:
                    await asyncio.sleep(0)
            await one.stop()
            with pytest.raises(StoreFailure):
                await one.drain()

    asyncio.run(scene())
    assert seen in ([], [len(partial.data)])
    assert len(partial.data) == sum(seen)
