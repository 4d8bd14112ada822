"""Several connections fetch one blob together, each one range after the other.

Whether they are faster than one connection was is measured: where they are not, they stop, and that is remembered. A
connection that breaks off resumes by itself (source.py). One that gives up, or that is much slower than the others
(relief.py), gives its range back. That range is fetched next, and the others do not stop. A connection that is refused
is not opened again, because an upstream may allow fewer. `run` returns when everything is fetched, or when the rest is
better left to one connection.
Invariant: whichever way `run` ends, no task, connection or share of the budget is left.
Not here: which range is next (segments.py).
"""

import asyncio

from hubferry.fill.bounds import Effort
from hubferry.fill.parallel.intake import Connection, Intake
from hubferry.fill.parallel.links import Links, Verdict
from hubferry.fill.parallel.relief import Relief
from hubferry.fill.parallel.segments import decide_chunk
from hubferry.fill.segment import Segment
from hubferry.fill.source import ConnectionRefused, RangesRefused
from hubferry.ports.upstream import UpstreamFailure

TICK_S = 0.2  # how often the connections are looked at, at least
LOOK_S = 0.5  # how often the rate of a connection is estimated anew
SETTLE_S = 0.7  # until further connections are open and at speed
MEASURE_S = 3.0  # how long it is measured whether several are faster
ENOUGH_S = 1.0  # how long is enough when everything is fetched before MEASURE_S is over
GAIN = 1.3  # several are worth it when together they are at least this many times as fast as one
PATIENCE_S = 2.0  # of one of several: others may have more luck with its range
REOPEN_S = 2.0  # after a failure, how long to wait before a connection is opened again
REOPEN_BYTES = 128 * 1024  # and how much the other connections must have received by then
SLOW_FIRST_S = 6.0  # readers wait for the first range: when it would take longer, it is split
SHARE_S = 1.0  # a range that would be complete sooner is not worth another request
RELIEFS = 5  # how often slow connections are relieved, for each connection that may be opened


class Crew:
    """The connections of one blob while there are several."""

    def __init__(self, intake: Intake, links: Links, effort: Effort, alone_bytes_per_s: float) -> None:
        """`alone_bytes_per_s` is what one connection gave, in bytes a second."""
        self._intake = intake
        self._segments = intake.segments
        self._links = links
        self._wanted = effort.connections
        self.allowed = effort.connections  # fewer once the upstream has refused one
        self._alone_bytes_per_s = alone_bytes_per_s
        self._bytes_per_s = alone_bytes_per_s  # what each connection gives, as a moving average
        self._tasks: dict[asyncio.Task[None], Connection] = {}
        self._share = links.join(intake.upstream, intake.client)  # of the connections to this upstream
        self._reopen_s, self._reopen_bytes = 0.0, 0
        self._measured_from: tuple[float, int] | None = None
        self._began_s = intake.now()
        self._looked = self._began_s, 0
        self._is_judged = links.known(intake.upstream, intake.now()) is not None
        self._relief = Relief(RELIEFS * effort.connections)
        self._was_idle = False  # there was no range left for one of them

    async def run(self, first: Connection) -> None:
        """Fetch what `first` was to fetch alone, over as many connections as are allowed.

        Raises WrongContent, StoreFailure, and what the intake's `check_wanted` raises.
        """
        first.source.is_alone, first.source.patience_s = False, PATIENCE_S
        self._segments.shorten(first.segment, self._chunk_bytes)
        first.source.segment = first.segment
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
        return decide_chunk(self._bytes_per_s)

    def _start(self, connection: Connection) -> None:
        self._tasks[asyncio.create_task(self._work(connection))] = connection

    def _fill_up(self) -> None:
        """Open connections as long as there is work for them and room in the budget, and nothing failed lately."""
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
        """Return whether a connection may be opened; after a failure only when others have received something since.

        Otherwise nobody would ever find out that no connection gets anywhere.
        """
        return self._intake.now() >= self._reopen_s and self._intake.fetched_bytes >= self._reopen_bytes

    def _give_back(self) -> None:
        """Return connections that are no longer open to the upstream's budget; the first one is not counted there."""
        self._share.give_back(self._share.taken - max(len(self._tasks) - 1, 0))

    def _yield(self) -> None:
        """Close a connection in favour of a fill that has fewer: the one whose range is needed last."""
        if self._share.must_yield():
            last = max(self._tasks, key=lambda task: self._tasks[task].segment.at)
            last.cancel()

    def _next_segment(self) -> Segment | None:
        """Return the next range to fetch; None when there is none.

        It is a part of another connection's range when no range is free, or when the first range is slow.
        """
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
        return segment

    def _holder(self, segment: Segment) -> Connection:
        """Return the connection that fetches a segment."""
        return next(connection for connection in self._tasks.values() if connection.segment is segment)

    async def _work(self, connection: Connection) -> None:
        """Fetch one range after the other over one connection, until no range is left. Runs as a task."""
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
        """Add the free range that follows to a connection's range, when its open answer goes on into that.

        Returns whether that was possible.
        """
        if not connection.source.goes_on:
            return False
        return self._segments.extend(connection.segment, self._chunk_bytes, self._wanted)

    def _ended(self, connection: Connection, task: asyncio.Task[None]) -> None:
        """Note the end of a connection: it had no range left, was cancelled, or failed. Raises as `run` does."""
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._was_idle = True
            return
        if not isinstance(error, UpstreamFailure):
            raise error
        if isinstance(error, RangesRefused):
            self._links.learn(self._intake.upstream, "refused", self._alone_bytes_per_s, self._intake.now())
            self._wanted, self._is_judged = 0, True
        elif isinstance(error, ConnectionRefused):
            self._wanted = self.allowed = max(len(self._tasks), 1)
            self._measured_from = None  # measured anew, with fewer connections
        elif not connection.is_of_use:
            self._wanted = max(len(self._tasks), 1)
        self._reopen_s = self._intake.now() + REOPEN_S
        self._reopen_bytes = self._intake.fetched_bytes + REOPEN_BYTES

    def _is_faster(self) -> bool:
        """Return whether to go on with several connections; true until it was measured."""
        now_s, fetched_bytes = self._intake.now(), self._intake.fetched_bytes
        if now_s - self._looked[0] >= LOOK_S and self._tasks:
            bytes_per_s = (fetched_bytes - self._looked[1]) / (now_s - self._looked[0]) / len(self._tasks)
            self._bytes_per_s = (self._bytes_per_s + bytes_per_s) / 2
            self._looked = now_s, fetched_bytes
        if self._is_judged or now_s < self._began_s + SETTLE_S:
            return True
        is_disturbed = self._links.extra_of(self._intake.upstream) > self._share.taken
        if self._measured_from is None or is_disturbed:  # other blobs take a part of what the line gives
            self._measured_from = now_s, fetched_bytes
        if now_s < self._measured_from[0] + MEASURE_S or len(self._tasks) < 2:
            return True
        gain = self._gain()
        self._learn("helps" if gain >= GAIN else "useless")
        return gain >= GAIN

    def _gain(self) -> float:
        """Return how many times as fast as one alone the connections are; 0 when it is too early to say."""
        if self._measured_from is None:
            return 0.0
        elapsed_s = self._intake.now() - self._measured_from[0]
        if elapsed_s < ENOUGH_S:
            return 0.0
        return (self._intake.fetched_bytes - self._measured_from[1]) / elapsed_s / max(self._alone_bytes_per_s, 1.0)

    def _learn(self, verdict: Verdict) -> None:
        """Remember a verdict on several connections for this upstream."""
        self._is_judged = True
        self._links.learn(self._intake.upstream, verdict, self._alone_bytes_per_s, self._intake.now())

    def _relieve(self) -> None:
        """Cancel the connections that hold the others up, so that their ranges become free."""
        is_end = self._was_idle and not self._segments.free_bytes
        held_up = self._relief.look(self._intake.now(), self._intake.fetched_bytes, self._tasks.values(), is_end=is_end)
        for task, connection in self._tasks.items():
            if connection in held_up:
                task.cancel()

    async def _stop(self) -> None:
        """Cancel all connections, wait until they are closed, and return them to the budget."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # marks it as retrieved: it came too late to matter
        self._tasks.clear()
        self._give_back()
