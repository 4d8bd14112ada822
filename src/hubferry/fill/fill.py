"""One blob being filled: fetched once, written and hashed, checked, and only then kept.

Whoever has the lock on the file leads: it fetches and writes. Another process's fill is followed by looking at the
file; when its leader is gone without a result, a follower becomes the leader and continues with its own fetch.

    standing    ->
    ours           lead: continue what is there, or begin
    followed       look again in POLL_S
    committed      it is verified: read on
    discarded      it was wrong: readers are cut
    abandoned      it cannot be kept: readers get the rest from the upstream (NotKept)

A fill that nobody has wanted for a moment stops after `unwatched_bytes`; the file stays and is continued by the next.
Invariants: nothing gets its final name unless length and digest match; what readers were given is never replaced
under them (a new beginning is another file). Not here: leading (lead.py), readers (reader.py).
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hubferry.core.errors import OciError
from hubferry.fill.lead import AlreadyKept, Leader, OnUnkept, Writers, close_unkept
from hubferry.fill.links import Links
from hubferry.fill.opened import OpenedFile
from hubferry.fill.parts import Effort, Fetch, Partials, Standing, WrongContent
from hubferry.fill.progress import Progress
from hubferry.fill.reader import FillVisit, Watchers
from hubferry.ports import Cause, EventLog, FillResult, Metrics, NoRoom, NotKept, StoreFailure, UpstreamFailure

POLL_S = 0.02
STALLED_S = 120.0  # how long a leader in another process may do nothing before its followers give up
UNWATCHED_POLLS = 50  # following costs nobody anything: it may end sooner


class _Abandoned(NoRoom):
    """Another process began it and could not keep it, and said so."""


class _NobodyWants(Exception):
    """The fill stops because it has gone on for nobody for long enough."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the fills of one process share."""

    partials: Partials
    pool: ThreadPoolExecutor
    log: EventLog
    metrics: Metrics
    unwatched_bytes: int
    effort: Effort
    links: Links
    writers: Writers


class Fill:
    """The fill of one (upstream, digest) in this process."""

    def __init__(
        self,
        upstream: str,
        digest: str,
        fetch: Fetch,
        around: Surroundings,
        *,
        client: str = "",
        on_wrong: Callable[[], None] = lambda: None,
        on_verified: Callable[[int], Awaitable[None]] | None = None,
        on_unkept: OnUnkept = close_unkept,
        anew: bool = False,
    ) -> None:
        """See Fills.start."""
        self.progress = Progress()
        self.store_failure: StoreFailure | None = None
        self.is_proven = False  # the upstream answered the fetch, so that its caller may have the blob
        self.client = client
        self._upstream = upstream
        self._digest = digest
        self._around = around
        self._on_wrong = on_wrong
        self._is_leading = False
        self._watchers = Watchers(self.progress)
        self._file = OpenedFile(upstream, digest, around.partials, around.pool)
        self._leader = Leader(
            upstream,
            digest,
            fetch,
            file=self._file,
            progress=self.progress,
            report=self._report,
            effort=around.effort,
            links=around.links,
            on_verified=on_verified,
            anew=anew,
            writers=around.writers,
            client=client,
            on_unkept=on_unkept,
        )
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def begun(self) -> None:
        """Wait until the upstream has answered, or until it is known that another process is filling.

        Raises OciError and UpstreamFailure as the fetch does, StoreFailure, AlreadyKept.
        """
        await asyncio.shield(self._begun)

    def visit(self) -> FillVisit | None:
        """The blob as far as it is there; None when it will not be completed."""
        if self._file.shared is None or self.progress.failure is not None:
            return None
        return FillVisit(self._file.shared, self.progress, self._watchers)

    @property
    def idle_s(self) -> float:
        """For how long nobody has wanted it; 0 while somebody may still be on the way to it."""
        return self._watchers.idle_s

    async def run(self) -> None:
        """Fill. Raises nothing but CancelledError: what went wrong is told to `begun` and to readers."""
        try:
            try:
                await self._run()
            except (OciError, UpstreamFailure) as error:
                if self._begun.done():  # else whoever began is told
                    self._report("fill_failed", str(error))
                    self._count("failed")
                if self._is_leading:
                    await self._file.remove(only_empty=True)
                self._end(error)
        except WrongContent as error:
            self._report("fill_wrong", str(error))
            self._count("wrong")
            if self._is_leading:
                self._on_wrong()
                await self._file.remove()
            self._end(UpstreamFailure(Cause.WRONG, self._upstream, f"{self._digest}: {error}"), is_wrong=True)
        except _Abandoned as error:
            self._end(error)
        except StoreFailure as error:
            self.store_failure = error
            self._report("store_failed", str(error))
            self._around.metrics.store_failed()
            self._count("store_failed")
            if self._is_leading:
                await self._file.abandon()  # a full disk has better uses for it
            self._end(error)
        except AlreadyKept as error:
            self._end(error)
        except _NobodyWants:
            self._count("unwanted")
        finally:
            self._end(UpstreamFailure(Cause.CUT, self._upstream, "the fill was stopped"))
            self._file.give_back()

    async def _run(self) -> None:
        standing = await self._file.open()
        if standing == "followed":
            standing = await self._follow()
        if standing == "ours":
            self._is_leading = True
            beginning = await self._leader.begin()
            self.is_proven = True
            self.progress.size_bytes = beginning.size_bytes
            self._begin()
            self._watchers.count_from(beginning.offset)
            await self._leader.go_on(beginning, self._check_wanted)
            self._count("kept")
        elif standing == "committed":
            length_bytes = await self._file.on_thread(self._file.partial.length_bytes)
            self.progress.verify(length_bytes)
            self._begin()
        else:
            if standing == "abandoned":
                raise _Abandoned("another process began it and could not keep it")
            raise WrongContent("another process found that it is not what it should be")

    async def _follow(self) -> Standing:
        stalled_s, unwatched_polls = 0.0, 0
        while True:
            look = await self._file.look()
            if look.standing == "abandoned":
                return look.standing
            if look.standing == "discarded":
                self._begin()
                return look.standing
            stalled_s = stalled_s + POLL_S if look.written_bytes == self.progress.written_bytes else 0.0
            self.progress.size_bytes = self.progress.size_bytes or look.size_bytes
            self.progress.advance(look.written_bytes)
            self._begin()  # not before it is known how far it is: a range may be ahead of that
            if look.standing != "followed":
                return look.standing
            unwatched_polls = 0 if self._watchers.are_there else unwatched_polls + 1
            if unwatched_polls > UNWATCHED_POLLS:
                raise self._stop()
            if stalled_s > STALLED_S:
                raise UpstreamFailure(Cause.TIMEOUT, self._upstream, "another process is filling, and it stalled")
            await asyncio.sleep(POLL_S)

    def _check_wanted(self) -> None:
        if self._watchers.unwatched_bytes > self._around.unwatched_bytes:
            raise self._stop()

    def _stop(self) -> _NobodyWants:
        """From here on nobody may come any more, or would be cut: they wait for the end and begin again."""
        self._end(UpstreamFailure(Cause.CUT, self._upstream, "nobody wanted it for long"))
        return _NobodyWants()

    def _begin(self) -> None:
        if not self._begun.done():
            self._begun.set_result(None)

    def _end(self, error: Exception, *, is_wrong: bool = False) -> None:
        failure = error
        if isinstance(error, StoreFailure):
            failure = NotKept(Cause.CUT, self._upstream, str(error))
        elif not isinstance(failure, UpstreamFailure):
            failure = UpstreamFailure(Cause.CUT, self._upstream, f"{self._digest}: {error}")
        self.progress.fail(failure, is_wrong=is_wrong)
        if not self._begun.done():
            self._begun.set_exception(error)
            self._begun.exception()  # nobody may be waiting

    def _count(self, result: FillResult) -> None:
        """One result for each fill: whoever follows leaves the counting to the leader."""
        if self._is_leading:
            self._around.metrics.fill_ended(self._upstream, result)
            if result == "wrong":
                self._around.metrics.wrong_content(self._upstream)

    def _report(self, event: str, problem: str) -> None:
        fields = {"upstream": self._upstream, "digest": self._digest, "problem": problem}
        self._around.log.warning(event, fields)
