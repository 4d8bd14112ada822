"""All fills of this process: one for each (upstream, digest), however many clients ask for it.

After the disk failed, nothing is filled for RETRY_STORE_S: pulls go on uncached, instead of being cut off again and
again. A blob that turned out to be larger than the cache is not tried again for TOO_LARGE_S, because finding that out
costs a request.
"""

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from hubferry.core.bounded import BoundedMap
from hubferry.core.client import address_group
from hubferry.core.errors import OciError
from hubferry.core.pace import LargePieces
from hubferry.fill.bounds import Effort
from hubferry.fill.fill import Fill
from hubferry.fill.lead import AlreadyKept
from hubferry.fill.parallel.links import Links
from hubferry.fill.reader import FillVisit
from hubferry.fill.services import FillServices, Writers
from hubferry.fill.slots import Slots, Turns
from hubferry.fill.writer import ALL_QUEUED_BYTES, TURNS, usable_processors
from hubferry.ports.content import LargerThanCache, NoRoom, StoreFailure
from hubferry.ports.fills import FillHandle, FillOrder
from hubferry.ports.partials import Partials
from hubferry.ports.shell import UNCOUNTED, EventLog, Metrics
from hubferry.ports.upstream import UpstreamFailure

RETRY_STORE_S = 30.0
TOO_LARGE_S = 600.0
MAX_REMEMBERED = 1000
THREADS = 8  # for work that waits for a disk; few, because a running thread keeps the event loop waiting
MAX_FILLS = 256
SLOT_WAIT_S = 10.0  # how long a client waits for a slot before its blob is streamed: clients wait 30 s for a head
HASHING = 2  # threads that hash what partial files hold already when they are continued
UNWATCHED_BYTES = 2**30


class LocalFills:
    """The fills of one event loop, each known by (upstream, digest)."""

    def __init__(
        self,
        partials: Partials,
        log: EventLog,
        *,
        unwatched_bytes: int = UNWATCHED_BYTES,
        effort: Effort | None = None,
        metrics: Metrics = UNCOUNTED,
    ) -> None:
        """`unwatched_bytes` is how many bytes of a blob are still fetched after its last reader has left."""
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fill")
        # few more than can run at once: the event loop has to find a processor soon as well
        self._writers = ThreadPoolExecutor(usable_processors() + 1, thread_name_prefix="write")
        self._hashing = ThreadPoolExecutor(HASHING, thread_name_prefix="hash")
        self._slots = Slots(MAX_FILLS)
        self._beginnings = Slots(1)
        self._log = log
        self._metrics = metrics
        self._services = FillServices(
            partials,
            self._pool,
            log,
            self._metrics,
            unwatched_bytes,
            effort or Effort(),
            Links(),
            Writers(self._writers, self._hashing, Turns(TURNS, ALL_QUEUED_BYTES)),
            LargePieces(),
        )
        self._running: dict[tuple[str, str], tuple[Fill, asyncio.Task[None]]] = {}
        self._store_failed: tuple[float, StoreFailure] | None = None
        self._too_large: BoundedMap[tuple[float, LargerThanCache]] = BoundedMap(MAX_REMEMBERED)

    async def visit(self, upstream: str, digest: str, only: FillHandle | None = None) -> FillVisit | None:
        """Return a reader's view of a blob that is being filled here, to be closed; None when it is not.

        `only` is what `start` returned. The result is None as well when another fill of the blob runs by now. Waits
        until the fill has begun.
        """
        found = self._running.get((upstream, digest))
        if found is None or (only is not None and only is not FillHandle(found[0])):
            return None
        with contextlib.suppress(OciError, UpstreamFailure, StoreFailure, AlreadyKept):
            await found[0].begun()
        return found[0].visit()

    async def start(self, order: FillOrder) -> FillHandle | None:
        key, client = order.key, address_group(order.client)
        if await self._is_running(key):
            return None
        if self._store_failed is not None and time.monotonic() < self._store_failed[0]:
            self._metrics.store_failed()
            raise StoreFailure(str(self._store_failed[1]))
        too_large = self._too_large.get(key)
        if too_large is not None and time.monotonic() < too_large[0]:
            raise LargerThanCache(str(too_large[1]))
        await self._take_slot(client)
        try:
            is_running = await self._is_running(key)
        except BaseException:
            self._slots.give_back(client)
            raise
        if is_running:  # another request started it while this one waited for a slot
            self._slots.give_back(client)
            return None
        fill = Fill(order, self._services, client)
        task = asyncio.create_task(fill.run())
        self._running[key] = (fill, task)
        task.add_done_callback(lambda _: self._ended(key, client))
        try:
            await fill.begun()
        except AlreadyKept:
            return None
        return FillHandle(fill) if fill.is_proven else None

    def is_running(self, upstream: str, digest: str) -> bool:
        """Return whether this process is filling the blob."""
        return (upstream, digest) in self._running

    async def _is_running(self, key: tuple[str, str]) -> bool:
        """Return whether a fill of the blob is running, after waiting for the end of one that has failed."""
        while (found := self._running.get(key)) is not None:
            if found[0].progress.failure is None:
                return True
            await asyncio.wait({found[1]})
        return False

    async def _take_slot(self, client: str) -> None:
        """Wait for a slot, stopping a fill without readers if there is one. Raises NoRoom after SLOT_WAIT_S."""
        if not self._slots.is_free_for(client):
            self._stop_an_unwanted(client)
        try:
            async with asyncio.timeout(SLOT_WAIT_S):
                await self._slots.take(client)
        except TimeoutError:
            said = f"{len(self._running)} blobs are being fetched, and there was no place within {SLOT_WAIT_S:.0f} s"
            raise NoRoom(said) from None
        try:
            await self._wait_to_begin(client)
        except BaseException:
            self._slots.give_back(client)
            raise

    async def _wait_to_begin(self, client: str) -> None:
        """Let one fill begin in each round of the event loop.

        To begin costs milliseconds, and other requests want their answers meanwhile.
        """
        await self._beginnings.take(client)
        try:
            await asyncio.sleep(0)
        finally:
            self._beginnings.give_back(client)

    def _stop_an_unwanted(self, client: str) -> None:
        """Stop the fill that has been without readers for longest; its partial file stays.

        Only a fill of this client is stopped, or anybody's when all slots are taken.
        """
        fills = [
            one
            for one in self._running.values()
            # cancelled a second time, it would not wait for its thread, which may be writing
            if not one[1].cancelling() and (self._slots.is_full or one[0].client == client)
        ]
        found = max(fills, key=lambda one: one[0].idle_s, default=None)
        if found is not None and found[0].idle_s:
            found[1].cancel()

    async def ended(self, upstream: str, digest: str) -> None:
        found = self._running.get((upstream, digest))
        if found is not None:
            await asyncio.wait({found[1]})

    def count(self) -> int:
        """Return how many blobs this process is filling at this moment."""
        return len(self._running)

    async def close(self) -> None:
        """Stop every fill and end the threads. Partial files stay, for the next process to continue."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.to_thread(self._writers.shutdown)
        await asyncio.to_thread(self._hashing.shutdown)
        await asyncio.to_thread(self._pool.shutdown)

    def _ended(self, key: tuple[str, str], client: str) -> None:
        """Give back the slot of a fill that has ended, remember a failure of the disk, and log an unexpected error."""
        fill, task = self._running.pop(key)
        self._slots.give_back(client)
        if isinstance(fill.store_failure, LargerThanCache):
            self._too_large.put(key, (time.monotonic() + TOO_LARGE_S, fill.store_failure))
        elif fill.store_failure is not None and not isinstance(fill.store_failure, NoRoom):
            self._store_failed = (time.monotonic() + RETRY_STORE_S, fill.store_failure)
        if not task.cancelled() and (error := task.exception()) is not None:
            fields = {"upstream": key[0], "digest": key[1], "problem": repr(error)}
            self._log.warning("fill_failed", fields)
