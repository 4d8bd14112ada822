"""The thread that hashes and writes: in order, bounded, and never beyond a failure."""

import asyncio
import hashlib
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hubferry.fill.parts import PIECE_BYTES
from hubferry.fill.writer import QUEUE_BYTES, Writer
from hubferry.ports import StoreFailure

PIECES = [bytes([number]) * 200_000 for number in range(1, 21)]


class MemoryPartial:
    def __init__(self, fail_at: int | None = None) -> None:
        self.data = b""
        self.front = 0
        self.fail_at = fail_at

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        if self.fail_at is not None and offset >= self.fail_at:
            raise StoreFailure("full")
        piece = b"".join(pieces)
        assert not any(self.data[offset : offset + len(piece)]), "written twice"
        self.data = self.data.ljust(offset, b"\0")[:offset] + piece + self.data[offset + len(piece) :]

    def read(self, offset: int, size_bytes: int) -> bytes:
        assert size_bytes <= PIECE_BYTES
        return self.data[offset : offset + size_bytes]

    def note_front(self, length_bytes: int) -> None:
        assert length_bytes > self.front
        assert 0 not in self.data[:length_bytes]
        self.front = length_bytes


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


@pytest.mark.parametrize("seed", range(8))
def test_pieces_that_come_in_any_order_are_hashed_in_that_of_the_file(seed: int) -> None:
    partial = MemoryPartial()
    seen: list[int] = []
    placed = [(number * 200_000, piece) for number, piece in enumerate(PIECES)]
    random.Random(seed).shuffle(placed)

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            one = writer(partial, pool, seen)
            for at, piece in placed:
                await one.put(piece, at)
                if at % 3 == seed % 3:
                    await one.drain()
            assert await one.drain() == hashlib.sha256(b"".join(PIECES)).hexdigest()
            assert one.written_bytes == len(partial.data)

    asyncio.run(scene())
    assert partial.data == b"".join(PIECES)
    assert seen == sorted(seen)
    assert partial.front == len(partial.data)


def test_nobody_is_told_of_what_lies_beyond_the_front() -> None:
    partial = MemoryPartial()
    seen: list[int] = []

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            one = writer(partial, pool, seen)
            await one.put(b"c", 2)
            await one.put(b"d", 3)
            await one.drain()
            assert partial.data == b"\0\0cd"
            assert (partial.front, max(seen)) == (0, 0)
            await one.put(b"a")
            await one.drain()
            assert (partial.front, max(seen)) == (1, 1)
            await one.put(b"b")
            assert await one.drain() == hashlib.sha256(b"abcd").hexdigest()
            assert (partial.front, max(seen)) == (4, 4)

    asyncio.run(scene())


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
