"""Ask an upstream on a caller's behalf: once for all who ask the same, and remembering what the answer proves.

An answer proves the caller's right to the repository; a 401 or 403 withdraws it, and so does a 404 for what the
repository is known to hold. Not here: what is asked.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from hubferry.core.errors import OciError
from hubferry.ports import Clock, UpstreamFailure
from hubferry.pull.fetch import unreachable
from hubferry.pull.flights import Flights
from hubferry.pull.rights import Rights, repository_of
from hubferry.pull.target import Target, Witness

T = TypeVar("T")
REFUSALS = frozenset({401, 403})


class Proofs:
    """Questions to upstreams."""

    def __init__(self, rights: Rights, flights: Flights, clock: Clock) -> None:
        self._rights = rights
        self._flights = flights
        self._clock = clock

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
        *,
        is_held: bool = False,
    ) -> T:
        """Ask once for all who ask the same; `witness` is who answered, None: nobody was asked.

        `is_held`: the repository is known to hold what is asked for.
        """
        key = (repository_of(target), target.credential, question)
        return await self._flights.once(key, lambda: self.ask_now(target, ask, witness, is_held=is_held))

    async def ask_now(
        self,
        target: Target,
        ask: Callable[[], Awaitable[T]],
        witness: Callable[[T], Witness | None] = lambda _: "upstream",
        *,
        is_held: bool = False,
    ) -> T:
        """Ask the upstream, and note what its answer says about rights; an answer that nobody gets is closed."""
        asked_at = self._clock.time()
        try:
            async with self._rights.marked(target):
                found = await ask()
        except UpstreamFailure as error:
            raise unreachable(target.origin.name, error) from error
        except OciError as error:
            if error.status in REFUSALS or (error.status == 404 and is_held):
                await self._rights.refuse(target)
            raise
        try:
            if (who := witness(found)) is not None:
                await self._rights.prove(target, asked_at, who)
        except BaseException:  # whoever asked left meanwhile
            await _close(found)
            raise
        return found


async def _close(found: object) -> None:
    """Give back the body of an answer that is not delivered, if it has one."""
    close = getattr(getattr(found, "body", None), "close", None)
    if close is not None:
        await close()
