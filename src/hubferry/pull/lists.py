"""Lists from what is kept of them: the tags of a repository, and what refers to a digest.

A list, or its absence, answers like a tag: within its TTL without asking, then once for all who ask, and for
`stale_if_error` in place of an upstream that fails, never in place of its 401, 403 or 404. Its body is content like any
other. Three things are special to what refers to a digest:

    the list of every type is kept   it answers for each type as well, as it would from a registry that knows no filter
    401 or 403                       withdraws nothing: registries without this endpoint answer so to everybody
    nothing is known of it, its      `unknown_referrers`: "absent" says that nothing does, so that the pull of a kept
    subject is kept, and the         image goes on; "error" relays the failure, for those who would rather not run an
    upstream fails                   image than run it unverified

A list of what refers to a digest, or its absence, is written down only where that digest is kept, tagged, listed, or
named by a kept manifest: digests that strangers make up are remembered for moments. Not here: what the upstream is
asked (remote/lists.py), to whom a list may be shown (rights.py), the tags in its place (referrers.py).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TypeVar

from hubferry.core.bounded import MAX_REMEMBERED
from hubferry.core.errors import OciError, relay_error
from hubferry.core.freshness import Freshness, Timing, decide_freshness, may_cover
from hubferry.core.rights import Right
from hubferry.ports.content import ContentStore, StoreFailure
from hubferry.ports.index import BlobIndex, ListEntry
from hubferry.pull.absences import Absences
from hubferry.pull.proofs import Proofs
from hubferry.pull.results import ListResult, Outcome
from hubferry.pull.rights import repository_of
from hubferry.pull.services import Instruments
from hubferry.remote.lists import MAX_LIST, ListContent, ListQuery, RemoteLists
from hubferry.remote.target import AnsweredBy, Target

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of a list for one caller: whether it answers, and if not, whether it covers a failure.

    `content` None with `covers`: nothing is known of it, and it may be taken for absent.
    """

    content: ListContent | None = None
    digest: str = ""
    age_s: float = 0.0
    answers: bool = False
    covers: bool = False


class KeptLists:
    """A ListSource that answers from kept lists, and asks the upstream (RemoteLists) when they are too old."""

    def __init__(
        self,
        upstream: RemoteLists,
        index: BlobIndex,
        store: ContentStore,
        proofs: Proofs,
        instruments: Instruments,
        *,
        timing: Timing,
        unknown_referrers_are_absent: bool,
    ) -> None:
        """With `unknown_referrers_are_absent` an unknown list counts as absent while the upstream fails."""
        self._upstream = upstream
        self._index = index
        self._store = store
        self._rights = proofs.rights
        self._timing = timing
        self._ttl_s = lru_cache(MAX_REMEMBERED)(timing.ttl_s)
        self._proofs = proofs
        self._unknown_are_absent = unknown_referrers_are_absent
        self._clock = instruments.clock
        self._log = instruments.log
        self._absences = Absences(instruments.clock)

    async def find(self, target: Target, query: ListQuery) -> ListResult:

        async def ask(kept_digest: str) -> ListResult:
            content, digest = await self._ask(target, query)
            return ListResult(content, Outcome("revalidated" if digest and digest == kept_digest else "miss"))

        return await self.find_or_ask(target, query, ask)

    async def find_or_ask(self, target: Target, query: ListQuery, ask: Callable[[str], Awaitable[T]]) -> T | ListResult:
        """What is kept of a list if that answers, else what `ask` gives, else what is kept if that covers the failure.

        `ask` is told the digest of what is kept, empty when nothing is. Raises OciError.
        """
        kept = await self._look_up(target, query)
        if kept.content is not None and kept.answers:
            return ListResult(kept.content, Outcome("hit"))
        absence = self._absences.find(target, query.name)
        if absence is not None:
            return ListResult(ListContent(absence=absence), Outcome("hit"))
        try:
            async with self._upstream.limit_wait(target, is_covered=kept.covers):
                return await ask(kept.digest)
        except OciError as error:
            if not kept.covers or not may_cover(error):
                raise
            upstream = target.upstream.name
            if kept.content is not None:
                self._log.warning("stale", {"upstream": upstream, "problem": error.message})
                return ListResult(kept.content, Outcome("stale", error.message, kept.age_s, error))
            guess = f"it is not known what refers to {query.subject}, answered as if nothing did"
            problem = f"{guess} (cache.unknown_referrers): {error.message}"
            self._log.warning("unknown_referrers", {"upstream": upstream, "problem": problem})
            absent = ListContent(absence=_absence(target, query))
            return ListResult(absent, Outcome("stale", problem, failure=error, guess=guess))

    async def note_absence(self, target: Target, query: ListQuery, error: OciError) -> ListContent:
        """Remember an upstream's 404: for everybody if it is about what is kept and this caller may have it."""
        self._absences.note(target, query.name, error)
        is_gone = not query.subject and await self._index.list_entry(repository_of(target), query.name) is not None
        if (is_gone and (await self._rights.to_list(target)).covers) or await self.is_held(target, query):
            entry = ListEntry("", self._clock.time())
            await self._index.put_list(repository_of(target), query.name, query.subject, entry)
        return ListContent(absence=error.anew())

    async def _look_up(self, target: Target, query: ListQuery) -> _Kept:
        right = await self._right(target, query)
        if right is Right.NONE:
            return _Kept()
        repository = repository_of(target)
        best: ListEntry | None = None
        for name in dict.fromkeys((query.name, query.whole or query.name)):
            entry = await self._index.list_entry(repository, name)
            if entry is not None and (name == query.name or not entry.next_last):
                best = entry if best is None else max(best, entry, key=lambda one: one.confirmed_at)
        listed = None if best is None else await self._read(target, query, best)
        if best is None or listed is None:
            is_guess = self._unknown_are_absent and bool(query.whole)
            return _Kept(covers=is_guess and await self.is_held(target, query))
        age_s = self._clock.time() - best.confirmed_at
        ttl_s = self._ttl_s(repository.upstream, repository.name, "")
        return _Kept(
            listed,
            best.digest,
            age_s,
            answers=right is Right.PROVEN and decide_freshness(age_s, ttl_s) is Freshness.FRESH,
            covers=age_s <= self._timing.stale_if_error_s,
        )

    async def _read(self, target: Target, query: ListQuery, entry: ListEntry) -> ListContent | None:
        """Return a kept list with its body, None when the body is gone."""
        if not entry.digest:
            return ListContent(absence=_absence(target, query))
        body = await self._store.read(entry.digest, MAX_LIST)
        if body is None:
            return None
        # it was checked when it was kept, and has the digest that it had then
        return ListContent(body, entry.media_type, entry.filters, entry.next_last)

    async def _right(self, target: Target, query: ListQuery) -> Right:
        return await (self._rights.of(target) if query.subject else self._rights.to_list(target))

    async def is_held(self, target: Target, query: ListQuery) -> bool:
        """Whether this caller may have what a list is about: a manifest that is kept, tagged, or named by what is kept.

        Some clients (oras) ask what refers to a manifest before they ask for that, of which they know by a HEAD.
        """
        if not query.subject or not (await self._rights.of(target)).covers:
            return False
        repository = repository_of(target)
        if await self._index.manifest(repository, query.subject) is not None:
            return True
        if await self._index.is_tagged(repository, query.subject):
            return True
        if await self._index.parent_of(repository, query.subject) is not None:
            return True
        return await self._index.is_listed(repository, query.subject)

    async def _ask(self, target: Target, query: ListQuery) -> tuple[ListContent, str]:
        """Ask the upstream, once for all who ask; the list, and the digest it is kept under. Raises OciError."""

        async def ask() -> tuple[ListContent | OciError, str]:
            asked_at = self._clock.time()
            try:
                listed, answered_by = await self._upstream.ask(target, query)
            except OciError as error:
                if error.status not in (401, 403):
                    raise
                if not query.subject:
                    await self._rights.note_list(target, asked_at, may=False)
                return error.anew(), ""
            if listed.absence is not None:
                return await self.note_absence(target, query, listed.absence), ""
            digest = await self._keep(target, query, listed, answered_by)
            if not query.subject and answered_by == "upstream":
                await self._rights.note_list(target, asked_at, may=True)
            return listed, digest

        listed, digest = await self._proofs.once(target, ("list", query.name), ask, lambda _: None)
        if isinstance(listed, OciError):
            raise listed.anew()
        return listed, digest

    async def _keep(self, target: Target, query: ListQuery, listed: ListContent, answered_by: AnsweredBy) -> str:
        """The digest under which a list is kept now; empty when it is not."""
        if answered_by == "mirror" and not self._rights.believes_mirrors:
            return ""
        if query.subject and not await self.is_held(target, query):
            return ""  # strangers can make up as many digests as they like
        digest = f"sha256:{sha256(listed.body).hexdigest()}"
        try:
            await self._store.write(digest, listed.body)
        except StoreFailure as error:  # the pull goes on, and the next one asks again
            self._log.warning("store_failed", {"upstream": target.upstream.name, "problem": str(error)})
            return ""
        entry = ListEntry(digest, self._clock.time(), listed.media_type, listed.filters, listed.next_last)
        await self._index.put_list(repository_of(target), query.name, query.subject, entry)
        return digest


def _absence(target: Target, query: ListQuery) -> OciError:
    """Return the 404 for a list that the upstream does not have."""
    return relay_error(404, (), query.asked_of(target))
