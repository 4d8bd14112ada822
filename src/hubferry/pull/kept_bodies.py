"""Bodies of blobs that are kept, or were to be: what the disk cannot give comes from the upstream.

For shells that read bodies, as all keeping is. Not here: which body an answer gets (kept_blobs.py).
"""

from collections.abc import Callable

from hubferry.core.errors import OciError
from hubferry.ports import Cause, Fetch, Fetched, InFile, NotKept, Readable, Region, UpstreamFailure
from hubferry.pull.answer import Trail


class GoingOn:
    """The bytes from `start` up to `end` from the cache, and straight from the upstream what the cache cannot give.

    What comes straight from the upstream is not hashed here, as nothing is that is streamed; clients hash it.
    """

    def __init__(self, body: InFile, start: int, end: int | None, fetch: Fetch, trail: Trail) -> None:
        self._body = body
        self._at = start
        self._end = end
        self._fetch = fetch
        self._trail = trail
        self._rest: Fetched | None = None
        self._skip_bytes = 0

    async def read(self) -> bytes | None:
        """See ports.Readable."""
        if self._rest is None:
            try:
                return self._counted(await self._body.read())
            except NotKept as failure:
                self._rest = await self._ask_for_rest(failure)
        return self._counted(await self._read_rest(self._rest))

    async def next_region(self) -> Region | None:
        """See ports.InFile."""
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
        """See ports.Body."""
        if self._rest is not None:
            await self._rest.body.close()
        await self._body.close()

    def _counted(self, piece: bytes | None) -> bytes | None:
        self._at += len(piece or b"")
        return piece

    async def _ask_for_rest(self, failure: NotKept) -> Fetched:
        self._trail.outcome, self._trail.problem = "bypass", failure.detail
        await self._body.close()
        try:
            rest = await self._fetch(self._at, self._end)
        except OciError as error:
            raise UpstreamFailure(Cause.CUT, failure.host, error.message) from None
        self._skip_bytes = self._at - rest.start_bytes
        return rest

    async def _read_rest(self, rest: Fetched) -> bytes | None:
        while self._end is None or self._at < self._end:
            piece = await rest.body.read()
            if piece is None:
                return None
            piece, self._skip_bytes = piece[self._skip_bytes :], max(self._skip_bytes - len(piece), 0)
            if piece:
                return piece if self._end is None else piece[: self._end - self._at]
        return None


class Noticed:
    """A body whose end is noticed."""

    def __init__(self, body: Readable, on_close: Callable[[], None]) -> None:
        self._body = body
        self._on_close: Callable[[], None] | None = on_close

    async def read(self) -> bytes | None:
        """See ports.Readable."""
        return await self._body.read()

    async def close(self) -> None:
        """See ports.Body."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        await self._body.close()
