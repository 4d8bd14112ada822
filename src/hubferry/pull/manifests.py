"""Manifests from what is kept, as far as that may answer.

A tag within its TTL costs no upstream request for a caller whose right is proven; otherwise it costs a HEAD, and a GET
by digest only for content that is not there. Whatever many ask at the same moment is asked once. When the upstream
fails, a kept tag answers instead and says so; when it refuses (401, 403, 404), never. Nobody with a kept tag waits long
for an upstream that is silent, and while it is down nobody but one request in a while asks it. For a proven right,
content under a digest is served without asking. As an upstream's limit is used up, TTLs stretch (core/quota.py).

A repository gives only what it is known to hold, because its bytes came from there, to whom it was proven to be open
(rights.py). A HEAD says what a tag means, and proves a caller's right; never that content which is here may be given.
Length and type of what is kept are decided from its bytes: what a HEAD said of them is only believed of what is not
here. A caller's 404 hides a kept tag from that caller alone.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TypeVar

from hubferry.core import headers as head
from hubferry.core.access import credential_bytes
from hubferry.core.bounded import MAX_REMEMBERED, BoundedMap
from hubferry.core.errors import Asked, Code, OciError, StorageRefusal, relay_error
from hubferry.core.freshness import Freshness, Timing, decide_freshness, may_cover
from hubferry.core.manifest import KNOWN, ManifestProblem, decide_kept_media_type, has_digest
from hubferry.core.quota import stretched_ttl_s
from hubferry.core.reference import is_digest
from hubferry.core.rights import Right
from hubferry.ports.content import ContentStore, StoreFailure
from hubferry.ports.index import Index, ManifestInfo, Repository, TagEntry
from hubferry.pull.absences import Absences
from hubferry.pull.proofs import Proofs
from hubferry.pull.results import EVERY_MANIFEST, ManifestQuery, ManifestResult, Outcome
from hubferry.pull.rights import repository_of
from hubferry.pull.services import Instruments
from hubferry.remote.manifests import RemoteManifests
from hubferry.remote.parsing import parsed
from hubferry.remote.refusals import unusable
from hubferry.remote.target import AnsweredBy, Target

NO_MANIFEST = ""  # in the place of a type
REUSABLE_S = 1.0  # also how far what is noted of a last use, or another process's news, may lag behind
CONVERSIONS_BYTES = 16 * 2**20  # of all that is remembered of conversions
CONVERSION_BYTES = 1000  # of one beside its caller's credential
SAVING = "not asked: little is left of the upstream's limit"

# a manifest, with its content if that is how it was learned
Learned = TypeVar("Learned", tuple[ManifestInfo, bytes], tuple[ManifestInfo, bytes | None])


@dataclass(frozen=True, slots=True)
class _KeptTag:
    """What is kept of a tag for one caller: does it answer, and if not, does it cover a failure, with `content`?"""

    entry: TagEntry | None
    age_s: float
    ttl_s: float
    right: Right
    may_answer: bool
    covers: bool
    content: bytes | None

    @property
    def is_past_ttl(self) -> bool:
        """Return whether the tag is older than its TTL; when it answers then, that spares the upstream's limit."""
        return self.age_s >= self.ttl_s


@dataclass(frozen=True, slots=True)
class _Conversion:
    """What an upstream had for clients that cannot read what a tag means (None: nothing), in monotonic seconds."""

    described: ManifestInfo | None
    asked_at: float


class KeptManifests:
    """A ManifestSource that answers from kept tags and manifests, and asks the upstream for the rest."""

    def __init__(
        self,
        upstream: RemoteManifests,
        index: Index,
        store: ContentStore,
        proofs: Proofs,
        instruments: Instruments,
        *,
        timing: Timing,
    ) -> None:
        self._upstream = upstream
        self._index = index
        self._store = store
        self._rights = proofs.rights
        self._clock = instruments.clock
        self._log = instruments.log
        self._metrics = instruments.metrics
        self._timing = timing
        self._ttl_s = lru_cache(MAX_REMEMBERED)(timing.ttl_s)  # patterns cost more than the rest of an answer
        self._proofs = proofs
        self._absences = Absences(instruments.clock)
        self._conversions: BoundedMap[_Conversion] = BoundedMap(most_bytes=CONVERSIONS_BYTES)
        # tags whose new content is not here yet, by that: what they mean now
        self._moved: BoundedMap[tuple[str, TagEntry]] = BoundedMap()
        self._types: BoundedMap[str] = BoundedMap()  # of content, decided once

    async def find(self, target: Target, query: ManifestQuery) -> ManifestResult:
        repository = repository_of(target)
        absence = self._absences.find(target, query.reference)
        if absence is not None:
            raise absence
        if is_digest(query.reference):
            return await self._by_digest(target, repository, query)
        return await self._by_tag(target, repository, query)

    async def _by_tag(self, target: Target, repository: Repository, query: ManifestQuery) -> ManifestResult:
        kept = await self._look_up(target, repository, query)
        entry, is_fetched = kept.entry, False
        try:
            if entry is not None and kept.may_answer:
                self._store.touch(entry.manifest.digest)
                described, content = entry.manifest, kept.content
                outcome = Outcome("stale", SAVING, kept.age_s) if kept.is_past_ttl else Outcome("hit")
            else:
                described, content, outcome = await self._ask_what_it_means(target, repository, query, kept)
            if not head.accepts(query.accept, described.media_type):
                return await self._converted(target, query, described)
            if query.wants_content and content is None:
                described, content, is_fetched = await self._content_of(target, described, is_covered=kept.covers)
                outcome = replace(outcome, name="miss") if is_fetched else outcome
        except OciError as error:
            if entry is None or not kept.covers or not may_cover(error):
                raise
            if not head.accepts(query.accept, entry.manifest.media_type):
                raise  # what its client cannot read covers nothing
            self._log.warning("stale", {"upstream": repository.upstream, "problem": error.message})
            return ManifestResult(
                entry.manifest, kept.content, Outcome("stale", error.message, kept.age_s, failure=error)
            )
        is_hit = kept.may_answer and not kept.is_past_ttl and not is_fetched
        reusable_s = min(REUSABLE_S, kept.ttl_s - kept.age_s) if is_hit else 0.0
        return ManifestResult(described, content, outcome, reusable_s)

    async def _ask_what_it_means(
        self, target: Target, repository: Repository, query: ManifestQuery, kept: "_KeptTag"
    ) -> tuple[ManifestInfo, bytes | None, Outcome]:
        """What a tag means now, and its content if that is here or came along. Raises OciError."""
        entry = kept.entry
        async with self._upstream.limit_wait(target, is_covered=kept.covers):
            # the tag is not kept and no right of this caller is known: a HEAD would only be one request more
            is_new = query.wants_content and entry is None and kept.right is Right.NONE
            described, content = await self._confirm(target, repository, query.reference, kept, is_new=is_new)
        if entry is None or entry.manifest.digest != described.digest:
            return described, content, Outcome("miss")
        return described, kept.content if content is None else content, Outcome("revalidated")

    async def _converted(self, target: Target, query: ManifestQuery, kept: ManifestInfo) -> ManifestResult:
        """What the upstream has for a client that cannot read what a tag means, such as docker before it knew OCI.

        It is asked once within the TTL for all who can read the same. Raises OciError.
        """
        repository, tag = repository_of(target), query.reference
        types = head.manifest_types(query.accept)
        if not types:
            raise OciError(
                404,
                Code.MANIFEST_UNKNOWN,
                f"{repository.upstream}/{repository.name}:{tag} is a manifest of type {kept.media_type}, which the "
                f"client does not accept: its Accept header has to name that type, or */*",
            )
        key = (repository, tag, kept.digest, types)
        # that there is none for one caller says nothing of another
        known = self._conversions.get(key) or self._conversions.get((key, target.credential))
        ttl_s = self._ttl_s(repository.upstream, repository.name, tag)
        age_s = 0.0 if known is None else self._clock.monotonic() - known.asked_at
        is_fresh = known is not None and age_s < ttl_s
        outcome = Outcome("hit" if is_fresh else "miss")
        described, content = (known.described, None) if known is not None and is_fresh else (None, None)
        if described is not None and query.wants_content:
            content = await self._kept(repository, described)
        if not is_fresh or (query.wants_content and described is not None and content is None):
            try:
                described, content = await self._convert(target, query, key, types)
            except OciError as error:
                if known is None or known.described is None or not may_cover(error):
                    raise
                if age_s > self._timing.stale_if_error_s:
                    raise
                described, content = known.described, await self._kept(repository, known.described)
                if query.wants_content and content is None:
                    raise
                outcome = Outcome("stale", error.message, age_s, error)
        if described is not None and content is not None:
            described = await self._decide(described, content)
        if described is None:
            raise relay_error(404, (), Asked(repository.upstream, repository.name, tag))
        return ManifestResult(described, content, outcome)

    async def _convert(
        self, target: Target, query: ManifestQuery, key: Hashable, types: Sequence[str]
    ) -> tuple[ManifestInfo | None, bytes | None]:
        """Ask the upstream for a manifest of one of these types; None when it has none. Raises OciError."""
        tag, accept = query.reference, ", ".join(types)

        async def ask() -> tuple[ManifestInfo | None, bytes | None, AnsweredBy | None]:
            try:
                if not query.wants_content:
                    described = await self._upstream.describe(target, tag, accept)
                    if described is not None and described.media_type in KNOWN:
                        return described, None, "mirror" if described.by_mirror else "upstream"
                described, content = await self._fetch(target, repository_of(target), tag, accept)
            except OciError as error:
                if error.status != 404:
                    raise
                return None, None, None  # which proves nothing
            return described, content, "mirror" if described.by_mirror else "upstream"

        asked = ("convert", query.wants_content, key)
        described, content, _ = await self._proofs.once(target, asked, ask, lambda found: found[2])
        found = _Conversion(described, self._clock.monotonic())
        if described is None:
            of_caller = credential_bytes(target.credential)
            self._conversions.put((key, target.credential), found, CONVERSION_BYTES + of_caller)
        else:
            self._conversions.put(key, found, CONVERSION_BYTES)
        return described, content

    async def _look_up(self, target: Target, repository: Repository, query: ManifestQuery) -> "_KeptTag":
        tag = query.reference
        right = await self._rights.of(target)
        entry = await self._index.tag(repository, tag)
        if entry is not None and await self._rights.is_absent(target, tag, entry.confirmed_at):
            entry = None
        age_s = 0.0 if entry is None else self._clock.time() - entry.confirmed_at
        ttl_s = self._ttl_s(repository.upstream, repository.name, tag)
        stale_s = self._timing.stale_if_error_s
        stretched_s = stretched_ttl_s(ttl_s, self._upstream.quota_left(target), stale_s)
        content = None
        if right.covers and entry is not None:
            content = await self._kept(repository, entry.manifest)
            manifest = await self._decide(entry.manifest, content)
            entry = None if manifest is None else replace(entry, manifest=manifest)
        is_fresh = decide_freshness(None if entry is None else age_s, stretched_s) is Freshness.FRESH
        may_answer = right is Right.PROVEN and is_fresh
        covers = right.covers and entry is not None and age_s <= stale_s
        # a HEAD may have been all that was asked for it
        covers = covers and (content is not None or not query.wants_content)
        return _KeptTag(
            entry, age_s=age_s, ttl_s=ttl_s, right=right, may_answer=may_answer, covers=covers, content=content
        )

    async def _kept(self, repository: Repository, described: ManifestInfo) -> bytes | None:
        """The content of a manifest, if it is here and the repository is known to hold it."""
        if not described.is_held and await self._index.manifest(repository, described.digest) is None:
            return None
        return await self._store.read(described.digest)

    async def _by_digest(self, target: Target, repository: Repository, query: ManifestQuery) -> ManifestResult:
        digest = query.reference
        described = await self._index.manifest(repository, digest)
        right = await self._rights.of(target)
        content: bytes | None = None
        outcome = Outcome("miss" if described is None else "hit" if right is Right.PROVEN else "revalidated")
        is_hit = described is not None and right is Right.PROVEN
        if described is None or right is not Right.PROVEN:
            # what is not held is fetched, whether or not it is here for others
            is_held, is_fetched = described is not None, described is None and query.wants_content
            learn = self._fetch if is_fetched else self._learn
            try:
                async with self._upstream.limit_wait(target, is_covered=is_held and right.covers):
                    described, content = await self._ask_once(
                        target,
                        digest,
                        lambda: learn(target, repository, digest),
                        is_held=is_held,
                        wants_content=is_fetched,
                    )
            except OciError as error:
                if described is None or not right.covers or not may_cover(error):
                    raise
                self._rights.defer(target)
                outcome = Outcome("stale", error.message, failure=error)
        if query.wants_content and content is None:
            described, content, is_fetched = await self._content_of(target, described)
            if is_fetched:
                outcome, is_hit = Outcome("miss", outcome.problem), False
        else:
            described = await self._usable(target, described, content or await self._kept(repository, described))
        reusable_s = REUSABLE_S if is_hit else 0.0
        return ManifestResult(described, content, outcome, reusable_s)

    async def _confirm(
        self, target: Target, repository: Repository, tag: str, kept: _KeptTag, *, is_new: bool
    ) -> tuple[ManifestInfo, bytes | None]:
        """Ask the upstream what a tag means now, once for everybody who asks with the same credential.

        Its content comes along if that is how it was learned.
        """
        entry = kept.entry

        async def confirm() -> tuple[ManifestInfo, bytes | None]:
            learn = self._fetch if is_new else self._learn
            described, content = await learn(target, repository, tag)
            if not described.by_mirror or self._rights.believes_mirrors:
                await self._note_tag(repository, tag, TagEntry(described, self._clock.time()), entry)
            if entry is not None and entry.manifest.digest != described.digest:
                self._rights.revision.advance()
            return described, content

        # a 404 for a tag that nobody ever saw means nothing
        is_kept = entry is not None and kept.right.covers
        try:
            return await self._ask_once(target, tag, confirm, is_held=is_kept)
        except OciError as error:
            if error.status == 404 and is_kept and not isinstance(error, StorageRefusal):
                await self._rights.note_absent(target, tag)
                self._rights.revision.advance()
            raise

    async def _note_tag(self, repository: Repository, tag: str, now: TagEntry, before: TagEntry | None) -> None:
        """Write down what a tag means now; while only its old content is here, not before the new content is as well.

        Until then the old content still covers a failure: upstreams that limit GETs often let HEADs through.
        """
        if before is not None and before.manifest.digest != now.manifest.digest:
            is_here = await self._kept(repository, now.manifest) is not None
            if not is_here and await self._kept(repository, before.manifest) is not None:
                self._moved.put((repository, now.manifest.digest), (tag, now))
                return
        await self._index.put_tag(repository, tag, now)

    async def _learn(self, target: Target, repository: Repository, reference: str) -> tuple[ManifestInfo, bytes | None]:
        """What a HEAD says, or a GET where there is none; what is known of the bytes goes before what a HEAD says."""
        described = await self._upstream.describe(target, reference, EVERY_MANIFEST)
        if described is not None:
            held = await self._index.manifest(repository, described.digest)
            described = described if held is None else replace(held, by_mirror=described.by_mirror)
            described = await self._decide(described, await self._kept(repository, described))
        if described is None:
            return await self._fetch(target, repository, reference)
        return described, None

    async def _decide(self, said: ManifestInfo, content: bytes | None) -> ManifestInfo | None:
        """A manifest as its verified content has it; without content what was `said`. None: it is no manifest."""
        if content is None:
            return said if said.media_type in KNOWN else None
        key = (said.digest, said.media_type)
        media_type = self._types.get(key)
        if media_type is None:
            try:
                media_type = await parsed(content, partial(decide_kept_media_type, said.media_type))
            except ManifestProblem:
                media_type = NO_MANIFEST
            self._types.put(key, media_type)
        if media_type == NO_MANIFEST:
            return None
        return replace(said, media_type=media_type, size_bytes=len(content))

    async def _fetch(
        self, target: Target, repository: Repository, reference: str, accept: str = EVERY_MANIFEST
    ) -> tuple[ManifestInfo, bytes]:
        described, content = await self._upstream.get(target, reference, accept)
        if not has_digest(content, described.digest):
            # schema 1: its digest is that of a part of it. What has another digest is never kept under this one, where
            # others find it
            return described, content
        try:
            await self._store.write(described.digest, content)
        except StoreFailure as error:  # the pull goes on, and the next one asks again
            self._log.warning("store_failed", {"problem": str(error)})
            self._metrics.store_failed()
        described = replace(described, is_held=True)
        self._types.put((described.digest, described.media_type), described.media_type)
        await self._index.put_manifest(repository, described)
        await self._note_moved(repository, described.digest)
        return described, content

    async def _note_moved(self, repository: Repository, digest: str) -> None:
        """Write down what a tag was found to mean, once that content is here and nothing newer is known of the tag."""
        moved = self._moved.get((repository, digest))
        if moved is None:
            return
        self._moved.drop((repository, digest))
        tag, now = moved
        known = await self._index.tag(repository, tag)
        if known is None or known.confirmed_at < now.confirmed_at:
            await self._index.put_tag(repository, tag, now)

    async def _content_of(
        self, target: Target, described: ManifestInfo, *, is_covered: bool = False
    ) -> tuple[ManifestInfo, bytes, bool]:
        """A manifest that this caller may have, its content, and whether that had to be fetched. Raises OciError."""
        repository = repository_of(target)
        kept = await self._kept(repository, described)
        if kept is not None:
            return await self._usable(target, described, kept), kept, False
        async with self._upstream.limit_wait(target, is_covered=is_covered):
            fetched = await self._ask_once(
                target, described.digest, lambda: self._fetch(target, repository, described.digest), wants_content=True
            )
        return *fetched, True

    async def _usable(self, target: Target, said: ManifestInfo, content: bytes | None) -> ManifestInfo:
        """Return what `_decide` returns. Raises OciError 502 for content that is no manifest."""
        described = await self._decide(said, content)
        if described is None:
            raise unusable(Asked(target.upstream.name, target.repository, said.digest), "it is no manifest")
        return described

    async def _ask_once(
        self,
        target: Target,
        reference: str,
        ask: Callable[[], Awaitable[Learned]],
        *,
        is_held: bool = False,
        wants_content: bool = False,
    ) -> Learned:
        """Ask the upstream once for all who ask the same, and remember for a while what it does not know."""

        async def run() -> Learned:
            try:
                return await ask()
            except OciError as error:
                if error.status == 404 and not isinstance(error, StorageRefusal):
                    self._absences.note(target, reference, error)
                raise

        def answered_by(found: Learned) -> AnsweredBy:
            return "mirror" if found[0].by_mirror else "upstream"

        return await self._proofs.once(target, (reference, wants_content), run, answered_by, is_held=is_held)
