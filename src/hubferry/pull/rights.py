"""Whose right to a repository is proven, due or missing, from rows that all processes share.

    right        whose                 proven by                             lasts
    pull         everybody's           an anonymous answer of the upstream   `public_ttl`, then it is due
    mirror       everybody's           a mirror's, in the upstream's place   the same
    pull         a login's             the upstream's answer to that login   core.rights.RIGHT_S
    list         either                its tag list                          the same; opens nothing else
    login        (a mark)              something fetched for a login, or refused to all  until it is shown to everybody
    absent TAG   either (no right)     404 for a kept tag                    until the tag is confirmed
    begun DIGEST (a mark)              the beginning of a blob               until all of it came, or tidied later

What is due is asked about before it is given, and given all the same when the upstream fails: after an hour in an
outage a public image is still one. After a refusal (401, 403, or 404 for what is held) never: that withdraws the right.
Proofs count from when the question was asked. The gateway's own account stands for everybody.

A mirror is asked anonymously and may hold another repository of the same name. So its word opens a repository only to
anonymous clients, and only while nothing of it was fetched for a credential that the upstream has not also shown
everybody; and nobody's private repository is asked of a mirror.

Not here: which repository holds what (the index; docs/design.md, "Rights"), and what a right of some age is worth
(core/rights.py).
"""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable

from hubferry.core.access import Identities
from hubferry.core.bounded import BoundedMap
from hubferry.core.errors import OciError
from hubferry.core.rights import Right, judge_right
from hubferry.ports.index import Index, Repository
from hubferry.ports.shell import Clock
from hubferry.ports.upstream import UpstreamFailure
from hubferry.remote.target import AnsweredBy, Target

RENEWED_S = 10.0  # a right is not written down again so soon
DEFERRED_S = 30.0  # an upstream that failed is not asked again about what is due
PULL, MIRROR, LIST, LOGIN = "pull", "mirror", "list", "login"
EVERYBODY = ""


class Revision:
    """A number that becomes another one whenever answers that were given from what is kept may have changed."""

    def __init__(self, withdrawals: Callable[[], int] = lambda: 0) -> None:
        """`withdrawals` returns the index's count of withdrawn rights, which other processes change as well."""
        self._withdrawals = withdrawals
        self._changes = 0

    @property
    def number(self) -> int:
        """Return a number that differs from every earlier one when a reusable answer may no longer be right."""
        return (self._withdrawals() << 32) + self._changes

    def advance(self) -> None:
        """Make every reusable answer of this process that was given so far one that may not be given again."""
        self._changes += 1


class Rights:
    """Decides what callers may have of repositories, from what upstreams last proved or refused."""

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
        self._deferred: BoundedMap[float] = BoundedMap()
        self._fetching: Counter[Repository] = Counter()  # for logins
        self._closed: BoundedMap[bool] = (
            BoundedMap()
        )  # repositories of which nothing is kept, and that the upstream refused
        self.revision = revision
        self.believes_mirrors = believes_mirrors

    async def of(self, target: Target) -> Right:
        """Return this caller's right to pull from the target's repository."""
        repository, who = repository_of(target), self.who(target)
        right = self._judge(await self._index.right(repository, PULL, who), target)
        if right is Right.NONE and target.is_everybodys and target.upstream.settings.mirrors:
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
        if not target.upstream.settings.mirrors:
            return False
        if await self._index.right(repository, PULL, EVERYBODY) is not None:
            return True
        return target.is_everybodys and not await self._is_behind_login(repository)

    @contextlib.asynccontextmanager
    async def marked(self, target: Target) -> AsyncIterator[None]:
        """Mark the repository while, and after, something of it is fetched for a login.

        The mark goes when that fails and nothing of the repository is kept: made-up names leave nothing behind.
        """
        repository = repository_of(target)
        if target.is_everybodys:
            yield
            return
        self._fetching[repository] += 1
        try:
            if await self._index.right(repository, LOGIN, EVERYBODY) is None:
                await self._index.put_right(repository, LOGIN, EVERYBODY, self._clock.time(), even_if_nothing_kept=True)
            yield
        except (OciError, UpstreamFailure):
            if self._fetching[repository] == 1:  # the last that is being fetched
                await self._index.forget_right(repository, LOGIN, EVERYBODY, only_empty=True)
            raise
        finally:
            self._fetching[repository] -= 1
            if not self._fetching[repository]:
                del self._fetching[repository]

    async def prove(self, target: Target, asked_at: float, answered_by: AnsweredBy = "upstream") -> None:
        """Remember that the upstream, or a mirror in its place, showed this caller what was asked for at `asked_at`."""
        repository = repository_of(target)
        if answered_by == "mirror":
            if target.is_everybodys and self.believes_mirrors:
                await self._put(target, MIRROR, asked_at)
            return
        is_renewed = await self._put(target, PULL, asked_at)
        if not target.is_everybodys:
            if is_renewed:  # another process may have removed the mark for something that it failed to fetch
                await self._index.put_right(repository, LOGIN, EVERYBODY, self._clock.time())
            return
        self._closed.drop(repository)
        if await self._index.right(repository, LOGIN, EVERYBODY) is not None:
            await self._index.forget_right(repository, LOGIN, EVERYBODY)

    async def write_down(self, target: Target, asked_at: float, answered_by: AnsweredBy) -> None:
        """Write down what `prove` may only have remembered, because something of the repository is kept now."""
        repository = repository_of(target)
        if not target.is_everybodys:
            await self._index.put_right(repository, LOGIN, EVERYBODY, self._clock.time())
        if answered_by == "upstream" or (target.is_everybodys and self.believes_mirrors):
            about = PULL if answered_by == "upstream" else MIRROR
            await self._index.put_right(repository, about, self.who(target), asked_at)

    async def refuse(self, target: Target) -> None:
        """The upstream just refused this caller (401, 403), or says that it has not what it held (404)."""
        repository = repository_of(target)
        lost = await self._index.withdraw_right(repository, PULL, self.who(target))
        if target.is_everybodys:
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
        await self._index.put_right(*begun, self._clock.time(), even_if_nothing_kept=True)

    async def has_begun(self, target: Target, digest: str) -> bool:
        """Return whether the upstream began to give this blob for this repository; of use while it is being filled."""
        return await self._index.right(repository_of(target), f"begun {digest}", EVERYBODY) is not None

    async def note_ended(self, target: Target, digest: str) -> None:
        """Forget that a blob was begun, because all of it came."""
        await self._index.forget_right(repository_of(target), f"begun {digest}", EVERYBODY)

    def defer(self, target: Target) -> None:
        """Note that the upstream failed when it was asked about what is due: it is not asked again for DEFERRED_S.

        Meanwhile everybody's right counts as proven: what is kept is a hit, and not stale. A login's is never deferred.
        """
        self._deferred.put((repository_of(target), self.who(target)), self._clock.monotonic() + DEFERRED_S)

    def who(self, target: Target) -> str:
        """Return the caller's name in the index: empty for everybody, else the keyed hash of the login."""
        if target.is_everybodys or target.credential is None:
            return EVERYBODY
        return self._identities.name(target.credential)

    def _judge(self, proven_at: float | None, target: Target) -> Right:
        def is_deferred() -> bool:
            until = self._deferred.get((repository_of(target), EVERYBODY))
            return until is not None and self._clock.monotonic() < until

        return judge_right(
            None if proven_at is None else self._clock.time() - proven_at,
            is_everybodys=target.is_everybodys,
            public_ttl_s=self._public_ttl_s,
            is_deferred=is_deferred,
        )

    async def _put(self, target: Target, about: str, asked_at: float) -> bool:
        """Write a right down unless it was proven moments ago; return whether it was written."""
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
    """Return the key under which content of the target's repository is kept."""
    return Repository(target.upstream.name, target.repository)
