"""What a reader of a fill is given at a time: large pieces only as far as memory for them is left."""

import asyncio
from typing import Any, cast

from hubferry.core.pace import PROVEN_BYTES, SMALL_BYTES, LargePieces
from hubferry.fill.bounds import PIECE_BYTES
from hubferry.fill.progress import FillProgress
from hubferry.fill.reader import FillBody, SharedFile, Watchers


class File:
    """A SharedFile with zeros, whatever is asked for; it has no regions to send from."""

    partial = cast("Any", None)

    def take(self) -> None: ...

    def give_back(self) -> None: ...

    async def read(self, offset: int, size_bytes: int) -> bytes:  # noqa: ARG002
        return bytes(size_bytes)


class Fill:
    """A fill that is as far as its quickest reader, and several readers of it."""

    def __init__(self, large: LargePieces) -> None:
        self.progress = FillProgress()
        self.progress.size_bytes = 10**9
        self._watchers = Watchers(self.progress, large)

    def body(self) -> FillBody:
        return FillBody(cast("SharedFile", File()), self.progress, self._watchers, 0, None)

    def go_on(self) -> None:
        self.progress.advance(self.progress.written_bytes + PIECE_BYTES, b"x" * PIECE_BYTES)


def test_pieces_in_memory_are_handed_to_so_many_readers_and_no_more() -> None:
    async def scene() -> None:
        large = LargePieces(1)
        fill = Fill(large)
        first, second = fill.body(), fill.body()
        while fill.progress.written_bytes < PROVEN_BYTES:
            fill.go_on()
            for body in (first, second):
                for _ in range(PIECE_BYTES // SMALL_BYTES):
                    assert len(await body.read() or b"") == SMALL_BYTES
        fill.go_on()
        assert [len(await body.read() or b"") for body in (first, second)] == [PIECE_BYTES, SMALL_BYTES]
        was_free = large.is_free
        await first.close()
        assert (was_free, large.is_free) == (False, True)
        await second.close()

    asyncio.run(scene())


def test_a_reader_that_leaves_twice_gives_its_piece_back_once() -> None:
    async def scene() -> None:
        large = LargePieces(2)
        fill = Fill(large)
        body = fill.body()
        while fill.progress.written_bytes < PROVEN_BYTES:
            fill.go_on()
            for _ in range(PIECE_BYTES // SMALL_BYTES):
                await body.read()
        fill.go_on()
        assert len(await body.read() or b"") == PIECE_BYTES
        await body.close()
        await body.close()
        assert [large.take() for _ in range(3)] == [True, True, False]

    asyncio.run(scene())
