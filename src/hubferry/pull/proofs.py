"""Ask an upstream on a caller's behalf: once for all who ask the same, and remembering what the answer proves.

An answer proves the caller's right to the repository; a 401 or 403 withdraws it, and so does a 404 for what the
repository is known to hold; but not what a CDN says. Not here: what is asked.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from hubferry.core.errors import OciError, StorageRefusal
from hubferry.ports.shell import Clock
from hubferry.ports.upstream import UpstreamFailure
from hubferry.pull.rights import Rights, repository_of
from hubferry.remote.refusals import unreachable
from hubferry.remote.single_flight import SingleFlight
from hubferry.remote.target import AnsweredBy, Target

T = TypeVar("T")
REFUSALS = frozenset({401, 403})


class Proofs:
    """Asks upstreams for callers, and keeps their rights up to date with the answers."""

    def __init__(self, rights: Rights, single_flight: SingleFlight, clock: Clock) -> None:
        self.rights = rights
        self._single_flight = single_flight
        self._clock = clock

    async def joined(self, target: Target, question: Hashable) -> object:
        """Wait for the same question of another request with the same credential, and return its answer.

        None: nobody is asking it. Raises OciError.
        """
        under_way = self._single_flight.find((repository_of(target), target.credential, question))
        return None if under_way is None else await under_way

    async def once(
        self,
        target: Target,
        question: Hashable,
        ask: Callable[[], Awaitable[T]],
        answered_by: Callable[[T], AnsweredBy | None] = lambda _: "upstream",
        *,
        is_held: bool = False,
    ) -> T:
        """Ask once for all who ask the same; `answered_by` is who answered, None: that says nothing about the right.

        `is_held`: the repository is known to hold what is asked for.
        """
        key = (repository_of(target), target.credential, question)
        return await self._single_flight.once(key, lambda: self.ask_now(target, ask, answered_by, is_held=is_held))

    async def ask_now(
        self,
        target: Target,
        ask: Callable[[], Awaitable[T]],
        answered_by: Callable[[T], AnsweredBy | None] = lambda _: "upstream",
        *,
        is_held: bool = False,
    ) -> T:
        """Ask the upstream, and note what its answer says about rights; an answer that nobody gets is closed."""
        asked_at = self._clock.time()
        try:
            async with self.rights.marked(target):
                found = await ask()
        except UpstreamFailure as error:
            raise unreachable(target.upstream.name, error) from error
        except OciError as error:
            is_refusal = error.status in REFUSALS or (error.status == 404 and is_held)
            if is_refusal and not isinstance(error, StorageRefusal):
                await self.rights.refuse(target)
            raise
        try:
            if (who := answered_by(found)) is not None:
                await self.rights.prove(target, asked_at, who)
        except BaseException:  # whoever asked left meanwhile
            await _close(found)
            raise
        return found


async def _close(found: object) -> None:
    """Close the body of an answer that is not delivered, if it has one."""
    close = getattr(getattr(found, "body", None), "close", None)
    if close is not None:
        await close()
