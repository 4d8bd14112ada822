"""Who may have what is kept of a repository.

An anonymous client may have what the upstream showed an anonymous client (or the gateway's own account, which stands
for them); one with a credential, what the upstream showed that credential within RIGHT_S. What the upstream refuses
(401, 403) is withdrawn at once. The former is kept in the index, because it has to hold while the upstream is away;
the latter only in memory.

A mirror is asked anonymously and may hold another repository of the same name. So its word opens a repository only to
anonymous clients, and only while nothing of it was fetched for a credential that the upstream has not also shown
everybody; and nobody's private repository is asked of a mirror.
"""

from collections import OrderedDict

from hubferry.core.access import Credential
from hubferry.ports import Clock, Index, Repository
from hubferry.pull.target import Target, Witness

RIGHT_S = 300.0
AT_MIRRORS = " at its mirrors"  # behind the upstream's name: the same for what mirrors show everybody
LISTS = " lists"  # the tag list, to whoever may not pull
BEHIND_LOGIN = " behind a login"  # something of it was fetched for somebody's credential, or was refused without one
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

    def __init__(self, index: Index, clock: Clock, revision: Revision, *, believes_mirrors: bool = True) -> None:
        """`believes_mirrors` False: for an index that may forget what is behind a login."""
        self._index = index
        self._clock = clock
        self.revision = revision
        self.believes_mirrors = believes_mirrors
        self._proven: OrderedDict[tuple[Repository, Credential], float] = OrderedDict()

    async def may(self, target: Target) -> bool:
        """Whether this caller's right to the target's repository is proven."""
        repository = repository_of(target)
        if target.is_anonymous:
            if await self._index.is_public(repository):
                return True
            return bool(target.origin.settings.mirrors) and await self._is_open_at_mirrors(repository)
        proven_at = self._proven.get((repository, target.credential or Credential("", "")))
        return proven_at is not None and self._clock.monotonic() - proven_at < RIGHT_S

    async def may_list(self, target: Target) -> bool:
        """Whether this caller may have the kept tag list: whoever may pull, and whoever was shown the list itself."""
        if await self.may(target):
            return True
        lists = _about(repository_of(target), LISTS)
        if target.is_anonymous:
            return await self._index.is_public(lists)
        proven_at = self._proven.get((lists, target.credential or Credential("", "")))
        return proven_at is not None and self._clock.monotonic() - proven_at < RIGHT_S

    async def note_list(self, target: Target, *, may: bool) -> None:
        """Remember whether the upstream just showed this caller its tag list, which opens nothing else.

        Registries may allow the one and not the other.
        """
        lists = _about(repository_of(target), LISTS)
        if target.is_anonymous:
            await self._index.set_public(lists, public=may)
            return
        self._note_proven((lists, target.credential or Credential("", "")), may=may)

    async def may_ask_mirrors(self, target: Target) -> bool:
        """Whether mirrors may speak for the upstream: what it shows everybody, or nobody has fetched with a login."""
        repository = repository_of(target)
        if not target.origin.settings.mirrors:
            return False
        if await self._index.is_public(repository):
            return True
        return target.is_anonymous and not await self._index.is_public(_about(repository, BEHIND_LOGIN))

    async def prepare(self, target: Target) -> None:
        """Something is about to be fetched for this caller."""
        repository = repository_of(target)
        if not target.is_anonymous and not await self._index.is_public(_about(repository, BEHIND_LOGIN)):
            await self._index.set_public(_about(repository, BEHIND_LOGIN), public=True)

    async def note(self, target: Target, *, may: bool, witness: Witness = "upstream") -> None:
        """Remember what the upstream, or a mirror in its place, just said to this caller."""
        if witness == "mirror":
            if may and target.is_anonymous and self.believes_mirrors:
                await self._index.set_public(_about(repository_of(target), AT_MIRRORS), public=True)
            return
        await self._note(target, may=may)
        if not may:  # afterwards: who asked before it was noted must not be remembered as asked after it
            self.revision.advance()

    async def _is_open_at_mirrors(self, repository: Repository) -> bool:
        return await self._index.is_public(_about(repository, AT_MIRRORS)) and not await self._index.is_public(
            _about(repository, BEHIND_LOGIN)
        )

    async def _note(self, target: Target, *, may: bool) -> None:
        repository = repository_of(target)
        if target.is_anonymous:
            await self._index.set_public(repository, public=may)
            # what it refuses stays closed to mirrors until it says otherwise itself
            if await self._index.is_public(_about(repository, BEHIND_LOGIN)) == may:
                await self._index.set_public(_about(repository, BEHIND_LOGIN), public=not may)
            if not may and await self._index.is_public(_about(repository, AT_MIRRORS)):
                await self._index.set_public(_about(repository, AT_MIRRORS), public=False)
            return
        self._note_proven((repository, target.credential or Credential("", "")), may=may)

    def _note_proven(self, key: tuple[Repository, Credential], *, may: bool) -> None:
        self._proven.pop(key, None)
        if may:
            self._proven[key] = self._clock.monotonic()
            if len(self._proven) > MAX_REMEMBERED:
                self._proven.popitem(last=False)


def _about(repository: Repository, what: str) -> Repository:
    return Repository(repository.upstream + what, repository.name)


def repository_of(target: Target) -> Repository:
    """The key of what is kept about a target's repository."""
    return Repository(target.origin.name, target.repository)
