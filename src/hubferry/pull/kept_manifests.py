"""Manifests from what is kept, as far as that may answer.

A tag within its TTL costs no upstream request; after that a HEAD, and a GET by digest only for content that is not
there. Whatever many ask at the same moment is asked once. When the upstream fails, a kept tag answers instead and
says so; when it refuses (401, 403, 404), never. Nobody with a kept tag waits long for an upstream that is silent, and
while it is down nobody but one request in a while asks it. Content under a digest is served without asking.
As an upstream's limit is used up, TTLs stretch (core/quota.py).

A repository gives only what it is known to hold, because its bytes came from there, to whom it was proven to be open
(rights.py). A HEAD says what a tag means, and proves a caller's right; never that content which is here may be given.
Length and type of what is kept are decided from its bytes: what a HEAD said of them is only believed of what is not
here. A caller's 404 hides a kept tag from that caller alone.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, TypeVar, cast

from hubferry.core import headers as head
from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.core.freshness import (
    Freshness,
    TtlRule,
    decide_freshness,
    decide_ttl,
    may_cover,
    stale_headers,
    ttl_rules,
)
from hubferry.core.http import Headers, Request
from hubferry.core.manifest import KNOWN, ManifestProblem, decide_kept_media_type
from hubferry.core.quota import stretched_ttl_s
from hubferry.core.reference import is_digest
from hubferry.core.settings import CacheSettings
from hubferry.ports import (
    Clock,
    ContentStore,
    Described,
    EventLog,
    Index,
    Metrics,
    Repository,
    StoreFailure,
    TagEntry,
    Uncounted,
)
from hubferry.pull.absences import Absences
from hubferry.pull.answer import Answer, Trail
from hubferry.pull.lately import MAX_REMEMBERED, Lately
from hubferry.pull.manifests import UpstreamManifests, manifest_answer, unusable
from hubferry.pull.parsing import parsed
from hubferry.pull.proofs import Proofs
from hubferry.pull.rights import Right, Rights, repository_of
from hubferry.pull.target import Target, Witness

NO_MANIFEST = ""  # in the place of a type
REUSABLE_S = 1.0  # also how far what is noted of a last use, or another process's news, may lag behind
SAVING = "not asked: little is left of the upstream's limit"
NATURAL = ", ".join(head.ACCEPT_MANIFESTS)  # a manifest as it was pushed, whatever the first client could read

# a manifest, with its content if that is how it was learned
Learned = TypeVar("Learned", tuple[Described, bytes], tuple[Described, bytes | None])


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how long a tag answers unasked, and for how long after its last confirmation it covers a failure.

    `ttl_rules` say the former of some images.
    """

    tag_ttl_s: float
    stale_if_error_s: float
    ttl_rules: tuple[TtlRule, ...] = ()

    def ttl_s(self, upstream: str, repository: str, tag: str) -> float:
        """How long this tag answers unasked."""
        return decide_ttl(f"{upstream}/{repository}", tag, self.ttl_rules, self.tag_ttl_s)


def timing_of(cache: CacheSettings) -> Timing:
    """The timing that settings ask for."""
    return Timing(cache.tag_ttl.seconds, cache.stale_if_error.seconds, ttl_rules(cache.tag_ttls))


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
    def is_saving(self) -> bool:
        """Whether it only answers to save what is left of the upstream's limit."""
        return self.age_s >= self.ttl_s


@dataclass(frozen=True, slots=True)
class _Conversion:
    """What an upstream had for clients that cannot read what a tag means (None: nothing), in monotonic seconds."""

    described: Described | None
    asked_at: float


class KeptManifests:
    """A ManifestSource in front of UpstreamManifests."""

    def __init__(
        self,
        upstream: UpstreamManifests,
        index: Index,
        store: ContentStore,
        rights: Rights,
        timing: Timing,
        *,
        proofs: Proofs,
        clock: Clock,
        log: EventLog,
        metrics: Metrics | None = None,
    ) -> None:
        self._upstream = upstream
        self._index = index
        self._store = store
        self._rights = rights
        self._clock = clock
        self._log = log
        self._metrics = metrics or Uncounted()
        self._timing = timing
        self._ttl_s = lru_cache(MAX_REMEMBERED)(timing.ttl_s)  # patterns cost more than the rest of an answer
        self._proofs = proofs
        self._absences = Absences(clock)
        self._conversions: Lately[_Conversion] = Lately()
        self._types: Lately[str] = Lately()  # of content, decided once

    async def answer(self, request: Request, target: Target, reference: str, trail: Trail) -> Answer:
        """See ManifestSource."""
        repository = repository_of(target)
        absence = self._absences.find((repository, reference, target.credential))
        if absence is not None:
            raise absence
        wants_body = request.method == "GET"
        if is_digest(reference):
            return await self._digest(request, target, repository, reference, trail)
        kept = await self._look_up(target, repository, reference, wants_body=wants_body)
        entry, extra = kept.entry, cast("Headers", ())
        content: bytes | None = None
        try:
            if entry is not None and kept.may_answer:
                self._store.touch(entry.manifest.digest)
                described, content, trail.outcome = entry.manifest, kept.content, "hit"
                if kept.is_saving:
                    trail.outcome, extra = "stale", stale_headers(kept.age_s, repository.upstream)
                    trail.problem = SAVING
            else:
                async with self._upstream.patience(target, is_covered=kept.covers):
                    # who was never shown anything of it has nothing kept either: a HEAD would only be one request more
                    is_new = wants_body and entry is None and kept.right is Right.NONE
                    described, content = await self._confirm(target, repository, reference, kept, is_new=is_new)
                known = entry is not None and entry.manifest.digest == described.digest
                if known and content is None:
                    content = kept.content
                trail.outcome = "revalidated" if known else "miss"
            if not head.accepts(request.headers, described.media_type):
                return await self._converted(request, target, reference, described, trail)
            if wants_body and content is None:
                described, content = await self._body(target, described, trail, is_covered=kept.covers)
        except OciError as error:
            if entry is None or not kept.covers or not may_cover(error):
                raise
            described, content, extra = entry.manifest, kept.content, stale_headers(kept.age_s, repository.upstream)
            trail.outcome, trail.problem = "stale", error.message
            self._log.warning("stale", {"upstream": repository.upstream, "problem": error.message})
        reusable_s = min(REUSABLE_S, kept.ttl_s - kept.age_s) if trail.outcome == "hit" else 0.0
        return replace(manifest_answer(request, described, content, extra), reusable_s=reusable_s)

    async def _converted(self, request: Request, target: Target, tag: str, kept: Described, trail: Trail) -> Answer:
        """What the upstream has for a client that cannot read what a tag means, such as docker before it knew OCI.

        It is asked once within the TTL for all who can read the same. Raises OciError.
        """
        repository = repository_of(target)
        types = head.manifest_types(request.headers)
        if not types:
            raise OciError(
                404,
                Code.MANIFEST_UNKNOWN,
                f"{repository.upstream}/{repository.name}:{tag} is a manifest of type {kept.media_type}, which the "
                f"client does not accept: its Accept header has to name that type, or */*",
            )
        key = (repository, tag, kept.digest, types)
        known = self._conversions.get(key)
        ttl_s = self._ttl_s(repository.upstream, repository.name, tag)
        is_fresh = known is not None and self._clock.monotonic() - known.asked_at < ttl_s
        trail.outcome = "hit" if is_fresh else "miss"
        described, content = (known.described, None) if known is not None and is_fresh else (None, None)
        if described is not None and request.method == "GET":
            content = await self._kept(repository, described)
        if not is_fresh or (request.method == "GET" and described is not None and content is None):
            try:
                described, content = await self._convert(request, target, tag, key, types)
            except OciError as error:
                if known is None or known.described is None or not may_cover(error):
                    raise
                described, content = known.described, await self._kept(repository, known.described)
                if request.method == "GET" and content is None:
                    raise
                trail.outcome, trail.problem = "stale", error.message
        if described is not None and content is not None:
            described = await self._decide(described, content)
        if described is None:
            raise relay_error(404, (), Asked(repository.upstream, repository.name, tag))
        return manifest_answer(request, described, content)

    async def _convert(
        self, request: Request, target: Target, tag: str, key: Hashable, types: Sequence[str]
    ) -> tuple[Described | None, bytes | None]:
        """Ask the upstream for a manifest of one of these types; None when it has none. Raises OciError."""
        accept = ", ".join(types)

        async def ask() -> tuple[Described | None, bytes | None, Witness | None]:
            try:
                if request.method == "HEAD":
                    described = await self._upstream.describe(target, tag, accept)
                    if described is not None and described.media_type in KNOWN:
                        return described, None, "mirror" if described.by_mirror else "upstream"
                described, content = await self._fetch(target, repository_of(target), tag, accept)
            except OciError as error:
                if error.status != 404:
                    raise
                return None, None, None  # which proves nothing
            return described, content, "mirror" if described.by_mirror else "upstream"

        asked = ("convert", request.method, key)
        described, content, _ = await self._proofs.once(target, asked, ask, lambda found: found[2])
        self._conversions.put(key, _Conversion(described, self._clock.monotonic()))
        return described, content

    async def _look_up(self, target: Target, repository: Repository, tag: str, *, wants_body: bool) -> "_KeptTag":
        right = await self._rights.of(target)
        entry = await self._index.tag(repository, tag)
        if entry is not None and await self._rights.is_absent(target, tag, entry.confirmed_at):
            entry = None
        age_s = 0.0 if entry is None else self._clock.time() - entry.confirmed_at
        ttl_s = self._ttl_s(repository.upstream, repository.name, tag)
        stale_s = self._timing.stale_if_error_s
        stretched_s = stretched_ttl_s(ttl_s, self._upstream.share(target), stale_s)
        content = None
        if right.covers and entry is not None:
            content = await self._kept(repository, entry.manifest)
            manifest = await self._decide(entry.manifest, content)
            entry = None if manifest is None else replace(entry, manifest=manifest)
        is_fresh = decide_freshness(None if entry is None else age_s, stretched_s) is Freshness.FRESH
        may_answer = right is Right.PROVEN and is_fresh
        covers = right.covers and entry is not None and age_s <= stale_s
        # a HEAD may have been all that was asked for it
        covers = covers and (content is not None or not wants_body)
        return _KeptTag(
            entry, age_s=age_s, ttl_s=ttl_s, right=right, may_answer=may_answer, covers=covers, content=content
        )

    async def _kept(self, repository: Repository, described: Described) -> bytes | None:
        """The content of a manifest, if it is here and the repository is known to hold it."""
        if not described.is_held and await self._index.manifest(repository, described.digest) is None:
            return None
        return await self._store.read(described.digest)

    async def _digest(
        self, request: Request, target: Target, repository: Repository, digest: str, trail: Trail
    ) -> Answer:
        described = await self._index.manifest(repository, digest)
        right = await self._rights.of(target)
        content: bytes | None = None
        trail.outcome = "miss" if described is None else "hit" if right is Right.PROVEN else "revalidated"
        if described is None or right is not Right.PROVEN:
            # what is not held is fetched, whether or not it is here for others
            is_held, is_fetched = described is not None, described is None and request.method == "GET"
            learn = self._fetch if is_fetched else self._learn
            key = (repository, digest, target.credential, "body" if is_fetched else "")
            try:
                async with self._upstream.patience(target, is_covered=is_held and right.covers):
                    learned = await self._guarded(
                        target, key, lambda: learn(target, repository, digest), is_held=is_held
                    )
                described, content = learned
            except OciError as error:
                if described is None or not right.covers or not may_cover(error):
                    raise
                self._rights.defer(target)
                trail.outcome, trail.problem = "stale", error.message
        if request.method == "GET" and content is None:
            described, content = await self._body(target, described, trail)
        else:
            described = await self._usable(target, described, content or await self._kept(repository, described))
        reusable_s = REUSABLE_S if trail.outcome == "hit" else 0.0
        return replace(manifest_answer(request, described, content), reusable_s=reusable_s)

    async def _confirm(
        self, target: Target, repository: Repository, tag: str, kept: _KeptTag, *, is_new: bool
    ) -> tuple[Described, bytes | None]:
        """Ask the upstream what a tag means now, once for everybody who asks with the same credential.

        Its content comes along if that is how it was learned.
        """
        entry = kept.entry

        async def confirm() -> tuple[Described, bytes | None]:
            learn = self._fetch if is_new else self._learn
            described, content = await learn(target, repository, tag)
            if not described.by_mirror or self._rights.believes_mirrors:
                await self._index.put_tag(repository, tag, TagEntry(described, self._clock.time()))
            if entry is not None and entry.manifest.digest != described.digest:
                self._rights.revision.advance()
            return described, content

        # a 404 for a tag that nobody ever saw means nothing
        is_kept = entry is not None and kept.right.covers
        try:
            return await self._guarded(target, (repository, tag, target.credential), confirm, is_held=is_kept)
        except OciError as error:
            if error.status == 404 and is_kept:
                await self._rights.note_absent(target, tag)
                self._rights.revision.advance()
            raise

    async def _learn(self, target: Target, repository: Repository, reference: str) -> tuple[Described, bytes | None]:
        """What a HEAD says, or a GET where there is none; what is known of the bytes goes before what a HEAD says."""
        described = await self._upstream.describe(target, reference, NATURAL)
        if described is not None:
            held = await self._index.manifest(repository, described.digest)
            described = described if held is None else replace(held, by_mirror=described.by_mirror)
            described = await self._decide(described, await self._kept(repository, described))
        if described is None:
            return await self._fetch(target, repository, reference)
        return described, None

    async def _decide(self, said: Described, content: bytes | None) -> Described | None:
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
        self, target: Target, repository: Repository, reference: str, accept: str = NATURAL
    ) -> tuple[Described, bytes]:
        manifest, witness = await self._upstream.get(target, reference, accept)
        if not isinstance(manifest.body, bytes):
            raise TypeError("only a shell that reads manifests can keep them")
        described = Described(manifest.digest, manifest.media_type, len(manifest.body), by_mirror=witness == "mirror")
        try:
            await self._store.write(manifest.digest, manifest.body)
        except StoreFailure as error:  # the pull goes on, and the next one asks again
            self._log.warning("store_failed", {"problem": str(error)})
            self._metrics.store_failed()
        described = replace(described, is_held=True)
        self._types.put((manifest.digest, manifest.media_type), manifest.media_type)
        await self._index.put_manifest(repository, described)
        return described, manifest.body

    async def _body(
        self, target: Target, described: Described, trail: Trail, *, is_covered: bool = False
    ) -> tuple[Described, bytes]:
        """A manifest that this caller may have, and its content: what is kept, or its upstream's. Raises OciError."""
        kept = await self._kept(repository_of(target), described)
        if kept is not None:
            return await self._usable(target, described, kept), kept
        trail.outcome = "miss"
        repository = repository_of(target)
        key = (repository, described.digest, target.credential, "body")
        async with self._upstream.patience(target, is_covered=is_covered):
            return await self._guarded(target, key, lambda: self._fetch(target, repository, described.digest))

    async def _usable(self, target: Target, said: Described, content: bytes | None) -> Described:
        """As `_decide`. Raises OciError 502 for what is no manifest."""
        described = await self._decide(said, content)
        if described is None:
            raise unusable(Asked(target.origin.name, target.repository, said.digest), "it is no manifest")
        return described

    async def _guarded(
        self, target: Target, key: Any, ask: Callable[[], Awaitable[Learned]], *, is_held: bool = False
    ) -> Learned:
        """Ask the upstream once for all who ask the same, and remember for a while what it does not know."""

        async def run() -> Learned:
            try:
                return await ask()
            except OciError as error:
                if error.status == 404:
                    self._absences.note(key[:3], error)
                raise

        def witness(found: Learned) -> Witness:
            return "mirror" if found[0].by_mirror else "upstream"

        return await self._proofs.once(target, key, run, witness, is_held=is_held)
