"""What several requests want of an upstream at the same moment: done once for all of them, or by each.

On a server one task does it and everybody waits. On Cloudflare Workers a request may not wait for what another
request began (the runtime refuses I/O on behalf of another request), so there everybody does it alone.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol, TypeVar, cast

MOST_LEFT = 256  # questions that go on although nobody waits for their answers

T = TypeVar("T")


class SingleFlight(Protocol):
    """Work that is being done, by key."""

    def find(self, key: Hashable) -> Awaitable[object] | None:
        """Return an awaitable of the work being done for a key, None when there is none; cancelling it ends no work."""

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `work`, or of the work already being done for the same key."""


class SharedTasks:
    """Does the work once, in a task that goes on when its callers leave: its result may still be of use.

    Of tasks that nobody waits for any more only the last MOST_LEFT go on. Clients that ask and hang up would otherwise
    have as many questions asked at a time as they like.
    """

    def __init__(self, most_left: int = MOST_LEFT) -> None:
        self._most_left = most_left
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}
        self._waiting: Counter[asyncio.Task[Any]] = Counter()
        self._left: dict[asyncio.Task[Any], Hashable] = {}  # that nobody waits for, and their keys; longest ago first

    def find(self, key: Hashable) -> Awaitable[object] | None:
        task = self._under_way.get(key)
        return None if task is None else self._wait(key, task)

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(_run(work))
            task.add_done_callback(lambda done: self._landed(key, done))
        return cast("T", await self._wait(key, task))

    async def _wait(self, key: Hashable, task: asyncio.Task[Any]) -> object:
        self._left.pop(task, None)
        self._waiting[task] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[task] -= 1
            if not self._waiting[task]:
                del self._waiting[task]
                if not task.done():
                    self._left[task] = key
                    self._end_the_oldest()

    def _end_the_oldest(self) -> None:
        if len(self._left) > self._most_left:
            task = next(iter(self._left))
            key = self._left.pop(task)
            if self._under_way.get(key) is task:  # whoever asks from now on begins anew
                del self._under_way[key]
            task.cancel()

    def _landed(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._left.pop(task, None)
        if self._under_way.get(key) is task:
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
