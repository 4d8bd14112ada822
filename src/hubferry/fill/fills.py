"""Every fill of this process: one for each (upstream, digest), however many ask.

After the disk failed, nothing is filled for RETRY_STORE_S: pulls go on uncached instead of being cut again and again.
A blob that turned out to be larger than the cache is not tried again for TOO_LARGE_S: to find that out costs a request.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hubferry.core.errors import OciError
from hubferry.fill.fill import Fill, Surroundings
from hubferry.fill.lead import AlreadyKept, OnUnkept, close_unkept
from hubferry.fill.links import Links
from hubferry.fill.parts import Effort, Fetch, Partials
from hubferry.fill.reader import FillVisit
from hubferry.ports import EventLog, LargerThanCache, Metrics, NoRoom, StoreFailure, Uncounted, UpstreamFailure

RETRY_STORE_S = 30.0
TOO_LARGE_S = 600.0
MAX_REMEMBERED = 1000
THREADS = 16
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
        self._log = log
        self._metrics = metrics or Uncounted()
        self._around = Surroundings(
            partials, self._pool, log, self._metrics, unwatched_bytes, effort or Effort(), Links()
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
        on_unkept: OnUnkept = close_unkept,
    ) -> bool:
        """Begin to fill, unless it is being filled.

        True: `fetch` was answered, so that whoever it asked for may have the blob. False: nothing was asked, because
        the blob is being filled already, here or in another process, or it is kept by now.
        `on_wrong` is told when what was fetched is not the blob, `on_unkept` is given what was fetched when there is
        no room for it. Raises OciError and UpstreamFailure as `fetch` does, StoreFailure when nothing can be kept.
        """
        key = (upstream, digest)
        while (found := self._running.get(key)) is not None:
            if found[0].progress.failure is None:
                return False
            await asyncio.wait({found[1]})  # it failed and is about to end
        if self._store_failed is not None and time.monotonic() < self._store_failed[0]:
            self._metrics.store_failed()
            raise StoreFailure(str(self._store_failed[1]))
        if key in self._too_large and time.monotonic() < self._too_large[key][0]:
            raise LargerThanCache(str(self._too_large[key][1]))
        fill = Fill(upstream, digest, fetch, self._around, on_wrong=on_wrong, on_unkept=on_unkept)
        task = asyncio.create_task(fill.run())
        self._running[key] = (fill, task)
        task.add_done_callback(lambda _: self._ended(key))
        try:
            await fill.begun()
        except AlreadyKept:
            return False
        return fill.is_proven

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
        await asyncio.to_thread(self._pool.shutdown)

    def _ended(self, key: tuple[str, str]) -> None:
        fill, task = self._running.pop(key)
        if isinstance(fill.store_failure, LargerThanCache):
            self._too_large[key] = (time.monotonic() + TOO_LARGE_S, fill.store_failure)
            if len(self._too_large) > MAX_REMEMBERED:
                self._too_large.popitem(last=False)
        elif fill.store_failure is not None and not isinstance(fill.store_failure, NoRoom):
            self._store_failed = (time.monotonic() + RETRY_STORE_S, fill.store_failure)
        if not task.cancelled() and (error := task.exception()) is not None:
            fields = {"upstream": key[0], "digest": key[1], "problem": repr(error)}
            self._log.warning("fill_failed", fields)
