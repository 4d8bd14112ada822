"""Keep chosen images warm beside the requests: look at them soon after the start, and then regularly.

Of several processes on one cache folder, the one that holds the lock does this; when it ends, another one continues.
An image that failed is tried again sooner. Neither the start nor the end of the server waits for this.
Not here: warming itself (pull/warm.py), how long the pauses are (core/warm.py).
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

FIRST_S = (0.5, 5.0)  # random delay after the start: clients come first, and many servers may start at once
LOCK_POLL_S = 15.0


class KeepWarm:
    """The schedule by which one process keeps images warm."""

    def __init__(
        self,
        warmer: Warmer,
        images: Sequence[ImageName],
        platforms: Sequence[Platform] | None,
        *,
        every_s: float,
        lock: Path,
    ) -> None:
        """Set up the schedule.

        `platforms` None: all platforms. `every_s` is the pause in seconds between two looks at an image. `lock` is the
        file that processes on one cache folder lock, so that only one of them does this.
        """
        self._warmer = warmer
        self._images = tuple(dict.fromkeys(images))
        self._platforms = platforms
        self._every_s = every_s
        self._lock = lock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in a task on the running event loop. It runs until `close`."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop at once. What was fetched so far stays in the cache."""
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
            for result in results:  # images that were due together stay together
                due[result.image] = ended + decide_pause_s(self._every_s, has_failed=bool(result.problem))
            report(results, ended - begun)
            await asyncio.sleep(max(min(due.values()) - ended, 0.0))

    async def _warm(self, image: ImageName) -> Warmed:
        try:
            result = await self._warmer.warm(image, self._platforms)
        except Exception as error:  # noqa: BLE001 - a bug that shows with one image must not stop the others
            logger().exception("internal_error", image=str(image))
            return Warmed(image, problems=[repr(error)])
        if result.problem:
            logger().warning("warm_failed", image=str(image), problem=result.problem)
        return result


def report(results: Sequence[Warmed], seconds: float) -> None:
    """Log one line for a turn, in which all due images were looked at."""
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
    """Return a descriptor that holds the lock until it is closed.

    None when another process holds the lock, or when the file cannot be opened.
    """
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
