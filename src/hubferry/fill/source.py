"""One range of a blob as an unbroken stream of pieces, from an upstream that may break off.

What broke off is continued with a Range at the exact byte, after pauses that grow (core/backoff.py), for as long as
that gets anywhere: it is hopeless after `patience_s` without progress. An upstream that says how long to wait is
obeyed, or given up when that is too long. An answer that begins elsewhere, or that says another size than the blob has,
is never used: it is one more failure, for what one mirror or cache says once is not yet what the blob is. One from the
beginning, of an upstream that knows no Range, is skipped up to here by whoever is alone and refused by whoever is one
of several (RangesRefused), who does not wait either where there are too many (ConnectionRefused).
Not here: what the bytes are (writer.py), who fetches which range (connections.py).
"""

import asyncio
import random
import time

from hubferry.core.backoff import decide_pause
from hubferry.core.errors import OciError
from hubferry.core.quota import retry_after_s
from hubferry.fill.parts import Fetch, Fetched, WrongContent
from hubferry.ports import Cause, UpstreamFailure

PROGRESS_BYTES = 16 * 1024  # an upstream that gives less than that each time is as good as dead
LATER = frozenset({408, 429, 502, 503, 504})  # answers to a resumption that may be different the next time
TOO_MANY = frozenset({429, 503})  # to one of several: it will be so for as long as there are as many
NO_RANGES = frozenset({416, 501})  # to a range that lies within the blob


class RangesRefused(UpstreamFailure):
    """The upstream does not give a part of the blob."""


class ConnectionRefused(UpstreamFailure):
    """The upstream takes no further connection, or no further request, beside those that it has."""


class Source:
    """The bytes of a blob from `offset` to `end` (None: to its end)."""

    def __init__(
        self,
        fetch: Fetch,
        upstream: str,
        offset: int,
        *,
        size_bytes: int | None,
        fetched: Fetched | None = None,
        end: int | None = None,
        patience_s: float,
        is_alone: bool = True,
    ) -> None:
        """`fetched` is the first answer, which may begin before `offset`; without one it is asked for.

        `size_bytes` is what is known of the whole blob without it. `is_alone`: nobody else fetches another range.
        """
        self._fetch = fetch
        self._upstream = upstream
        self.offset = offset
        self.end = end  # may be lowered while it runs, and raised up to where was asked
        self.asked_end = None if fetched is not None else end
        self.patience_s = patience_s
        self.is_alone = is_alone
        self._skip_bytes = 0 if fetched is None else offset - fetched.start_bytes
        self._fetched = fetched
        self._rest = b""  # what was read beyond an end that came nearer
        self.size_bytes = fetched.size_bytes if size_bytes is None and fetched is not None else size_bytes
        self._tries = 0
        self._resumed_at = offset
        self._failing_since_s: float | None = None

    async def next_piece(self) -> bytes | None:
        """The next bytes, None at the end. Raises UpstreamFailure when it is hopeless, WrongContent."""
        while not self._is_over:
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
            if piece and (taken := self._take(piece)):
                return taken
            await asyncio.sleep(0)  # skipping at full speed must not starve everybody else
        return None

    async def close(self) -> None:
        """End the transfer; may be repeated."""
        fetched, self._fetched, self._rest = self._fetched, None, b""
        if fetched is not None:
            await fetched.body.close()

    @property
    def goes_on(self) -> bool:
        """Whether the answer that is being read has more than was wanted of it."""
        return self._fetched is not None and (self.asked_end is None or self.asked_end > self.offset)

    @property
    def _is_over(self) -> bool:
        limit = self.size_bytes if self.end is None else self.end
        return limit is not None and self.offset >= limit

    def _take(self, piece: bytes) -> bytes:
        """As much of a piece as is wanted."""
        if self.end is not None and self.offset + len(piece) > self.end:
            taken = max(self.end - self.offset, 0)
            piece, self._rest = piece[:taken], piece[taken:]
        self.offset += len(piece)
        if self.size_bytes is not None and self.offset > self.size_bytes:
            raise WrongContent(f"it is longer than the {self.size_bytes} bytes that were declared")
        return piece

    async def _read(self) -> bytes | None:
        piece: bytes | None
        if self._fetched is None:
            raise UpstreamFailure(Cause.CUT, self._upstream, "the body was closed")
        if self._rest:
            piece, self._rest = self._rest, b""
            return piece
        piece = await self._fetched.body.read()
        if piece is None and self.size_bytes is not None:
            raise UpstreamFailure(Cause.CUT, self._upstream, f"the body ended at {self.offset} of {self.size_bytes}")
        return piece

    async def _resume(self, failure: UpstreamFailure) -> None:
        loop = asyncio.get_running_loop()
        if self._failing_since_s is None or self.offset - self._resumed_at >= PROGRESS_BYTES:
            self._tries, self._failing_since_s = 0, loop.time()
        told_s: float | None = None
        while True:
            # as many as fail together do not come back together, and nothing here is secret
            pause_s = decide_pause(self._tries, random.random()) if told_s is None else told_s  # noqa: S311
            if loop.time() + pause_s > self._failing_since_s + self.patience_s:
                raise failure if told_s is None else self._too_long(told_s, failure)
            await asyncio.sleep(pause_s)
            self._tries += 1
            self._resumed_at = self.offset
            try:
                self.asked_end = self.end
                await self._accept(await self._fetch(self.offset, self.end))
            except (RangesRefused, ConnectionRefused):
                raise
            except UpstreamFailure as again:
                failure, told_s = again, None
            except OciError as error:
                failure, told_s = self._refused(error)
            else:
                return

    def _refused(self, error: OciError) -> tuple[UpstreamFailure, float | None]:
        """What a refusal means, and how long the upstream asks to wait. Raises when it will not be different later."""
        failure = UpstreamFailure(Cause.CUT, self._upstream, f"and answered: {error.message}")
        # what is unknown to clients reaches them as 502, with what the upstream said in its detail
        said = error.detail.get("status") if isinstance(error.detail, dict) else None
        if (error.status in NO_RANGES or said in NO_RANGES) and not self.is_alone:
            raise RangesRefused(Cause.PROTOCOL, self._upstream, f"it gives no ranges: {error.message}") from None
        if error.status == 416:
            ends = f"it says that the blob ends before {self.offset}"
            return UpstreamFailure(Cause.PROTOCOL, self._upstream, ends), None
        if error.status not in LATER:
            raise failure from None
        if isinstance(error.detail, dict) and "cause" in error.detail:
            return failure, None  # nobody answered: what it says is our own advice to clients
        if error.status in TOO_MANY and not self.is_alone:
            raise ConnectionRefused(failure.cause, self._upstream, failure.detail) from None
        return failure, retry_after_s(error.headers, time.time())

    def _too_long(self, told_s: float, failure: UpstreamFailure) -> UpstreamFailure:
        told = f"asks to wait {told_s:.0f} s, and a download that broke off waits {self.patience_s:.0f} s in all"
        return UpstreamFailure(failure.cause, self._upstream, f"{told}: {failure.detail}")

    async def _accept(self, fetched: Fetched) -> None:
        """Go on with an answer, or close it. Raises UpstreamFailure."""
        size_bytes = fetched.size_bytes
        problem: UpstreamFailure | None = None
        if size_bytes is not None and self.size_bytes not in (None, size_bytes):
            said = f"the size of the blob was {self.size_bytes} and is now {size_bytes}"
            problem = UpstreamFailure(Cause.PROTOCOL, self._upstream, said)
        elif size_bytes is not None and size_bytes < self.offset:
            said = f"the size of the blob is {size_bytes}, and {self.offset} bytes of it came before"
            problem = UpstreamFailure(Cause.PROTOCOL, self._upstream, said)
        elif fetched.start_bytes not in (0, self.offset):
            problem = UpstreamFailure(Cause.PROTOCOL, self._upstream, "it continued from somewhere else")
        elif fetched.start_bytes != self.offset and not self.is_alone:
            problem = RangesRefused(Cause.PROTOCOL, self._upstream, "it answered a range with the whole")
        if problem is not None:
            await fetched.body.close()
            raise problem
        if self.size_bytes is None:
            self.size_bytes = size_bytes
        if fetched.start_bytes != self.offset:
            self.asked_end = None
        self._fetched = fetched
        self._skip_bytes = self.offset - fetched.start_bytes
