"""What several requests want of an upstream at the same moment: done once for all of them, or by each.

On a server one task does it and everybody waits. On Cloudflare Workers a request may not wait for what another
request began (the runtime refuses I/O on behalf of another request), so there everybody does it alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")


class SingleFlight(Protocol):
    """Work that is being done, by key."""

    def find(self, key: Hashable) -> Awaitable[object] | None:
        """Return an awaitable of the work being done for a key, None when there is none; cancelling it ends no work."""

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `work`, or of the work already being done for the same key."""


class SharedTasks:
    """Does the work once, in a task that goes on when its first caller leaves; all others wait for it."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    def find(self, key: Hashable) -> Awaitable[object] | None:
        task = self._under_way.get(key)
        return None if task is None else asyncio.shield(task)

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(_run(work))
            task.add_done_callback(lambda done: self._landed(key, done))
        return cast("T", await asyncio.shield(task))

    def _landed(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone


class NoSharing:
    """Does the work once for each caller."""

    def find(self, key: Hashable) -> Awaitable[object] | None:  # noqa: ARG002 - nothing is ever under way
        return None

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002
        return await work()


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
