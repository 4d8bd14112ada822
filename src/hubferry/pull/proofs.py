"""Ask an upstream on a caller's behalf: once for all who ask the same, and remembering what the answer proves.

An answer proves the caller's right to the repository; a 401 or 403 withdraws it. Not here: what is asked.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from hubferry.core.errors import OciError
from hubferry.ports import UpstreamFailure
from hubferry.pull.fetch import unreachable
from hubferry.pull.flights import Flights
from hubferry.pull.rights import Rights, repository_of
from hubferry.pull.target import Target, Witness

T = TypeVar("T")


class Proofs:
    """Questions to upstreams."""

    def __init__(self, rights: Rights, flights: Flights) -> None:
        self._rights = rights
        self._flights = flights

    async def joined(self, target: Target, question: Hashable) -> object:
        """The answer to what is being asked for this caller already; None when it is not. Raises OciError."""
        under_way = self._flights.find((repository_of(target), target.credential, question))
        return None if under_way is None else await under_way

    async def once(
        self,
        target: Target,
        question: Hashable,
        ask: Callable[[], Awaitable[T]],
        witness: Callable[[T], Witness | None] = lambda _: "upstream",
    ) -> T:
        """Ask once for all who ask the same; `witness` is who answered, None: nobody was asked."""
        key = (repository_of(target), target.credential, question)
        return await self._flights.once(key, lambda: self.ask_now(target, ask, witness))

    async def ask_now(
        self,
        target: Target,
        ask: Callable[[], Awaitable[T]],
        witness: Callable[[T], Witness | None] = lambda _: "upstream",
    ) -> T:
        """Ask the upstream, and note what its answer says about rights."""
        await self._rights.prepare(target)
        try:
            found = await ask()
        except UpstreamFailure as error:
            raise unreachable(target.origin.name, error) from error
        except OciError as error:
            if error.status in (401, 403):
                await self._rights.note(target, may=False)
            raise
        if (who := witness(found)) is not None:
            await self._rights.note(target, may=True, witness=who)
        return found
