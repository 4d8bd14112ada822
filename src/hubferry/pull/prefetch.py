"""A client was given an image manifest: its config and layers are fetched at once, for it asks for them next.

Bounded: AT_ONCE blobs of an upstream at a time in the order of the manifest, WAITING in line, and `max_unwatched` of
each until somebody comes for it (fill/). Nothing of an index: which platform is wanted shows with the next manifest.
What cannot be fetched is not told to anybody: whoever asks for it is.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from hubferry.core.descriptors import parse_contents
from hubferry.core.errors import OciError
from hubferry.core.manifest import ManifestProblem
from hubferry.ports import Clock, StoreFailure, UpstreamFailure
from hubferry.pull.target import Target

AT_ONCE = 4
WAITING = 200
AGAIN_S = 60.0  # the same manifest for the same caller
MAX_REMEMBERED = 10_000


class Prefetch:
    """Fetches ahead for one gateway, on one event loop."""

    def __init__(self, fill: Callable[[Target, str], Awaitable[None]], clock: Clock) -> None:
        """`fill` has a blob kept that is not, to its end; see KeptBlobs.fill."""
        self._fill = fill
        self._clock = clock
        self._begun: OrderedDict[tuple[Target, str], float] = OrderedDict()
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, target: Target, digest: str, manifest: bytes) -> None:
        """A manifest of this digest was given to this caller."""
        key, now = (target, digest), self._clock.monotonic()
        if now - self._begun.get(key, -AGAIN_S) < AGAIN_S:
            return
        try:
            blobs = [blob for blob in parse_contents(manifest).blobs if not blob.is_foreign]
        except ManifestProblem:
            blobs = []
        if len(self._tasks) + len(blobs) > WAITING:
            return
        self._begun[key] = now
        self._begun.move_to_end(key)
        if len(self._begun) > MAX_REMEMBERED:
            self._begun.popitem(last=False)
        for blob in blobs:
            task = asyncio.create_task(self._run(target, blob.digest))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Fetch nothing more ahead; what is being filled is the fills' to end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, target: Target, digest: str) -> None:
        async with self._gates.setdefault(target.origin.name, asyncio.Semaphore(AT_ONCE)):
            with contextlib.suppress(OciError, UpstreamFailure, StoreFailure):
                await self._fill(target, digest)
