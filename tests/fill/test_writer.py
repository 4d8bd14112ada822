"""The threads that write and hash: in order, bounded, and never beyond a failure."""

import asyncio
import hashlib
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hubferry.fill.bounds import PIECE_BYTES
from hubferry.fill.slots import Turns
from hubferry.fill.writer import QUEUE_BYTES, Writer
from hubferry.ports.content import StoreFailure
from tests.support.waiting import wait_until

PIECES = [bytes([number]) * 200_000 for number in range(1, 21)]


class MemoryPartial:
    def __init__(self, fail_at: int | None = None, failure: Exception | None = None) -> None:
        self.data = b""
        self.front = 0
        self.fail_at = fail_at
        self.failure = failure or StoreFailure("full")

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        if self.fail_at is not None and offset >= self.fail_at:
            raise self.failure
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


class Told:
    """What the event loop was told, in order."""

    def __init__(self) -> None:
        self.fronts: list[int] = []
        self.pieces: list[bytes] = []

    def __call__(self, written_bytes: int, piece: bytes) -> None:
        self.fronts.append(written_bytes)
        if piece:
            self.pieces.append(piece)


@pytest.fixture(params=[False, True], ids=["one-thread", "two-threads"])
def overlaps(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def writer(
    partial: MemoryPartial, pool: ThreadPoolExecutor, told: Told, overlaps: bool, turns: Turns | None = None
) -> Writer:
    like: Any = partial
    return Writer(
        like, hashlib.sha256(), 0, size_bytes=None, pool=pool, on_written=told, overlaps=overlaps, turns=turns
    )


def test_pieces_are_written_in_order_and_hashed(overlaps: bool) -> None:
    partial = MemoryPartial()
    told = Told()

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            one = writer(partial, pool, told, overlaps)
            for number, piece in enumerate(PIECES):
                await one.put(piece, number * 200_000)
                assert one._queued_bytes < QUEUE_BYTES
            assert await one.drain() == hashlib.sha256(b"".join(PIECES)).hexdigest()
            assert one.written_bytes == len(partial.data)

    asyncio.run(scene())
    assert partial.data == b"".join(PIECES)
    assert told.fronts == [(number + 1) * 200_000 for number in range(len(PIECES))]
    assert told.pieces == PIECES  # as they were given, for readers who keep up


@pytest.mark.parametrize("seed", range(8))
def test_pieces_that_come_in_any_order_are_hashed_in_that_of_the_file(seed: int, overlaps: bool) -> None:
    partial = MemoryPartial()
    told = Told()
    placed = [(number * 200_000, piece) for number, piece in enumerate(PIECES)]
    random.Random(seed).shuffle(placed)

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            one = writer(partial, pool, told, overlaps)
            for at, piece in placed:
                await one.put(piece, at)
                if at % 3 == seed % 3:
                    await one.drain()
            assert await one.drain() == hashlib.sha256(b"".join(PIECES)).hexdigest()
            assert one.written_bytes == len(partial.data)

    asyncio.run(scene())
    assert partial.data == b"".join(PIECES)
    assert told.fronts == sorted(told.fronts)
    assert partial.front == len(partial.data)


def test_nobody_is_told_of_what_lies_beyond_the_front(overlaps: bool) -> None:
    partial = MemoryPartial()
    told = Told()

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            one = writer(partial, pool, told, overlaps)
            await one.put(b"c", 2)
            await one.put(b"d", 3)
            await one.drain()
            assert partial.data == b"\0\0cd"
            assert (partial.front, max(told.fronts), told.pieces) == (0, 0, [])
            await one.put(b"a", 0)
            await one.drain()
            assert (partial.front, max(told.fronts), told.pieces) == (1, 1, [b"a"])
            await one.put(b"b", 1)
            assert await one.drain() == hashlib.sha256(b"abcd").hexdigest()
            assert (partial.front, max(told.fronts), told.pieces) == (4, 4, [b"a", b"b"])

    asyncio.run(scene())


def test_whoever_waits_for_the_end_was_told_of_all_of_it(overlaps: bool) -> None:
    """Also when the threads were done before anybody waited, and the event loop had no turn since."""

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            told = Told()
            one = writer(MemoryPartial(), pool, told, overlaps)
            await one.put(b"b", 1)
            await one.drain()
            await one.put(b"a", 0)
            wait_until(lambda: not one._is_working, "the end of the threads")  # and the loop gets no turn
            await one.drain()
            assert told.fronts[-1] == 2

    asyncio.run(scene())


def test_nothing_is_written_after_a_failure(overlaps: bool) -> None:
    partial = MemoryPartial(fail_at=1)
    told = Told()

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            one = writer(partial, pool, told, overlaps)
            for number in range(50):  # a producer that does not look
                try:
                    await one.put(PIECES[0], number * 200_000)
                except StoreFailure:
                    await asyncio.sleep(0)
            await one.stop()
            with pytest.raises(StoreFailure, match="full"):
                await one.drain()

    asyncio.run(scene())
    assert told.fronts in ([], [len(partial.data)])
    assert len(partial.data) == sum(told.fronts)


def test_a_piece_whose_connection_is_closed_while_it_waits_for_its_turn_is_written(overlaps: bool) -> None:
    """It counts as fetched already, so that nobody would fetch it again."""

    async def scene() -> None:
        told, turns = Told(), Turns(1, 10**9)
        partial = MemoryPartial()
        with ThreadPoolExecutor(2) as pool:
            one = writer(partial, pool, told, overlaps, turns=turns)
            await turns.take("another")
            putting = asyncio.create_task(one.put(b"a" * 1000, 0))
            await asyncio.sleep(0)
            putting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await putting
            turns.give_back("another")
            await one.put(b"b" * 1000, 1000)
            await one.drain()
            await one.stop()
        assert partial.data == b"a" * 1000 + b"b" * 1000

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_whatever_goes_wrong_on_a_thread_is_learnt_by_who_waits_for_it(overlaps: bool) -> None:
    """Else the fill and everybody who reads it would wait for ever."""

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            told = Told()
            one = writer(MemoryPartial(0, ZeroDivisionError("a mistake of ours")), pool, told, overlaps)

            async def put_and_drain() -> None:
                await one.put(b"a", 0)  # which learns of it already if the thread is quick
                await one.drain()

            with pytest.raises(StoreFailure, match="a mistake of ours") as caught:
                await put_and_drain()
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            await one.stop()
            with pytest.raises(StoreFailure):
                await one.put(b"b", 1)
            assert told.fronts == []

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_pool_that_was_shut_down_is_a_failure_as_well(overlaps: bool) -> None:
    async def scene() -> None:
        pool = ThreadPoolExecutor(2)
        pool.shutdown()
        one = writer(MemoryPartial(), pool, Told(), overlaps)
        with pytest.raises(StoreFailure, match="shutdown"):
            await one.put(b"a" * QUEUE_BYTES, 0)
        await one.stop()

    asyncio.run(asyncio.wait_for(scene(), 30))
