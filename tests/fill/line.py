"""A slow line to a scripted upstream: what each connection gives in a second, and what goes wrong with each request."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from hubferry.core import backoff
from hubferry.core.errors import Asked, OciError, relay_error
from hubferry.fill.bounds import Effort
from hubferry.fill.parallel import connections, crew, relief, segments
from hubferry.ports.fills import Fetched
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.fill.fakes import UPSTREAM

KIB = 1024
PIECE = 32 * KIB
EFFORT = Effort(patience_s=20, connections=6, parallel_from_bytes=KIB * KIB)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request, of the bytes that it asked for."""

    cut_after: int | None = None
    stall_after: int | None = None
    flip_at: int | None = None
    ignores_range: bool = False
    shifted_by: int = 0
    total_off_by: int = 0
    raises: Exception | None = None


SOUND = Fault()


def refusal(status: int) -> OciError:
    """As a fill gets it."""
    return relay_error(status, (), Asked(UPSTREAM, "library/app", "latest"))


@dataclass
class Request:
    """One request, as it was answered."""

    start: int
    end: int | None
    given_bytes: int = 0
    is_open: bool = True


class Body:
    def __init__(self, line: "Line", request: Request, start: int, stop: int, fault: Fault) -> None:
        self._line = line
        self._request = request
        self._start = start
        self._stop = stop
        self._fault = fault

    async def read(self) -> bytes | None:
        line, request, fault = self._line, self._request, self._fault
        assert request.is_open, "read after it was closed"
        at = self._start + request.given_bytes
        limits = [limit for limit in (fault.cut_after, fault.stall_after) if limit is not None]
        room = min([PIECE, self._stop - at, *(limit - request.given_bytes for limit in limits)])
        if room <= 0:
            if request.given_bytes == fault.stall_after:
                await line.stalled()
            if request.given_bytes == fault.cut_after:
                raise UpstreamFailure(Cause.CUT, UPSTREAM, "cut by the script")
            return None
        await line.carry(room, at)
        request.given_bytes += room
        piece = bytearray(line.data[at : at + room])
        if fault.flip_at is not None and 0 <= fault.flip_at - (at - self._start) < room:
            piece[fault.flip_at - (at - self._start)] ^= 1
        return bytes(piece)

    async def close(self) -> None:
        self._request.is_open = False


@dataclass
class Line:
    """`bytes_per_s` is each connection's, None: as fast as may be; `total_bytes_per_s` is shared by all of them.

    `fault` says what goes wrong with a request, given its number from 0 on, and its range.
    """

    data: bytes
    bytes_per_s: float | None = 4 * KIB * KIB
    total_bytes_per_s: float | None = None
    fault: Callable[[int, int, int | None], Fault] = lambda *_: SOUND
    read_timeout_s: float | None = None
    gate: Callable[[int], Any] | None = None  # of an offset, before what is there is given
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0
    _free_s: float = 0.0

    async def fetch(self, start: int, end: int | None = None) -> Fetched:
        fault = self.fault(len(self.requests), start, end)
        request = Request(start, end)
        self.requests.append(request)
        self.most_at_once = max(self.most_at_once, sum(one.is_open for one in self.requests))
        try:
            await asyncio.sleep(0.002)  # the way there and back
            if fault.raises is not None:
                raise fault.raises
        except BaseException:
            request.is_open = False
            raise
        size = len(self.data)
        stop = size if end is None else end
        if fault.ignores_range:
            start, stop = 0, size
        return Fetched(start + fault.shifted_by, size + fault.total_off_by, Body(self, request, start, stop, fault))

    async def carry(self, size_bytes: int, at: int) -> None:
        if self.gate is not None:
            await self.gate(at)
        if self.total_bytes_per_s is not None:
            now_s = asyncio.get_running_loop().time()
            self._free_s = max(self._free_s, now_s - 0.05) + size_bytes / self.total_bytes_per_s
            await asyncio.sleep(max(self._free_s - now_s, 0))  # the rate of all connections
        # the rate of this connection
        await asyncio.sleep(size_bytes / self.bytes_per_s if self.bytes_per_s is not None else 0)

    async def stalled(self) -> None:
        # nothing comes until the time-out of reads, if there is one
        await asyncio.sleep(3600 if self.read_timeout_s is None else self.read_timeout_s)
        raise UpstreamFailure(Cause.TIMEOUT, UPSTREAM, "the body stalled")

    @property
    def starts(self) -> list[int]:
        return [request.start for request in self.requests]

    @property
    def given_bytes(self) -> int:
        return sum(request.given_bytes for request in self.requests)

    @property
    def all_closed(self) -> bool:
        return not any(request.is_open for request in self.requests)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that takes seconds takes a tenth, and ranges are a tenth as long."""
    for module, name in (
        (connections, "LOOK_S"),
        (connections, "LOOK_AGAIN_S"),
        (connections, "WORTH_S"),
        (crew, "TICK_S"),
        (crew, "LOOK_S"),
        (crew, "SETTLE_S"),
        (crew, "MEASURE_S"),
        (crew, "ENOUGH_S"),
        (crew, "PATIENCE_S"),
        (relief, "STALLED_S"),
        (relief, "WINDOW_S"),
        (relief, "SLOW_S"),
        (crew, "REOPEN_S"),
        (crew, "SLOW_FIRST_S"),
        (crew, "SHARE_S"),
        (segments, "CHUNK_S"),
        (backoff, "FIRST_S"),
        (backoff, "MAX_S"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) / 10)
    monkeypatch.setattr(relief, "STALLED_BYTES", 64 * KIB)
    monkeypatch.setattr(segments, "MIN_CHUNK_BYTES", 256 * KIB)
    small = {"min_chunk_bytes": 256 * KIB, "min_share_bytes": 64 * KIB}
    monkeypatch.setattr(segments.Segments.__init__, "__kwdefaults__", small)
