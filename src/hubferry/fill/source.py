"""One blob as an unbroken stream of pieces, from an upstream that may break off.

What broke off is continued with a Range from where it was, again and again as long as that gets anywhere. The size
must stay what it was: another one means another blob. An upstream that knows no Range answers from the beginning;
what is already there of that is skipped. Not here: what the bytes are (writer.py).
"""

import asyncio

from hubferry.core.errors import OciError
from hubferry.fill.parts import Fetch, Fetched, WrongContent
from hubferry.ports import Cause, UpstreamFailure

MAX_TRIES = 4  # in a row without progress
PROGRESS_BYTES = 16 * 1024  # an upstream that gives less than that each time is as good as dead
BACKOFF_S = (0.0, 0.2, 1.0, 3.0)
LATER = frozenset({408, 429, 502, 503, 504})  # answers to a resumption that may be different the next time


class Source:
    """The bytes of a blob from `offset` on."""

    def __init__(self, fetch: Fetch, upstream: str, offset: int, size_bytes: int | None, fetched: Fetched) -> None:
        """`fetched` is the first answer, which may begin before `offset`; `size_bytes` is what is known without it."""
        self._fetch = fetch
        self._upstream = upstream
        self.offset = offset
        self._skip_bytes = offset - fetched.start_bytes
        self._fetched: Fetched | None = fetched
        self.size_bytes = fetched.size_bytes if size_bytes is None else size_bytes
        self._tries = 0
        self._resumed_at = offset

    async def next_piece(self) -> bytes | None:
        """The next bytes, None at the end. Raises UpstreamFailure when it is hopeless, WrongContent."""
        while self.offset != self.size_bytes:
            try:
                piece = await self._read()
            except UpstreamFailure as failure:
                await self.close()
                await self._resume(failure)
                continue
            if piece is None:
                return None
            if self._skip_bytes:
                skipped = min(self._skip_bytes, len(piece))
                self._skip_bytes -= skipped
                piece = piece[skipped:]
            if piece:
                self.offset += len(piece)
                if self.size_bytes is not None and self.offset > self.size_bytes:
                    raise WrongContent(f"it is longer than the {self.size_bytes} bytes that were declared")
                return piece
            await asyncio.sleep(0)  # skipping at full speed must not starve everybody else
        return None

    async def close(self) -> None:
        """End the transfer; may be repeated."""
        fetched, self._fetched = self._fetched, None
        if fetched is not None:
            await fetched.body.close()

    async def _read(self) -> bytes | None:
        if self._fetched is None:
            raise UpstreamFailure(Cause.CUT, self._upstream, "the body was closed")
        piece = await self._fetched.body.read()
        if piece is None and self.size_bytes is not None:
            raise UpstreamFailure(Cause.CUT, self._upstream, f"the body ended at {self.offset} of {self.size_bytes}")
        return piece

    async def _resume(self, failure: UpstreamFailure) -> None:
        if self.offset - self._resumed_at >= PROGRESS_BYTES:
            self._tries = 0
        while self._tries < MAX_TRIES:
            await asyncio.sleep(BACKOFF_S[self._tries])
            self._tries += 1
            self._resumed_at = self.offset
            try:
                fetched = await self._fetch(self.offset)
            except UpstreamFailure as again:
                failure = again
            except OciError as error:
                failure = UpstreamFailure(Cause.CUT, self._upstream, f"and answered: {error.message}")
                if error.status == 416:
                    raise WrongContent(f"the upstream now says that it ends before {self.offset}") from None
                if error.status not in LATER:
                    raise failure from None
            else:
                self._fetched = fetched
                await self._accept(fetched)
                return
        raise failure

    async def _accept(self, fetched: Fetched) -> None:
        size_bytes = fetched.size_bytes
        if self.size_bytes is None:
            self.size_bytes = size_bytes
        if size_bytes is not None and (size_bytes != self.size_bytes or size_bytes < self.offset):
            await self.close()
            raise WrongContent(f"its size was {self.size_bytes} and is now {size_bytes}")
        if not 0 <= fetched.start_bytes <= self.offset:
            await self.close()
            raise WrongContent("the upstream continued from somewhere else")
        self._skip_bytes = self.offset - fetched.start_bytes
