"""The fill of one blob: fetched once, written and hashed, checked, and only then kept.

The process that holds the lock on the partial file is the leader: it fetches and writes. Other processes are followers:
they look at the file every POLL_S. When the leader has gone without a result, a follower becomes the leader and
continues with its own fetch.

    standing    what this process does
    ours        it leads: it continues what is there, or begins
    followed    it looks again in POLL_S
    committed   the blob is verified: readers read on
    discarded   the content was wrong: readers are cut off
    abandoned   the blob cannot be kept: readers get the rest from the upstream (NotKept)

A fill without readers stops after it has fetched `unwatched_bytes` for nobody. The partial file stays, and the next
fill continues it.
Invariants: nothing gets its final name unless length and digest match; bytes that readers were given are never replaced
under them (a new beginning is another file). Not here: leading (lead.py), readers (reader.py).
"""

import asyncio
from dataclasses import replace

from hubferry.core.errors import OciError
from hubferry.fill.bounds import WrongContent
from hubferry.fill.lead import AlreadyKept, Leader
from hubferry.fill.opened import OpenedFile
from hubferry.fill.progress import FillProgress
from hubferry.fill.reader import FillVisit, Watchers
from hubferry.fill.services import FillServices
from hubferry.ports.content import NoRoom, NotKept, StoreFailure
from hubferry.ports.fills import FillOrder
from hubferry.ports.partials import Standing
from hubferry.ports.shell import FillResult
from hubferry.ports.upstream import Cause, UpstreamFailure

POLL_S = 0.02
STALLED_S = 120.0  # how long a leader in another process may make no progress before its followers give up
UNWATCHED_POLLS = 50  # looks without a reader before a follower stops: it fetches nothing, so it may stop early


class _Abandoned(NoRoom):
    """Another process began to fill this blob, could not keep it, and marked the file as abandoned."""


class _NobodyWants(Exception):
    """The fill stops, because it has had no reader for long enough."""


class Fill:
    """The fill of one (upstream, digest) in this process, as leader or as follower."""

    def __init__(self, order: FillOrder, services: FillServices, client: str) -> None:
        """`client` is the address group whose share of slots, turns and connections this fill uses.

        See core.client.address_group.
        """
        self.progress = FillProgress()
        self.store_failure: StoreFailure | None = None
        self.is_proven = False  # the upstream answered the fetch, which proves that its caller may have the blob
        self.client = client
        self._order = order
        self._services = services
        self._is_leading = False
        self._watchers = Watchers(self.progress, services.large)
        self._file = OpenedFile(order.upstream, order.digest, services.partials, services.pool)
        self._leader = Leader(replace(order, client=client), services, self._file, self.progress, self._report)
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def begun(self) -> None:
        """Wait until the upstream has answered, or until it is known what another process does with the blob.

        Raises OciError and UpstreamFailure as the fetch does, StoreFailure, AlreadyKept.
        """
        await asyncio.shield(self._begun)

    def visit(self) -> FillVisit | None:
        """Return a reader's view of the blob as far as it is there; None when this fill cannot complete it.

        The view is to be closed.
        """
        if self._file.shared is None or self.progress.failure is not None:
            return None
        return FillVisit(self._file.shared, self.progress, self._watchers)

    @property
    def idle_s(self) -> float:
        """Seconds for which the fill has had no reader; 0 while it has one, or while one may still be on its way.

        Until the upstream has answered there can be no reader, because whoever wants one waits for that.
        """
        return self._watchers.idle_s if self._begun.done() else 0.0

    async def run(self) -> None:
        """Run the fill to its end.

        Raises nothing but CancelledError: `begun` and the readers are told what went wrong.
        """
        try:
            try:
                await self._run()
            except (OciError, UpstreamFailure) as error:
                if self._begun.done():  # otherwise `begun` raises the error to whoever started the fill
                    self._report("fill_failed", str(error))
                    self._count("failed")
                if self._is_leading:
                    await self._file.remove(only_empty=True)
                self._end(error)
        except WrongContent as error:
            self._report("fill_wrong", str(error))
            self._count("wrong")
            if self._is_leading:
                self._order.on_wrong()
                await self._file.remove()
            self._end(
                UpstreamFailure(Cause.WRONG, self._order.upstream, f"{self._order.digest}: {error}"), is_wrong=True
            )
        except _Abandoned as error:
            self._end(error)
        except StoreFailure as error:
            self.store_failure = error
            self._report("store_failed", str(error))
            self._services.metrics.store_failed()
            self._count("store_failed")
            if self._is_leading:
                await self._file.abandon()  # a full disk needs the room for something else
            self._end(error)
        except AlreadyKept as error:
            self._end(error)
        except _NobodyWants:
            self._count("unwanted")
        finally:
            self._end(UpstreamFailure(Cause.CUT, self._order.upstream, "the fill was stopped"))
            self._file.give_back()

    async def _run(self) -> None:
        """Lead the fill, or follow another process's. Raises what `run` handles."""
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
        """Look at another process's fill until it ends, or until its lock is free and this process has taken it.

        Returns the new standing. Raises UpstreamFailure when the leader makes no progress for STALLED_S, StoreFailure,
        and _NobodyWants.
        """
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
            self._begin()  # only now that the leader's progress is known: a client's range may lie beyond it
            if look.standing != "followed":
                return look.standing
            unwatched_polls = 0 if self._watchers.are_there else unwatched_polls + 1
            if unwatched_polls > UNWATCHED_POLLS:
                raise self._stop()
            if stalled_s > STALLED_S:
                raise UpstreamFailure(Cause.TIMEOUT, self._order.upstream, "another process is filling, and it stalled")
            await asyncio.sleep(POLL_S)

    def _check_wanted(self) -> None:
        """Raise _NobodyWants when more than `unwatched_bytes` were fetched for nobody."""
        if self._watchers.unwatched_bytes > self._services.unwatched_bytes:
            raise self._stop()

    def _stop(self) -> _NobodyWants:
        """Fail the fill, so that no reader joins it any more, and return the exception that ends it.

        A reader that joined now would be cut off. Instead it waits for the end of this fill, and another one is
        started.
        """
        self._end(UpstreamFailure(Cause.CUT, self._order.upstream, "nobody wanted it for long"))
        return _NobodyWants()

    def _begin(self) -> None:
        """Let `begun` return, so that readers may join."""
        if not self._begun.done():
            self._begun.set_result(None)

    def _end(self, error: Exception, *, is_wrong: bool = False) -> None:
        """End the fill for its readers, and for whoever waits in `begun`. Does nothing when it has ended already."""
        failure = error
        if isinstance(error, StoreFailure):
            failure = NotKept(Cause.CUT, self._order.upstream, str(error))
        elif not isinstance(failure, UpstreamFailure):
            failure = UpstreamFailure(Cause.CUT, self._order.upstream, f"{self._order.digest}: {error}")
        self.progress.fail(failure, is_wrong=is_wrong)
        if not self._begun.done():
            self._begun.set_exception(error)
            self._begun.exception()  # marks it as retrieved: perhaps nobody waits for it

    def _count(self, result: FillResult) -> None:
        """Count the result of the fill in the metrics, once: followers leave that to the leader."""
        if self._is_leading:
            self._services.metrics.fill_ended(self._order.upstream, result)
            if result == "wrong":
                self._services.metrics.wrong_content(self._order.upstream)

    def _report(self, event: str, problem: str) -> None:
        fields = {"upstream": self._order.upstream, "digest": self._order.digest, "problem": problem}
        self._services.log.warning(event, fields)
