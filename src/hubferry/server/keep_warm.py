"""Images that are kept warm beside the requests: looked at soon after the start, then in turns.

Of several processes on one cache folder one does it, whoever holds the lock; when that one ends, another goes on.
What failed is tried again sooner. Nothing waits for it, neither the start nor the end.
Not here: warming (pull/warm.py), how long the pauses are (core/warm.py).
"""

import asyncio
import contextlib
import fcntl
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from hubferry.core.image import ImageName
from hubferry.core.platforms import Platform
from hubferry.core.warm import decide_pause_s
from hubferry.pull.warm import Warmed, Warmer
from hubferry.server.log import logger

FIRST_S = (0.5, 5.0)  # after the start: clients come first, and many servers may have started at once
LOCK_POLL_S = 15.0


class KeepWarm:
    """The schedule of one process."""

    def __init__(
        self,
        warmer: Warmer,
        images: Sequence[ImageName],
        platforms: Sequence[Platform] | None,
        *,
        every_s: float,
        lock: Path,
    ) -> None:
        """`platforms` None: all there are."""
        self._warmer = warmer
        self._images = tuple(dict.fromkeys(images))
        self._platforms = platforms
        self._every_s = every_s
        self._lock = lock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running event loop; until `close`."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End at once; what is there is kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        await asyncio.sleep(random.uniform(*FIRST_S))  # noqa: S311 - nothing secret
        while (descriptor := _try_lock(self._lock)) is None:  # noqa: ASYNC110 - nobody tells when a process ends
            await asyncio.sleep(LOCK_POLL_S)
        try:
            await self._take_turns()
        finally:
            os.close(descriptor)

    async def _take_turns(self) -> None:
        due = dict.fromkeys(self._images, time.monotonic())
        while True:
            begun = time.monotonic()
            results = [await self._warm(image) for image in self._images if due[image] <= begun]
            ended = time.monotonic()
            for result in results:  # what was due together stays together
                due[result.image] = ended + decide_pause_s(self._every_s, has_failed=bool(result.problem))
            report(results, ended - begun)
            await asyncio.sleep(max(min(due.values()) - ended, 0.0))

    async def _warm(self, image: ImageName) -> Warmed:
        try:
            result = await self._warmer.warm(image, self._platforms)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in one image is not the end of the others
            logger().exception("internal_error", image=str(image))
            return Warmed(image, problems=[repr(error)])
        if result.problem:
            logger().warning("warm_failed", image=str(image), problem=result.problem)
        return result


def report(results: Sequence[Warmed], seconds: float) -> None:
    """One line for a turn."""
    logger().info(
        "warmed",
        images=sum(not result.problem for result in results),
        failed=sum(bool(result.problem) for result in results),
        fetched=sum(result.fetched for result in results),
        kept=sum(result.kept for result in results),
        bytes=sum(result.fetched_bytes for result in results),
        seconds=round(seconds, 3),
    )


def _try_lock(path: Path) -> int | None:
    """The descriptor that holds the lock until it is closed; None while another process does, or it cannot be."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor
    return None
