"""Ask an upstream on a caller's behalf: once for all who ask the same, and remembering what the answer proves.

An answer proves the caller's right to the repository; a 401 or 403 withdraws it. Not here: what is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

from hubferry.core.errors import OciError
from hubferry.ports import UpstreamFailure
from hubferry.pull.fetch import Target, unreachable
from hubferry.pull.rights import Rights, repository_of

T = TypeVar("T")


class Proofs:
    """Questions to upstreams that are under way."""

    def __init__(self, rights: Rights) -> None:
        self._rights = rights
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def joined(self, target: Target, question: Hashable) -> object:
        """The answer to what is being asked for this caller already; None when it is not. Raises OciError."""
        task = self._under_way.get((repository_of(target), target.credential, question))
        return None if task is None else await asyncio.shield(task)

    async def once(
        self,
        target: Target,
        question: Hashable,
        ask: Callable[[], Awaitable[T]],
        proves: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Ask once for all who ask the same."""
        key = (repository_of(target), target.credential, question)
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self.ask_now(target, ask, proves))
            task.add_done_callback(lambda done: self._asked(key, done))
        return cast("T", await asyncio.shield(task))

    def _asked(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def ask_now(
        self, target: Target, ask: Callable[[], Awaitable[T]], proves: Callable[[T], bool] = lambda _: True
    ) -> T:
        """Ask the upstream, and note what its answer says about rights."""
        try:
            found = await ask()
        except UpstreamFailure as error:
            raise unreachable(target.origin.name, error) from error
        except OciError as error:
            if error.status in (401, 403):
                await self._rights.note(target, may=False)
            raise
        if proves(found):
            await self._rights.note(target, may=True)
        return found
