"""Who may have what is kept of a repository: the one place that decides it, from rows that all processes share.

    right        whose                 proven by                             lasts
    pull         everybody's           an anonymous answer of the upstream   `public_ttl`, then it is due
    mirror       everybody's           a mirror's, in the upstream's place   the same
    pull         a login's             the upstream's answer to that login   RIGHT_S
    list         either                its tag list                          the same; opens nothing else
    login        (a mark)              something was fetched for a login, or closed to everybody
    absent TAG   either (no right)     404 for a kept tag                    until the tag is confirmed
    begun DIGEST (a mark)              the beginning of a blob               until all of it came

What is due is asked about before it is given, and given all the same when the upstream fails: after an hour in an
outage a public image is still one. After a refusal (401, 403, or 404 for what is held) never: that withdraws the right.
Proofs count from when the question was asked. The gateway's own account stands for everybody.

A mirror is asked anonymously and may hold another repository of the same name. So its word opens a repository only to
anonymous clients, and only while nothing of it was fetched for a credential that the upstream has not also shown
everybody; and nobody's private repository is asked of a mirror.

Not here: which repository holds what (the index; docs/design.md, "Rights").
"""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from enum import Enum, auto

from hubferry.core.access import Identities
from hubferry.core.errors import OciError
from hubferry.ports import Clock, Index, Repository, UpstreamFailure
from hubferry.pull.lately import Lately
from hubferry.pull.target import Target, Witness

RIGHT_S = 300.0
RENEWED_S = 10.0  # a right is not written down again so soon
DEFERRED_S = 30.0  # an upstream that failed is not asked again about what is due
PULL, MIRROR, LIST, LOGIN = "pull", "mirror", "list", "login"
EVERYBODY = ""


class Right(Enum):
    """What a caller may have of a repository without a question to its upstream."""

    PROVEN = auto()
    DUE = auto()  # it is asked first; while it fails, the caller may
    NONE = auto()

    @property
    def covers(self) -> bool:
        """Whether what is kept may be given in place of an upstream's failure."""
        return self is not Right.NONE


class Revision:
    """A number that becomes another one whenever answers that were given from what is kept may have changed."""

    def __init__(self, withdrawals: Callable[[], int] = lambda: 0) -> None:
        """`withdrawals` is the index's number, which other processes change."""
        self._withdrawals = withdrawals
        self._changes = 0

    @property
    def number(self) -> int:
        """The number as it is now."""
        return (self._withdrawals() << 32) + self._changes

    def advance(self) -> None:
        """Make every reusable answer of this process that was given so far one that may not be given again."""
        self._changes += 1


class Rights:
    """Rights to repositories, as upstreams last proved or refused them."""

    def __init__(
        self,
        index: Index,
        clock: Clock,
        revision: Revision,
        *,
        identities: Identities,
        public_ttl_s: float,
        believes_mirrors: bool = True,
    ) -> None:
        """`identities` names logins; `believes_mirrors` False: for an index that may forget what is behind a login."""
        self._index = index
        self._clock = clock
        self._identities = identities
        self._public_ttl_s = public_ttl_s
        self._deferred: Lately[float] = Lately()
        self._fetching: Counter[Repository] = Counter()  # for logins
        self._closed: Lately[bool] = Lately()  # repositories of which nothing is kept, and that the upstream refused
        self.revision = revision
        self.believes_mirrors = believes_mirrors

    async def of(self, target: Target) -> Right:
        """This caller's right to pull from the target's repository."""
        repository, who = repository_of(target), self.who(target)
        right = self._judge(await self._index.right(repository, PULL, who), target)
        if right is Right.NONE and target.is_anonymous and target.origin.settings.mirrors:
            proven_at = await self._index.right(repository, MIRROR, who)
            if proven_at is not None and not await self._is_behind_login(repository):
                right = self._judge(proven_at, target)
        return right

    async def to_list(self, target: Target) -> Right:
        """This caller's right to the kept tag list: of whoever may pull, and of whoever was shown the list itself."""
        right = await self.of(target)
        if right is Right.PROVEN:
            return right
        listed = self._judge(await self._index.right(repository_of(target), LIST, self.who(target)), target)
        return right if listed is Right.NONE else listed

    async def note_list(self, target: Target, asked_at: float, *, may: bool) -> None:
        """Remember whether the upstream just showed this caller its tag list.

        That opens nothing else, and a refusal closes nothing else: registries may allow the one and not the other.
        """
        if may:
            await self._put(target, LIST, asked_at)
        else:
            await self._index.withdraw_right(repository_of(target), LIST, self.who(target))

    async def may_ask_mirrors(self, target: Target) -> bool:
        """Whether mirrors may speak for the upstream: what it shows everybody, or nobody has fetched with a login."""
        repository = repository_of(target)
        if not target.origin.settings.mirrors:
            return False
        if await self._index.right(repository, PULL, EVERYBODY) is not None:
            return True
        return target.is_anonymous and not await self._is_behind_login(repository)

    @contextlib.asynccontextmanager
    async def marked(self, target: Target) -> AsyncIterator[None]:
        """Mark the repository while, and after, something of it is fetched for a login.

        The mark goes when that fails and nothing of the repository is kept: made-up names leave nothing behind.
        """
        repository = repository_of(target)
        if target.is_anonymous:
            yield
            return
        self._fetching[repository] += 1
        try:
            if await self._index.right(repository, LOGIN, EVERYBODY) is None:
                await self._index.put_right(repository, LOGIN, EVERYBODY, self._clock.time(), is_empty=True)
            yield
        except (OciError, UpstreamFailure):
            if self._fetching[repository] == 1:  # the last that is being fetched
                await self._index.forget_right(repository, LOGIN, EVERYBODY, only_empty=True)
            raise
        finally:
            self._fetching[repository] -= 1
            if not self._fetching[repository]:
                del self._fetching[repository]

    async def prove(self, target: Target, asked_at: float, witness: Witness = "upstream") -> None:
        """Remember that the upstream, or a mirror in its place, showed this caller what was asked for at `asked_at`."""
        repository = repository_of(target)
        if witness == "mirror":
            if target.is_anonymous and self.believes_mirrors:
                await self._put(target, MIRROR, asked_at)
            return
        is_renewed = await self._put(target, PULL, asked_at)
        if not target.is_anonymous:
            if is_renewed:  # another process may have removed the mark for something that it failed to fetch
                await self._index.put_right(repository, LOGIN, EVERYBODY, self._clock.time())
            return
        self._closed.drop(repository)
        if await self._index.right(repository, LOGIN, EVERYBODY) is not None:
            await self._index.forget_right(repository, LOGIN, EVERYBODY)

    async def settle(self, target: Target, asked_at: float, witness: Witness) -> None:
        """Write down what `prove` may only have remembered, because something of the repository is kept now."""
        repository = repository_of(target)
        if not target.is_anonymous:
            await self._index.put_right(repository, LOGIN, EVERYBODY, self._clock.time())
        if witness == "upstream" or (target.is_anonymous and self.believes_mirrors):
            about = PULL if witness == "upstream" else MIRROR
            await self._index.put_right(repository, about, self.who(target), asked_at)

    async def refuse(self, target: Target) -> None:
        """The upstream just refused this caller (401, 403), or says that it has not what it held (404)."""
        repository = repository_of(target)
        lost = await self._index.withdraw_right(repository, PULL, self.who(target))
        if target.is_anonymous:
            lost = await self._index.withdraw_right(repository, MIRROR, EVERYBODY) or lost
            # what it refuses stays closed to mirrors until it says otherwise itself
            if lost:
                await self._index.put_right(repository, LOGIN, EVERYBODY, self._clock.time())
            else:
                self._closed.put(repository, True)
        if lost:  # afterwards: who asked before it was withdrawn must not be remembered as asked after it
            self.revision.advance()

    async def note_absent(self, target: Target, tag: str) -> None:
        """Remember that a caller who might pull was told that a kept tag does not exist."""
        await self._index.put_right(repository_of(target), f"absent {tag}", self.who(target), self._clock.time())

    async def is_absent(self, target: Target, tag: str, confirmed_at: float) -> bool:
        """Whether this caller was told so after the tag was last confirmed, by whomever."""
        told_at = await self._index.right(repository_of(target), f"absent {tag}", self.who(target))
        return told_at is not None and told_at > confirmed_at

    async def note_begun(self, target: Target, digest: str) -> None:
        """Remember, for every process, that the upstream began to give a blob for this repository."""
        begun = repository_of(target), f"begun {digest}", EVERYBODY
        await self._index.put_right(*begun, self._clock.time(), is_empty=True)

    async def has_begun(self, target: Target, digest: str) -> bool:
        """Whether it did; of use while the blob is on its way."""
        return await self._index.right(repository_of(target), f"begun {digest}", EVERYBODY) is not None

    async def note_ended(self, target: Target, digest: str) -> None:
        """Forget it, because all of it came."""
        await self._index.forget_right(repository_of(target), f"begun {digest}", EVERYBODY)

    def defer(self, target: Target) -> None:
        """The upstream failed when it was asked about what is due: it is not asked again for a while."""
        self._deferred.put((repository_of(target), self.who(target)), self._clock.monotonic() + DEFERRED_S)

    def who(self, target: Target) -> str:
        """Whose right it is: empty for everybody."""
        if target.is_anonymous or target.credential is None:
            return EVERYBODY
        return self._identities.name(target.credential)

    def _judge(self, proven_at: float | None, target: Target) -> Right:
        if proven_at is None:
            return Right.NONE
        age_s = self._clock.time() - proven_at
        if not target.is_anonymous:
            return Right.PROVEN if 0 <= age_s < RIGHT_S else Right.NONE
        if 0 <= age_s < self._public_ttl_s:
            return Right.PROVEN
        until = self._deferred.get((repository_of(target), EVERYBODY))
        return Right.PROVEN if until is not None and self._clock.monotonic() < until else Right.DUE

    async def _put(self, target: Target, about: str, asked_at: float) -> bool:
        """Whether it was not proven just before."""
        repository, who = repository_of(target), self.who(target)
        known_at = await self._index.right(repository, about, who)
        if known_at is not None and 0 <= asked_at - known_at < min(RENEWED_S, self._public_ttl_s / 4):
            return False
        await self._index.put_right(repository, about, who, asked_at)
        return True

    async def _is_behind_login(self, repository: Repository) -> bool:
        if await self._index.right(repository, LOGIN, EVERYBODY) is not None:
            return True
        return self._closed.get(repository) is not None


def repository_of(target: Target) -> Repository:
    """The key of what is kept about a target's repository."""
    return Repository(target.origin.name, target.repository)
