"""Every fill of this process: one for each (upstream, digest), however many ask.

After the disk failed, nothing is filled for RETRY_STORE_S: pulls go on uncached instead of being cut again and again.
A blob that turned out to be larger than the cache is not tried again for TOO_LARGE_S: to find that out costs a request.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from hubferry.core.client import address_group
from hubferry.core.errors import OciError
from hubferry.fill.fill import Fill, Surroundings
from hubferry.fill.lead import AlreadyKept, OnUnkept, Writers, close_unkept
from hubferry.fill.links import Links
from hubferry.fill.parts import Effort, Fetch, Partials
from hubferry.fill.places import Places, Turns
from hubferry.fill.reader import FillVisit
from hubferry.fill.writer import ALL_QUEUED_BYTES, TURNS, usable_processors
from hubferry.ports import EventLog, LargerThanCache, Metrics, NoRoom, StoreFailure, Uncounted, UpstreamFailure

RETRY_STORE_S = 30.0
TOO_LARGE_S = 600.0
MAX_REMEMBERED = 1000
THREADS = 8  # for what waits for a disk; each that runs keeps the event loop from running
MAX_FILLS = 256
PLACE_S = 10.0  # how long a client waits for a place, before its blob is streamed: it waits 30 s for a head
UNWATCHED_BYTES = 2**30


class Fills:
    """The fills of one event loop."""

    def __init__(
        self,
        partials: Partials,
        log: EventLog,
        *,
        unwatched_bytes: int = UNWATCHED_BYTES,
        effort: Effort | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`unwatched_bytes` is how much of a blob is fetched on when nobody wants it any longer."""
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fill")
        # no more than can run, beside the event loop: it has to find a processor soon
        self._writers = ThreadPoolExecutor(usable_processors() + 1, thread_name_prefix="write")
        self._places = Places(MAX_FILLS)
        self._beginnings = Places(1)
        self._log = log
        self._metrics = metrics or Uncounted()
        self._around = Surroundings(
            partials,
            self._pool,
            log,
            self._metrics,
            unwatched_bytes,
            effort or Effort(),
            Links(),
            Writers(self._writers, Turns(TURNS, ALL_QUEUED_BYTES)),
        )
        self._running: dict[tuple[str, str], tuple[Fill, asyncio.Task[None]]] = {}
        self._store_failed: tuple[float, StoreFailure] | None = None
        self._too_large: OrderedDict[tuple[str, str], tuple[float, LargerThanCache]] = OrderedDict()

    async def visit(self, upstream: str, digest: str) -> FillVisit | None:
        """The blob as far as this process has filled it, to be closed; None when it is not filling it."""
        found = self._running.get((upstream, digest))
        if found is None:
            return None
        with contextlib.suppress(OciError, UpstreamFailure, StoreFailure, AlreadyKept):
            await found[0].begun()
        return found[0].visit()

    async def start(
        self,
        upstream: str,
        digest: str,
        fetch: Fetch,
        on_wrong: Callable[[], None] = lambda: None,
        *,
        on_verified: Callable[[int], Awaitable[None]] | None = None,
        on_unkept: OnUnkept = close_unkept,
        anew: bool = False,
        address: str = "",
    ) -> bool:
        """Begin to fill, unless it is being filled; with `anew` also when it is kept, because of whom it came from.

        True: `fetch` was answered, so that whoever it asked for may have the blob. False: nothing was asked, because
        the blob is being filled already, here or in another process, or it is kept by now.
        `on_wrong` is told when what was fetched is not the blob, `on_verified` the size in bytes of what is, before it
        has its final name; neither when another process led. `on_unkept` is given what was fetched when there is no
        room for it; `address` is for whom it is filled. Raises OciError and UpstreamFailure as `fetch` does,
        StoreFailure when nothing can be kept.
        """
        key, client = (upstream, digest), address_group(address)
        if await self._is_running(key):
            return False
        if self._store_failed is not None and time.monotonic() < self._store_failed[0]:
            self._metrics.store_failed()
            raise StoreFailure(str(self._store_failed[1]))
        if key in self._too_large and time.monotonic() < self._too_large[key][0]:
            raise LargerThanCache(str(self._too_large[key][1]))
        await self._take_place(client)
        try:
            is_running = await self._is_running(key)
        except BaseException:
            self._places.give_back(client)
            raise
        if is_running:  # since a moment ago
            self._places.give_back(client)
            return False
        fill = Fill(
            upstream,
            digest,
            fetch,
            self._around,
            client=client,
            on_wrong=on_wrong,
            on_verified=on_verified,
            on_unkept=on_unkept,
            anew=anew,
        )
        task = asyncio.create_task(fill.run())
        self._running[key] = (fill, task)
        task.add_done_callback(lambda _: self._ended(key, client))
        try:
            await fill.begun()
        except AlreadyKept:
            return False
        return fill.is_proven

    def is_running(self, upstream: str, digest: str) -> bool:
        """Whether this process is filling it."""
        return (upstream, digest) in self._running

    async def _is_running(self, key: tuple[str, str]) -> bool:
        """Whether somebody fills it, once whoever failed has ended."""
        while (found := self._running.get(key)) is not None:
            if found[0].progress.failure is None:
                return True
            await asyncio.wait({found[1]})
        return False

    async def _take_place(self, client: str) -> None:
        """Wait for a place; what nobody wants any longer has to leave it. Raises NoRoom."""
        if not self._places.is_free_for(client):
            self._stop_an_unwanted(client)
        try:
            async with asyncio.timeout(PLACE_S):
                await self._places.take(client)
        except TimeoutError:
            said = f"{len(self._running)} blobs are being fetched, and there was no place within {PLACE_S:.0f} s"
            raise NoRoom(said) from None
        try:
            await self._wait_to_begin(client)
        except BaseException:
            self._places.give_back(client)
            raise

    async def _wait_to_begin(self, client: str) -> None:
        """One in each round of the event loop: to begin costs milliseconds, and others want their answers meanwhile."""
        await self._beginnings.take(client)
        try:
            await asyncio.sleep(0)
        finally:
            self._beginnings.give_back(client)

    def _stop_an_unwanted(self, client: str) -> None:
        """Stop a fill of this client's, or anybody's when there is no place at all; what is there of it stays."""
        fills = [
            one
            for one in self._running.values()
            # stopped twice it would not wait for its thread, which may be writing
            if not one[1].cancelling() and (self._places.is_full or one[0].client == client)
        ]
        found = max(fills, key=lambda one: one[0].idle_s, default=None)
        if found is not None and found[0].idle_s:
            found[1].cancel()

    async def ended(self, upstream: str, digest: str) -> None:
        """See ports.Fills."""
        found = self._running.get((upstream, digest))
        if found is not None:
            await asyncio.wait({found[1]})

    def count(self) -> int:
        """How many blobs this process is fetching at this moment."""
        return len(self._running)

    async def close(self) -> None:
        """Stop every fill; what is there is kept for the next process."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.to_thread(self._writers.shutdown)
        await asyncio.to_thread(self._pool.shutdown)

    def _ended(self, key: tuple[str, str], client: str) -> None:
        fill, task = self._running.pop(key)
        self._places.give_back(client)
        if isinstance(fill.store_failure, LargerThanCache):
            self._too_large[key] = (time.monotonic() + TOO_LARGE_S, fill.store_failure)
            if len(self._too_large) > MAX_REMEMBERED:
                self._too_large.popitem(last=False)
        elif fill.store_failure is not None and not isinstance(fill.store_failure, NoRoom):
            self._store_failed = (time.monotonic() + RETRY_STORE_S, fill.store_failure)
        if not task.cancelled() and (error := task.exception()) is not None:
            fields = {"upstream": key[0], "digest": key[1], "problem": repr(error)}
            self._log.warning("fill_failed", fields)
