"""Bodies of blobs that are kept, or were to be: what the disk cannot give comes from the upstream.

Only for shells that read bodies: keeping on a disk needs that. Not here: which body a result gets (blobs.py).
"""

import asyncio
from collections.abc import Callable

from hubferry.core.errors import OciError
from hubferry.ports.content import InFile, NotKept, Region
from hubferry.ports.fills import Fetch, Fetched
from hubferry.ports.upstream import Cause, Readable, UpstreamFailure
from hubferry.pull.results import Outcome


class FallbackBody:
    """The bytes from `start` up to `end` from the cache, and straight from the upstream what the cache cannot give.

    What comes straight from the upstream is not hashed here, as nothing is that is streamed; clients hash it.
    """

    def __init__(self, body: InFile, start: int, end: int | None, fetch: Fetch, outcome: Outcome) -> None:
        self._body = body
        self._at = start
        self._end = end
        self._fetch = fetch
        self._outcome = outcome
        self._rest: SlicedBody | None = None

    async def read(self) -> bytes | None:
        if self._rest is None:
            try:
                return self._counted(await self._body.read())
            except NotKept as failure:
                self._rest = await self._ask_for_rest(failure)
        return self._counted(await self._rest.read())

    async def next_region(self) -> Region | None:
        region = None
        if self._rest is None:
            try:
                region = await self._body.next_region()
            except NotKept as failure:
                self._rest = await self._ask_for_rest(failure)
        if region is not None:
            self._at += region.size_bytes
        return region

    async def close(self) -> None:
        if self._rest is not None:
            await self._rest.close()
        await self._body.close()

    def _counted(self, piece: bytes | None) -> bytes | None:
        self._at += len(piece or b"")
        return piece

    async def _ask_for_rest(self, failure: NotKept) -> "SlicedBody":
        self._outcome.name, self._outcome.problem = "bypass", failure.detail
        await self._body.close()
        try:
            return SlicedBody(await self._fetch(self._at, self._end), self._at, self._end)
        except OciError as error:
            raise UpstreamFailure(Cause.CUT, failure.host, error.message) from None


class SlicedBody:
    """The bytes from `start` up to `end` of an upstream's answer, which may begin before and end later."""

    def __init__(self, fetched: Fetched, start: int, end: int | None) -> None:
        self._body = fetched.body
        self._at = start
        self._end = end
        self._skip_bytes = start - fetched.start_bytes

    async def read(self) -> bytes | None:
        while self._end is None or self._at < self._end:
            piece = await self._body.read()
            if piece is None:
                return None
            piece, self._skip_bytes = piece[self._skip_bytes :], max(self._skip_bytes - len(piece), 0)
            if piece:
                piece = piece if self._end is None else piece[: self._end - self._at]
                self._at += len(piece)
                return piece
            await asyncio.sleep(0)  # skipping at full speed must not starve everybody else
        return None

    async def close(self) -> None:
        await self._body.close()


class UnkeptAnswer:
    """An upstream's answer that cannot be kept, for whoever asked: to be given to a client instead of asking again."""

    def __init__(self) -> None:
        self._fetched: Fetched | None = None
        self._is_over = False

    async def offer(self, fetched: Fetched) -> None:
        """Hold an upstream's answer, or close it when there is one already or `close` was called."""
        if self._is_over or self._fetched is not None:
            await fetched.body.close()
        else:
            self._fetched = fetched

    @property
    def is_there(self) -> bool:
        """Return whether an answer is held."""
        return self._fetched is not None

    def take(self) -> Fetched | None:
        """Hand the answer over: the caller closes its body. None when there is none."""
        fetched, self._fetched = self._fetched, None
        return fetched

    async def close(self) -> None:
        """Close the answer that is held, and every one offered from now on."""
        self._is_over = True
        if (fetched := self.take()) is not None:
            await fetched.body.close()


class OnCloseBody:
    """A body that calls `on_close` once, when it is closed."""

    def __init__(self, body: Readable, on_close: Callable[[], None]) -> None:
        self._body = body
        self._on_close: Callable[[], None] | None = on_close

    async def read(self) -> bytes | None:
        return await self._body.read()

    async def close(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        await self._body.close()
