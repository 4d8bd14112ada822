"""One range of a blob as an unbroken stream of pieces, from an upstream that may break off.

A body that breaks off is continued with a Range at the exact byte, after pauses that grow (core/backoff.py), for as
long as that makes progress. After `patience_s` without progress it is given up. When the upstream says how long to
wait, that is obeyed, or the range is given up when the wait would be too long.

An answer that begins at another offset, or that states another size than the blob has, is never used. It counts as one
more failure, because what one mirror or cache says once is not yet what the blob is. An upstream that knows no Range
answers from the beginning of the blob: a source that is alone skips the bytes that it has, and a source that is one of
several refuses the answer (RangesRefused). One of several does not wait either when the upstream answers that there are
too many requests (ConnectionRefused).
Not here: what the bytes are (writer.py), who fetches which range (parallel/).
"""

import asyncio
import random
import time

from hubferry.core.backoff import decide_pause
from hubferry.core.errors import OciError
from hubferry.core.quota import retry_after_s
from hubferry.fill.bounds import WrongContent
from hubferry.fill.segment import Segment
from hubferry.ports.fills import Fetch, Fetched
from hubferry.ports.upstream import Cause, UpstreamFailure

PROGRESS_BYTES = 16 * 1024  # an upstream that gives less than this each time is as good as dead
LATER = frozenset({408, 429, 502, 503, 504})  # answers to a resumption that may be different the next time
TOO_MANY = frozenset({429, 503})  # answers to one of several: they stay so for as long as there are as many
NO_RANGES = frozenset({416, 501})  # answers to a range that lies within the blob


class RangesRefused(UpstreamFailure):
    """The upstream does not give a part of the blob, only the whole."""


class ConnectionRefused(UpstreamFailure):
    """The upstream takes no further connection or request beside those that it has already."""


class Source:
    """The bytes of a blob from `offset` up to the end of `segment` (None: to the end of the blob)."""

    def __init__(
        self,
        fetch: Fetch,
        upstream: str,
        offset: int,
        *,
        size_bytes: int | None,
        fetched: Fetched | None = None,
        segment: Segment | None = None,
        patience_s: float,
        is_alone: bool = True,
    ) -> None:
        """`fetched` is the first answer, which may begin before `offset`; without it the source asks for one.

        `size_bytes` is the size of the whole blob as far as it is known without `fetched`. The end of `segment` may
        move while the source runs: nearer, or on into what the open answer goes on with. `is_alone` says that no other
        connection fetches a range of the blob.
        """
        self._fetch = fetch
        self._upstream = upstream
        self.offset = offset
        self.segment = segment
        self.asked_end = None if fetched is not None else self.end
        self.patience_s = patience_s
        self.is_alone = is_alone
        self._skip_bytes = 0 if fetched is None else offset - fetched.start_bytes
        self._fetched = fetched
        self._rest = b""  # what was read beyond the segment's end, because that had moved nearer
        self.size_bytes = fetched.size_bytes if size_bytes is None and fetched is not None else size_bytes
        self._tries = 0
        self._resumed_at = offset
        self._failing_since_s: float | None = None

    @property
    def end(self) -> int | None:
        """The offset in the blob where the source ends; None: at the end of the blob."""
        return None if self.segment is None else self.segment.end

    async def next_piece(self) -> bytes | None:
        """Return the next bytes, None at the end.

        Raises UpstreamFailure when there is no hope to go on, and WrongContent when the blob is longer than was
        declared.
        """
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
            await asyncio.sleep(0)  # skipping at full speed must not starve all other tasks
        return None

    async def close(self) -> None:
        """End the transfer that is open, if any. May be called again."""
        fetched, self._fetched, self._rest = self._fetched, None, b""
        if fetched is not None:
            await fetched.body.close()

    @property
    def goes_on(self) -> bool:
        """Whether the answer that is being read goes on beyond `offset`."""
        return self._fetched is not None and (self.asked_end is None or self.asked_end > self.offset)

    @property
    def _is_over(self) -> bool:
        limit = self.size_bytes if self.end is None else self.end
        return limit is not None and self.offset >= limit

    def _take(self, piece: bytes) -> bytes:
        """Return as much of a piece as belongs to the range, and keep the rest aside. Raises WrongContent."""
        if self.end is not None and self.offset + len(piece) > self.end:
            taken = max(self.end - self.offset, 0)
            piece, self._rest = piece[:taken], piece[taken:]
        self.offset += len(piece)
        if self.size_bytes is not None and self.offset > self.size_bytes:
            raise WrongContent(f"it is longer than the {self.size_bytes} bytes that were declared")
        return piece

    async def _read(self) -> bytes | None:
        """Return the next piece of the open answer, None at its end. Raises UpstreamFailure when it ends too early."""
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
        """Ask for the bytes from `offset` on until there is an answer to go on with.

        Pauses between tries. Raises UpstreamFailure when `patience_s` has passed without progress, or when a refusal is
        final.
        """
        loop = asyncio.get_running_loop()
        if self._failing_since_s is None or self.offset - self._resumed_at >= PROGRESS_BYTES:
            self._tries, self._failing_since_s = 0, loop.time()
        told_s: float | None = None
        while True:
            # random, so that sources that failed together do not come back together; nothing here is secret
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
        """Return the failure that a refusal means, and the seconds that the upstream asks to wait (None: not said).

        Raises UpstreamFailure when the answer will not be different later.
        """
        failure = UpstreamFailure(Cause.CUT, self._upstream, f"and answered: {error.message}")
        # a status that clients do not know was turned into 502, and the detail holds what the upstream said
        said = error.detail.get("status") if isinstance(error.detail, dict) else None
        if (error.status in NO_RANGES or said in NO_RANGES) and not self.is_alone:
            raise RangesRefused(Cause.PROTOCOL, self._upstream, f"it gives no ranges: {error.message}") from None
        if error.status == 416:
            ends = f"it says that the blob ends before {self.offset}"
            return UpstreamFailure(Cause.PROTOCOL, self._upstream, ends), None
        if error.status not in LATER:
            raise failure from None
        if isinstance(error.detail, dict) and "cause" in error.detail:
            return failure, None  # no upstream answered: the Retry-After in it is our own advice to clients
        if error.status in TOO_MANY and not self.is_alone:
            raise ConnectionRefused(failure.cause, self._upstream, failure.detail) from None
        return failure, retry_after_s(error.headers, time.time())

    def _too_long(self, told_s: float, failure: UpstreamFailure) -> UpstreamFailure:
        """Return the failure of an upstream that asks to wait longer than the patience that is left."""
        told = f"asks to wait {told_s:.0f} s, and a download that broke off waits {self.patience_s:.0f} s in all"
        return UpstreamFailure(failure.cause, self._upstream, f"{told}: {failure.detail}")

    async def _accept(self, fetched: Fetched) -> None:
        """Go on with an answer. One that cannot be used is closed, and UpstreamFailure is raised."""
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
