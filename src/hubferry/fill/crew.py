"""Several connections fetch one blob together, each one range after the other.

Whether they are faster than the one was is measured: where they are not, they stop, and that is remembered. A
connection that breaks off goes on by itself (source.py). One that gives up, or is much slower than the others
(relief.py), gives its range back: it is the next that is fetched, and the others do not stop. A connection that is
refused is not opened again, for an upstream may allow fewer. `run` returns when everything is fetched, or the rest is
better left to one.
Invariant: on every way out no task, connection or share of the budget is left. Not here: which range (segments.py).
"""

import asyncio

from hubferry.fill.intake import Connection, Intake
from hubferry.fill.links import Links, Verdict
from hubferry.fill.parts import Effort
from hubferry.fill.relief import Relief
from hubferry.fill.segments import Segment, decide_chunk
from hubferry.fill.source import ConnectionRefused, RangesRefused
from hubferry.ports import UpstreamFailure

TICK_S = 0.2
LOOK_S = 0.5
SETTLE_S = 0.7  # until further connections are open and at speed
MEASURE_S = 3.0
ENOUGH_S = 1.0  # of measuring, when everything is fetched before MEASURE_S
GAIN = 1.3
PATIENCE_S = 2.0  # of one of several: others may have more luck with its range
REOPEN_S = 2.0
REOPEN_BYTES = 128 * 1024
SLOW_FIRST_S = 6.0  # readers wait no longer than that for the first range: it is shared
SHARE_S = 1.0  # what is there sooner is not worth another request
RELIEFS = 5  # of slow ones, for each connection


class Crew:
    """The connections of one blob while there are several."""

    def __init__(
        self, intake: Intake, links: Links, effort: Effort, alone_bps: float, *, is_known: bool, client: str
    ) -> None:
        """`alone_bps` is what one connection gave, in bytes a second; `is_known`: that several are faster.

        `client` is whose share of the connections it takes.
        """
        self._intake = intake
        self._segments = intake.segments
        self._links = links
        self._wanted = effort.connections
        self.allowed = effort.connections  # as far as the upstream said so
        self._alone_bps = alone_bps
        self._rate_bps = alone_bps  # of each
        self._tasks: dict[asyncio.Task[None], Connection] = {}
        self._share = links.join(intake.upstream, client)  # of the budget
        self._reopen_s, self._reopen_bytes = 0.0, 0
        self._measured_from: tuple[float, int] | None = None
        self._began_s = intake.now()
        self._looked = self._began_s, 0
        self._is_judged = is_known
        self._relief = Relief(RELIEFS * effort.connections)
        self._was_idle = False  # there was nothing left for one of them

    async def run(self, first: Connection) -> None:
        """Fetch what `first` was to fetch alone.

        Raises WrongContent, StoreFailure, and what the intake's `check_wanted` does.
        """
        first.source.is_alone, first.source.patience_s = False, PATIENCE_S
        self._segments.shorten(first.segment, self._chunk_bytes)
        first.source.end = first.segment.end
        try:
            self._start(first)
            self._fill_up()
            while self._tasks:
                done, _ = await asyncio.wait(self._tasks, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    self._ended(self._tasks.pop(task), task)
                if self._segments.is_done or not self._is_faster():
                    break
                self._relieve()
                self._yield()
                self._fill_up()
        finally:
            await self._stop()
            self._share.leave()
        if not self._is_judged and self._gain() >= GAIN:
            self._learn("helps")

    @property
    def _chunk_bytes(self) -> int:
        return decide_chunk(self._rate_bps)

    def _start(self, connection: Connection) -> None:
        self._tasks[asyncio.create_task(self._work(connection))] = connection

    def _fill_up(self) -> None:
        """Open connections as long as there is work, room in the budget, and nothing was refused."""
        self._give_back()
        self._share.is_refused = False
        while len(self._tasks) < self._wanted and self._may_open():
            if self._tasks and not self._share.take():
                return
            segment = self._next_segment()
            if segment is None:
                self._give_back()
                return
            self._start(self._intake.connect(segment, patience_s=PATIENCE_S))

    def _may_open(self) -> bool:
        """After a failure only when others got on since: else nobody would ever find out that nobody does."""
        return self._intake.now() >= self._reopen_s and self._intake.fetched_bytes >= self._reopen_bytes

    def _give_back(self) -> None:
        self._share.give_back(self._share.taken - max(len(self._tasks) - 1, 0))

    def _yield(self) -> None:
        """Close a connection for somebody who has fewer: the one whose range is needed last."""
        if self._share.must_yield():
            last = max(self._tasks, key=lambda task: self._tasks[task].segment.at)
            last.cancel()

    def _next_segment(self) -> Segment | None:
        """The next range to fetch; a part of somebody else's when nobody's is free, or when the first one is slow."""
        now_s = self._intake.now()
        first = self._segments.first
        if first is not None and (self._holder(first).left_s(now_s) or 0.0) > SLOW_FIRST_S:
            segment = self._segments.share(first)
        else:
            segment = None
        segment = segment or self._segments.take(self._chunk_bytes, self._wanted)
        if segment is None:
            longest = max(self._segments.running, key=lambda one: one.left_bytes, default=None)
            if longest is not None and (self._holder(longest).left_s(now_s) or 0.0) > SHARE_S:
                segment = self._segments.share(longest)
        for connection in self._tasks.values():
            connection.source.end = connection.segment.end
        return segment

    def _holder(self, segment: Segment) -> Connection:
        return next(connection for connection in self._tasks.values() if connection.segment is segment)

    async def _work(self, connection: Connection) -> None:
        """One range after the other."""
        while True:
            try:
                while await self._intake.next_piece(connection) or self._goes_on(connection):
                    pass
            finally:
                self._segments.finish(connection.segment)
                await connection.source.close()
            segment = self._next_segment()
            if segment is None:
                return
            self._intake.connect_anew(connection, segment, patience_s=PATIENCE_S)

    def _goes_on(self, connection: Connection) -> bool:
        """Whether what follows its range was free, so that the answer to an open request is of use further on."""
        if not connection.source.goes_on:
            return False
        goes_on = self._segments.extend(connection.segment, self._chunk_bytes, self._wanted)
        connection.source.end = connection.segment.end
        return goes_on

    def _ended(self, connection: Connection, task: asyncio.Task[None]) -> None:
        """A connection is closed: there was nothing left for it, or it stalled, or it failed. Raises as `run` does."""
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._was_idle = True
            return
        if not isinstance(error, UpstreamFailure):
            raise error
        if isinstance(error, RangesRefused):
            self._links.learn(self._intake.upstream, "refused", self._alone_bps, self._intake.now())
            self._wanted, self._is_judged = 0, True
        elif isinstance(error, ConnectionRefused):
            self._wanted = self.allowed = max(len(self._tasks), 1)
            self._measured_from = None  # of fewer now
        elif not connection.is_of_use:
            self._wanted = max(len(self._tasks), 1)
        self._reopen_s = self._intake.now() + REOPEN_S
        self._reopen_bytes = self._intake.fetched_bytes + REOPEN_BYTES

    def _is_faster(self) -> bool:
        """Whether to go on with several; true until it was measured."""
        now_s, fetched_bytes = self._intake.now(), self._intake.fetched_bytes
        if now_s - self._looked[0] >= LOOK_S and self._tasks:
            rate_bps = (fetched_bytes - self._looked[1]) / (now_s - self._looked[0]) / len(self._tasks)
            self._rate_bps = (self._rate_bps + rate_bps) / 2
            self._looked = now_s, fetched_bytes
        if self._is_judged or now_s < self._began_s + SETTLE_S:
            return True
        is_disturbed = self._links.extra_of(self._intake.upstream) > self._share.taken
        if self._measured_from is None or is_disturbed:  # by other blobs, which take a part of what the line gives
            self._measured_from = now_s, fetched_bytes
        if now_s < self._measured_from[0] + MEASURE_S or len(self._tasks) < 2:
            return True
        gain = self._gain()
        self._learn("helps" if gain >= GAIN else "useless")
        return gain >= GAIN

    def _gain(self) -> float:
        """How many times faster than one alone they are; 0: too early to say."""
        if self._measured_from is None:
            return 0.0
        elapsed_s = self._intake.now() - self._measured_from[0]
        if elapsed_s < ENOUGH_S:
            return 0.0
        return (self._intake.fetched_bytes - self._measured_from[1]) / elapsed_s / max(self._alone_bps, 1.0)

    def _learn(self, verdict: Verdict) -> None:
        self._is_judged = True
        self._links.learn(self._intake.upstream, verdict, self._alone_bps, self._intake.now())

    def _relieve(self) -> None:
        is_end = self._was_idle and not self._segments.free_bytes
        held_up = self._relief.look(self._intake.now(), self._intake.fetched_bytes, self._tasks.values(), is_end=is_end)
        for task, connection in self._tasks.items():
            if connection in held_up:
                task.cancel()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # it came too late to matter
        self._tasks.clear()
        self._give_back()
