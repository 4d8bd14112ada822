"""Images that operators order on the status page: fetched beside the requests, one at a time.

The orders of one worker process; they end with it, and what was fetched stays. Not here: warming (pull/warm.py).
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from hubferry.core.descriptors import Descriptor
from hubferry.core.errors import Code, OciError
from hubferry.core.image import ImageName
from hubferry.core.platforms import Platform
from hubferry.pages.board import WarmJob
from hubferry.pull.warm import Ending, Warmer
from hubferry.server.log import logger

MOST_WAITING = 20
MOST_SHOWN = 5  # of those that are over


class WarmOrder:
    """One order, and as a `WarmObserver` its progress."""

    def __init__(self, image: ImageName, platforms: Sequence[Platform] | None) -> None:
        """`platforms` are those that are wanted of the image, None: all of them."""
        self.image = image
        self.platforms = platforms
        self.state = "waiting"
        self.problem = ""
        self._sizes: dict[str, int] = {}
        self._at: dict[str, int] = {}

    def began(self, layer: Descriptor, found_bytes: int) -> None:
        self._sizes[layer.digest] = layer.size_bytes or 0
        self._at[layer.digest] = found_bytes

    def grew(self, layer: Descriptor, at_bytes: int) -> None:
        self._at[layer.digest] = at_bytes

    def ended(self, layer: Descriptor, ending: Ending, problem: str) -> None:  # noqa: ARG002 - the observer's
        if ending in ("fetched", "kept"):
            self._sizes[layer.digest] = self._at[layer.digest] = layer.size_bytes or 0

    @property
    def shown(self) -> WarmJob:
        """The order as the page shows it."""
        at_bytes, size_bytes = sum(self._at.values()), sum(self._sizes.values())
        return WarmJob(str(self.image), self.state, at_bytes, size_bytes, self.problem)


class WarmOrders:
    """The orders of one worker."""

    def __init__(self, warmer: Warmer) -> None:
        self._warmer = warmer
        self._orders: deque[WarmOrder] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, image: ImageName, platforms: Sequence[Platform] | None) -> None:
        """Order an image. Raises OciError 429 when too many wait."""
        if sum(order.state == "waiting" for order in self._orders) >= MOST_WAITING:
            problem = f"{MOST_WAITING} images are waiting to be fetched: order more when they are done"
            raise OciError(429, Code.TOOMANYREQUESTS, problem, headers=(("retry-after", "60"),))
        self._orders.append(WarmOrder(image, platforms))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def shown(self) -> list[WarmJob]:
        """Return the orders, the latest first."""
        return [order.shown for order in reversed(self._orders)]

    async def close(self) -> None:
        """Cancel the order that is running, and wait until it has ended; the others are dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while (order := next((one for one in self._orders if one.state == "waiting"), None)) is not None:
            order.state = "running"
            try:
                order.problem = (await self._warmer.warm(order.image, order.platforms, order)).problem
            except OciError as error:
                order.problem = error.message
            except Exception as error:  # noqa: BLE001 - a bug that shows with one image must not stop the others
                logger().exception("internal_error", image=str(order.image))
                order.problem = repr(error)
            order.state = "failed" if order.problem else "done"
            if order.problem:
                logger().warning("warm_failed", image=str(order.image), problem=order.problem)
            self._forget_old()

    def _forget_old(self) -> None:
        over = [one for one in self._orders if one.state in ("done", "failed")]
        for one in over[:-MOST_SHOWN]:
            self._orders.remove(one)
