"""Who may have what is kept of a repository.

An anonymous client may have what the upstream showed an anonymous client (or the gateway's own account, which stands
for them); one with a credential, what the upstream showed that credential within RIGHT_S. What the upstream refuses
(401, 403) is withdrawn at once. The former is kept in the index, because it has to hold while the upstream is away;
the latter only in memory.
"""

from collections import OrderedDict

from hubferry.core.access import Credential
from hubferry.ports import Clock, Index, Repository
from hubferry.pull.target import Target

RIGHT_S = 300.0
MAX_REMEMBERED = 10_000


class Revision:
    """Counts what may change answers that were given from what is kept."""

    def __init__(self) -> None:
        self.number = 0

    def advance(self) -> None:
        """Something did."""
        self.number += 1


class Rights:
    """Rights to repositories, as upstreams last proved or refused them."""

    def __init__(self, index: Index, clock: Clock, revision: Revision) -> None:
        self._index = index
        self._clock = clock
        self.revision = revision
        self._proven: OrderedDict[tuple[Repository, Credential], float] = OrderedDict()

    async def may(self, target: Target) -> bool:
        """Whether this caller's right to the target's repository is proven."""
        repository = repository_of(target)
        if target.is_anonymous:
            return await self._index.is_public(repository)
        proven_at = self._proven.get((repository, target.credential or Credential("", "")))
        return proven_at is not None and self._clock.monotonic() - proven_at < RIGHT_S

    async def note(self, target: Target, *, may: bool) -> None:
        """Remember what the upstream just said to this caller."""
        await self._note(target, may=may)
        if not may:  # afterwards: who asked before it was noted must not be remembered as asked after it
            self.revision.advance()

    async def _note(self, target: Target, *, may: bool) -> None:
        repository = repository_of(target)
        if target.is_anonymous:
            await self._index.set_public(repository, public=may)
            return
        key = (repository, target.credential or Credential("", ""))
        self._proven.pop(key, None)
        if may:
            self._proven[key] = self._clock.monotonic()
            if len(self._proven) > MAX_REMEMBERED:
                self._proven.popitem(last=False)


def repository_of(target: Target) -> Repository:
    """The key of what is kept about a target's repository."""
    return Repository(target.origin.name, target.repository)
