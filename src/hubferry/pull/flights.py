"""What several requests want of an upstream at the same moment: done once for all of them, or by each.

On a server one task does it and everybody waits. On Cloudflare Workers a request may not wait for what another
request began (the runtime refuses I/O on behalf of another request), so there everybody does it alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")


class Flights(Protocol):
    """Work under way, by key."""

    def find(self, key: Hashable) -> Awaitable[object] | None:
        """The result of what is under way, if it is; whoever waits may leave without ending it."""

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, or of the same already under way."""


class SharedFlights:
    """One task for all who want the same; it outlives whoever asked first."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    def find(self, key: Hashable) -> Awaitable[object] | None:
        """See Flights."""
        task = self._under_way.get(key)
        return None if task is None else asyncio.shield(task)

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """See Flights."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(_run(work))
            task.add_done_callback(lambda done: self._landed(key, done))
        return cast("T", await asyncio.shield(task))

    def _landed(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone


class SoloFlights:
    """Everybody works alone."""

    def find(self, key: Hashable) -> Awaitable[object] | None:  # noqa: ARG002 - nothing is ever under way
        """See Flights."""
        return None

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002
        """See Flights."""
        return await work()


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
