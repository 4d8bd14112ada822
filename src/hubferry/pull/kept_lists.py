"""Lists from what is kept of them: the tags of a repository, and what refers to a digest.

A list, or its absence, answers like a tag: within its TTL without asking, then once for all who ask, and for
`stale_if_error` in place of an upstream that fails, never in place of its 401, 403 or 404. Its body is content like any
other. Three things are special to what refers to a digest:

    the list of every type is kept   it answers for each type as well, as it would from a registry that knows no filter
    401 or 403                       withdraws nothing: registries without this endpoint answer so to everybody
    nothing is known of it, its      `unknown_referrers`: "absent" says that nothing does, so that the pull of a kept
    subject is kept, and the         image goes on; "error" relays the failure, for those who would rather not run an
    upstream fails                   image than run it unverified

A list of what refers to a digest, or its absence, is written down only where that digest is kept or listed: what
strangers make up is remembered for moments. Not here: what the upstream is asked (lists.py), to whom it may be shown
(rights.py), the tags in the place of such lists (referrers.py).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from typing import TypeVar

from hubferry.core.errors import OciError, relay_error
from hubferry.core.freshness import Freshness, decide_freshness, may_cover, stale_headers, warning
from hubferry.ports import BlobIndex, Clock, ContentStore, EventLog, ListEntry, StoreFailure
from hubferry.pull.absences import Absences
from hubferry.pull.answer import Trail
from hubferry.pull.fetch import Fetcher
from hubferry.pull.kept_manifests import Timing
from hubferry.pull.lately import MAX_REMEMBERED
from hubferry.pull.lists import MAX_LIST, Listed, UpstreamLists, Wanted
from hubferry.pull.proofs import Proofs
from hubferry.pull.rights import Right, Rights, repository_of
from hubferry.pull.target import Target, Witness

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of a list for one caller: whether it answers, and if not, whether it covers a failure.

    `listed` None with `covers`: nothing is known of it, and it may be taken for absent.
    """

    listed: Listed | None = None
    digest: str = ""
    age_s: float = 0.0
    answers: bool = False
    covers: bool = False


class KeptLists:
    """A ListSource in front of UpstreamLists."""

    def __init__(
        self,
        upstream: UpstreamLists,
        fetcher: Fetcher,
        index: BlobIndex,
        store: ContentStore,
        *,
        rights: Rights,
        timing: Timing,
        proofs: Proofs,
        unknown_referrers_are_absent: bool,
        clock: Clock,
        log: EventLog,
    ) -> None:
        """`unknown_referrers_are_absent`: what is answered where nothing is known and the upstream fails."""
        self._upstream = upstream
        self._fetcher = fetcher
        self._index = index
        self._store = store
        self._rights = rights
        self._timing = timing
        self._ttl_s = lru_cache(MAX_REMEMBERED)(timing.ttl_s)
        self._proofs = proofs
        self._unknown_are_absent = unknown_referrers_are_absent
        self._clock = clock
        self._log = log
        self._absences = Absences(clock)

    async def find(self, target: Target, wanted: Wanted, trail: Trail) -> Listed:
        """See ListSource."""

        async def ask(kept_digest: str) -> Listed:
            listed, digest = await self._ask(target, wanted)
            trail.outcome = "revalidated" if digest and digest == kept_digest else "miss"
            return listed

        return await self.settle(target, wanted, ask, trail)

    async def settle(
        self, target: Target, wanted: Wanted, ask: Callable[[str], Awaitable[T]], trail: Trail
    ) -> T | Listed:
        """What is kept of a list if that answers, else what `ask` gives, else what is kept if that covers the failure.

        `ask` is told the digest of what is kept, empty when nothing is. Raises OciError.
        """
        kept = await self._look_up(target, wanted)
        if kept.listed is not None and kept.answers:
            trail.outcome = "hit"
            return kept.listed
        absence = self._absences.find(_key(target, wanted))
        if absence is not None:
            trail.outcome = "hit"
            return Listed(absence=absence)
        try:
            async with self._fetcher.patience(target, is_covered=kept.covers):
                return await ask(kept.digest)
        except OciError as error:
            if not kept.covers or not may_cover(error):
                raise
            upstream = target.origin.name
            trail.outcome, trail.problem = "stale", error.message
            if kept.listed is not None:
                self._log.warning("stale", {"upstream": upstream, "problem": error.message})
                return replace(kept.listed, extra=stale_headers(kept.age_s, upstream))
            problem = f"it is not known what refers to {wanted.subject}, answered as if nothing did"
            trail.problem = f"{problem} (cache.unknown_referrers): {error.message}"
            self._log.warning("unknown_referrers", {"upstream": upstream, "problem": trail.problem})
            extra = (warning(f"{problem}, because {upstream} cannot be asked now"),)
            return Listed(absence=_absence(target, wanted), extra=extra)

    async def note_absence(self, target: Target, wanted: Wanted, error: OciError) -> Listed:
        """Remember an upstream's 404: for everybody if it is about what is kept and this caller may have it."""
        self._absences.note(_key(target, wanted), error)
        is_gone = not wanted.subject and await self._index.list_entry(repository_of(target), wanted.name) is not None
        if (is_gone and (await self._rights.to_list(target)).covers) or await self.is_held(target, wanted):
            entry = ListEntry("", self._clock.time())
            await self._index.put_list(repository_of(target), wanted.name, wanted.subject, entry)
        return Listed(absence=error.anew())

    async def _look_up(self, target: Target, wanted: Wanted) -> _Kept:
        right = await self._right(target, wanted)
        if right is Right.NONE:
            return _Kept()
        repository = repository_of(target)
        best: ListEntry | None = None
        for name in dict.fromkeys((wanted.name, wanted.whole or wanted.name)):
            entry = await self._index.list_entry(repository, name)
            if entry is not None and (name == wanted.name or not entry.next_last):
                best = entry if best is None else max(best, entry, key=lambda one: one.confirmed_at)
        listed = None if best is None else await self._read(target, wanted, best)
        if best is None or listed is None:
            is_guess = self._unknown_are_absent and bool(wanted.whole)
            return _Kept(covers=is_guess and await self.is_held(target, wanted))
        age_s = self._clock.time() - best.confirmed_at
        ttl_s = self._ttl_s(repository.upstream, repository.name, "")
        return _Kept(
            listed,
            best.digest,
            age_s,
            answers=right is Right.PROVEN and decide_freshness(age_s, ttl_s) is Freshness.FRESH,
            covers=age_s <= self._timing.stale_if_error_s,
        )

    async def _read(self, target: Target, wanted: Wanted, entry: ListEntry) -> Listed | None:
        """A kept list with its body, None when that is gone."""
        if not entry.digest:
            return Listed(absence=_absence(target, wanted))
        body = await self._store.read(entry.digest, MAX_LIST)
        if body is None:
            return None
        # it was checked when it was kept, and has the digest that it had then
        return Listed(body, entry.media_type, entry.filters, entry.next_last)

    async def _right(self, target: Target, wanted: Wanted) -> Right:
        return await (self._rights.of(target) if wanted.subject else self._rights.to_list(target))

    async def is_held(self, target: Target, wanted: Wanted) -> bool:
        """Whether this caller may have what a list is about: a manifest that is kept, tagged, or named by what is kept.

        Some clients (oras) ask what refers to a manifest before they ask for that, of which they know by a HEAD.
        """
        if not wanted.subject or not (await self._rights.of(target)).covers:
            return False
        repository = repository_of(target)
        if await self._index.manifest(repository, wanted.subject) is not None:
            return True
        if await self._index.is_tagged(repository, wanted.subject):
            return True
        if await self._index.index_of(repository, wanted.subject) is not None:
            return True
        return await self._index.is_listed(repository, wanted.subject)

    async def _ask(self, target: Target, wanted: Wanted) -> tuple[Listed, str]:
        """Ask the upstream, once for all who ask; the list, and the digest it is kept under. Raises OciError."""

        async def ask() -> tuple[Listed | OciError, str]:
            asked_at = self._clock.time()
            try:
                listed, witness = await self._upstream.ask(target, wanted)
            except OciError as error:
                if error.status not in (401, 403):
                    raise
                if not wanted.subject:
                    await self._rights.note_list(target, asked_at, may=False)
                return error.anew(), ""
            if listed.absence is not None:
                return await self.note_absence(target, wanted, listed.absence), ""
            digest = await self._keep(target, wanted, listed, witness)
            if not wanted.subject and witness == "upstream":
                await self._rights.note_list(target, asked_at, may=True)
            return listed, digest

        listed, digest = await self._proofs.once(target, ("list", wanted.name), ask, lambda _: None)
        if isinstance(listed, OciError):
            raise listed.anew()
        return listed, digest

    async def _keep(self, target: Target, wanted: Wanted, listed: Listed, witness: Witness) -> str:
        """The digest under which a list is kept now; empty when it is not."""
        if witness == "mirror" and not self._rights.believes_mirrors:
            return ""
        if wanted.subject and not await self.is_held(target, wanted):
            return ""  # strangers can make up as many digests as they like
        digest = f"sha256:{sha256(listed.body).hexdigest()}"
        try:
            await self._store.write(digest, listed.body)
        except StoreFailure as error:  # the pull goes on, and the next one asks again
            self._log.warning("store_failed", {"upstream": target.origin.name, "problem": str(error)})
            return ""
        entry = ListEntry(digest, self._clock.time(), listed.media_type, listed.filters, listed.next_last)
        await self._index.put_list(repository_of(target), wanted.name, wanted.subject, entry)
        return digest


def _key(target: Target, wanted: Wanted) -> tuple[object, ...]:
    return repository_of(target), wanted.name, target.credential


def _absence(target: Target, wanted: Wanted) -> OciError:
    """The 404 for a list that the upstream does not have."""
    return relay_error(404, (), wanted.asked_of(target))
