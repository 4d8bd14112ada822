"""Several connections over a network in virtual time: the real classes, and bytes that are only counted."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from hubferry.fill.bounds import Effort
from hubferry.fill.parallel.connections import Connections
from hubferry.fill.parallel.intake import Intake
from hubferry.fill.parallel.links import Links
from hubferry.fill.parallel.segments import Segments
from hubferry.fill.progress import FillProgress
from hubferry.fill.source import Source
from hubferry.ports.fills import Fetched, FillOrder
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.fill.fakes import MIB, UPSTREAM
from tests.fill.own_time import OwnTime

PIECE = 16 * 1024
ROUND_TRIP_S = 0.15
READ_TIMEOUT_S = 15.0
MBPS = 1e6


@dataclass
class Net:
    """`rate` is what a connection gives in bytes a second, of its number and how long it has been giving.

    0 is silence until the read timeout. `total_bytes_per_s` is what all of them share.
    """

    size: int
    rate: Callable[[int, float], float]
    total_bytes_per_s: float | None = None
    fault: Callable[["Net"], Exception | None] = lambda _: None
    requests: list[tuple[int, int | None]] = field(default_factory=list)
    open_now: int = 0
    most_at_once: int = 0
    given_bytes: int = 0
    free_s: float = 0.0

    async def fetch(self, start: int, end: int | None = None) -> "Fetched":
        number = len(self.requests)
        self.requests.append((start, end))
        await asyncio.sleep(ROUND_TRIP_S)  # virtual time, as below
        if number and (error := self.fault(self)) is not None:
            raise error
        self.open_now += 1
        self.most_at_once = max(self.most_at_once, self.open_now)
        return Fetched(start, self.size, Body(self, number, start, self.size if end is None else end))


class Body:
    def __init__(self, net: Net, number: int, at: int, stop: int) -> None:
        self._net = net
        self._number = number
        self._at = at
        self._stop = stop
        self._began_s = asyncio.get_running_loop().time()
        self._is_closed = False

    async def read(self) -> bytes | None:
        net, now_s = self._net, asyncio.get_running_loop().time()
        size = min(PIECE, self._stop - self._at)
        if not size:
            return None
        bytes_per_s = net.rate(self._number, now_s - self._began_s)
        if not bytes_per_s:
            await asyncio.sleep(READ_TIMEOUT_S)
            raise UpstreamFailure(Cause.TIMEOUT, UPSTREAM, "the body stalled")
        wait_s = size / bytes_per_s
        if net.total_bytes_per_s is not None:
            net.free_s = max(net.free_s, now_s) + size / net.total_bytes_per_s
            wait_s = max(wait_s, net.free_s - now_s)
        await asyncio.sleep(wait_s)
        self._at += size
        net.given_bytes += size
        return bytes(size)

    async def close(self) -> None:
        self._net.open_now -= not self._is_closed
        self._is_closed = True


class Writer:
    """Knows what was given to it: each byte once."""

    def __init__(self) -> None:
        self.front = 0
        self._ahead: dict[int, int] = {}

    async def put(self, piece: bytes, at: int | None = None) -> None:
        assert at is not None
        assert at not in self._ahead
        self._ahead[at] = at + len(piece)
        while self.front in self._ahead:
            self.front = self._ahead.pop(self.front)


class File:
    """A file that can be written ahead."""

    def __init__(self) -> None:
        self.partial = self

    def go_ahead(self) -> bool:
        return True

    async def on_thread(self, work: Callable[[], Any]) -> Any:
        return work()


@dataclass
class Took:
    """How long a blob took, and the longest time in which nobody could read on."""

    seconds: float = 0.0
    standstill_s: float = 0.0


async def fill(net: Net, links: Links, effort: Effort | None = None) -> Took:
    loop, writer, took = asyncio.get_running_loop(), Writer(), Took()
    effort = effort or Effort()
    began_s = moved_s = loop.time()
    front = 0
    source = Source(net.fetch, UPSTREAM, 0, size_bytes=None, fetched=await net.fetch(0), patience_s=effort.patience_s)

    def look() -> None:
        nonlocal front, moved_s
        if writer.front > front:
            front, moved_s = writer.front, loop.time()
        took.standstill_s = max(took.standstill_s, loop.time() - moved_s)

    file: Any = File()  # as much of both as is used
    written: Any = writer
    order = FillOrder(UPSTREAM, "", net.fetch)
    segments = Segments(0, source.size_bytes or 0)
    intake = Intake(order, written, FillProgress(), look, segments, size_bytes=source.size_bytes)
    fetching = Connections(intake, file, effort, links)
    try:
        await fetching.run(source)
    finally:
        await source.close()
    assert writer.front == net.size
    assert net.open_now == 0
    took.seconds = loop.time() - began_s
    return took


def play(scene: Coroutine[Any, Any, Took]) -> Took:
    with asyncio.Runner(loop_factory=OwnTime) as runner:
        return runner.run(scene)


SIZE = 160 * MIB
EACH_BYTES_PER_S = 4 * MBPS
AT_BEST_S = SIZE / EACH_BYTES_PER_S / Effort().connections
