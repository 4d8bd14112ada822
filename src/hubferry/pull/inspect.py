"""What an image is: platforms, sizes, layers and their commands, tags, and what refers to it; for pages and commands.

It asks as a client's pull does, of the same parts and with the right of the same caller, but nothing is fetched ahead.
What it costs upstream, at most, of what is not kept and fresh:

    image       a HEAD and a manifest, and a manifest for each index within an index (MAX_NESTED)
    platform    a manifest and a config; a page asks for the platform that it shows, not for all forty of an index
    tags        a list, in requests of up to MAX_PAGE tags
    referrers   a list, three HEADs (the tags of cosign), and where there is no list the tag in its place

A HEAD, a config and a list do not count for Docker Hub's limit of pulls; manifests do. While the upstream fails, what
is kept answers instead, with the reason as `problem`.
Not here: whether a caller may see an image at all (gateway/admission.py), and which of the tags.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hubferry.core.artifact_kinds import COSIGN_SUFFIXES, IMAGE
from hubferry.core.descriptors import Contents, Descriptor, parse_contents
from hubferry.core.errors import Asked, OciError
from hubferry.core.freshness import may_cover
from hubferry.core.image_config import (
    MAX_CONFIG,
    ConfigParts,
    ManifestParts,
    parse_annotations,
    parse_config,
    parse_manifest_parts,
    parse_referrers,
    with_commands,
)
from hubferry.core.image_details import (
    Attestation,
    ImageDetails,
    ImagePlatform,
    KeptTag,
    Layer,
    PlatformDetails,
    Referrer,
    TagList,
)
from hubferry.core.manifest import INDEXES, ManifestProblem, has_digest
from hubferry.core.reference import is_digest
from hubferry.core.referrers import referrers_tag
from hubferry.core.tag_order import SORTED_AT_ONCE, sort_tags
from hubferry.core.tags import MAX_PAGE, Page, parse_tags
from hubferry.ports.index import TagEntry
from hubferry.ports.upstream import Body, TooLarge, UpstreamFailure
from hubferry.pull.kept import KeptContent
from hubferry.pull.referrers import NO_LISTS
from hubferry.pull.results import (
    Absent,
    Asks,
    BlobQuery,
    ListResult,
    ManifestQuery,
    ManifestResult,
    Outcome,
)
from hubferry.pull.rights import Rights, repository_of
from hubferry.remote.lists import ListQuery, referrers_query, tags_query
from hubferry.remote.parsing import parsed
from hubferry.remote.refusals import unreachable, unusable
from hubferry.remote.target import Target, Upstream

T = TypeVar("T")
MAX_TAGS = 50_000
MAX_PAGES = 60
MAX_PLATFORMS = 200  # the largest official indexes have some thirty
MAX_NESTED = 5  # indexes within an index
LISTED_AT_ONCE = 4  # tag lists of one upstream: each may take some 20 MiB while it is read and sorted
MAX_SIZED = 64 * 2**10  # bytes of a kept manifest that is read for the size of a platform; most have a few thousand

ReadBody = Callable[[Body, int], Awaitable[bytes]]


@dataclass
class _Found:
    """The entries of an index and of the indexes in it."""

    platforms: list[ImagePlatform] = field(default_factory=list)
    attestations: list[Attestation] = field(default_factory=list)
    nested: int = 0
    is_cut: bool = False
    problems: list[str] = field(default_factory=list)


class Inspector:
    """Finds out what images are, for callers who may pull them."""

    def __init__(self, sources: Asks, kept: KeptContent, rights: Rights | None, read: ReadBody) -> None:
        """`read` reads a body to its end, up to a number of bytes, and closes it; it raises TooLarge."""
        self._sources = sources
        self._kept = kept
        self._rights = rights
        self._read = read
        self._turns: dict[str, asyncio.Semaphore] = {}

    async def image(self, target: Target, reference: str) -> ImageDetails:
        """Return what a tag or digest stands for. Raises OciError, also for what is no manifest.

        Sizes of platforms are known where their manifests are kept: none is fetched for that.
        """
        found, body = await self._manifest(target, reference)
        repository, digest = repository_of(target), found.info.digest
        entry = None if is_digest(reference) else await self._kept.tag(repository, reference)
        since = await self._kept.since(repository, digest)
        listed, kind = _Found(problems=[*_problem(found.outcome)]), IMAGE
        is_index = found.info.media_type in INDEXES
        if is_index:
            contents = await self._parsed(target, digest, body, parse_contents)
            await self._add_entries(target, contents, listed)
        else:
            parts = await self._parsed(target, digest, body, parse_manifest_parts)
            platform = None if parts.details is None else parts.details.platform
            kind, is_kept = parts.kind, since is not None
            listed.platforms.append(ImagePlatform(digest, platform, found.info.media_type, parts.size_bytes, is_kept))
        return ImageDetails(
            reference,
            digest,
            found.info.media_type,
            kind,
            tuple(listed.platforms),
            tuple(listed.attestations),
            await parsed(body, parse_annotations),
            confirmed_at=None if entry is None or entry.manifest.digest != digest else entry.confirmed_at,
            kept_since=since or None,
            is_index=is_index,
            is_kept=since is not None,
            is_cut=listed.is_cut,
            problem="; ".join(listed.problems),
        )

    async def platform(self, target: Target, image: ImagePlatform) -> PlatformDetails:
        """Return the layers and the config of one image of `image(...).platforms`. Raises OciError.

        A config that cannot be had leaves what it says unknown, with a `problem`.
        """
        found, body = await self._manifest(target, image.digest)
        parts = await self._parsed(target, image.digest, body, parse_manifest_parts)
        problems = [*_problem(found.outcome)]
        config = parts.details
        if parts.config is not None and parts.kind == IMAGE:
            try:
                config = await self._config(target, parts.config)
            except OciError as error:
                problems.append(error.message)
        layers = await self._layers(target, parts, config)
        return PlatformDetails(
            image.digest,
            parts.kind,
            image.platform or (None if config is None else config.platform),
            layers,
            size_bytes=parts.size_bytes,
            created_at=None if config is None else config.created_at,
            config=None if config is None else config.config,
            annotations=parts.annotations,
            is_kept=await self._is_whole(target, image.digest, parts, layers),
            problem="; ".join(problems),
        )

    async def tags(self, target: Target) -> TagList:
        """Return the tags of a repository, at most MAX_TAGS, the newest first.

        While the upstream fails and no list is kept, they are the tags that are known from pulls. Raises OciError.
        """
        if sys.platform == "emscripten":  # in the Worker no request may wait for another one
            return await self._tags(target)
        async with self._turns.setdefault(target.upstream.name, asyncio.Semaphore(LISTED_AT_ONCE)):
            return await self._tags(target)

    async def _tags(self, target: Target) -> TagList:
        tags: dict[str, None] = {}
        page, asked, problems, is_stale, is_cut = Page(None, ""), {""}, list[str](), False, False
        while True:
            try:
                found, listed = await self._tag_page(target, page)
            except OciError as error:
                if not tags:
                    return await self._known_tags(target, error)
                problems, is_cut = [error.message], True
                break
            tags |= dict.fromkeys(listed)
            is_stale = is_stale or found.outcome.name == "stale"
            problems = problems or [*_problem(found.outcome)]
            following = found.content.next_last
            is_cut = len(tags) > MAX_TAGS or (bool(following) and len(asked) == MAX_PAGES)
            if not following or following in asked or is_cut:
                break
            asked.add(following)
            page = Page(MAX_PAGE, following)  # the first one is asked for as most clients do, who have it kept
        known = await self._kept.tags_of(repository_of(target))
        kept = {tag: _kept_tag(entry) for tag, entry in known.items() if tag in tags}
        ordered = await _sorted(list(tags))
        return TagList(tuple(ordered[:MAX_TAGS]), kept, is_cut, is_stale, problems[0] if problems else "")

    async def kept_repositories(self, upstream: Upstream, words: str) -> list[str]:
        """Return kept repositories whose name contains a text, as far as they are open to everybody."""
        names = await self._kept.repositories(upstream.name, words)
        return sorted([name for name in names if await self._is_open(Target(upstream, name, upstream.account))])

    async def _is_open(self, target: Target) -> bool:
        return self._rights is not None and (await self._rights.of(target)).covers

    async def referrers(self, target: Target, digest: str) -> list[Referrer]:
        """Return what refers to a manifest: signatures, attestations, SBOMs. Raises OciError when nobody can say."""
        listed = await self._listed_referrers(target, digest)
        tags = [referrers_tag(digest) + suffix for suffix in COSIGN_SUFFIXES]
        found = await asyncio.gather(*(self._behind_tag(target, tag, content=False) for tag in tags))
        for tag, one in zip(tags, found, strict=True):
            if one is not None and one.info.digest not in {referrer.digest for referrer in listed}:
                kind = COSIGN_SUFFIXES[tag[tag.rindex(".") :]]
                listed.append(Referrer(one.info.digest, "", kind, one.info.size_bytes, tag))
        return listed

    async def _manifest(self, target: Target, reference: str) -> tuple[ManifestResult, bytes]:
        """Return a manifest and its content. Raises OciError."""
        found = await _reached(target, self._sources.manifests.find(target, ManifestQuery(reference)))
        if isinstance(found, Absent):
            raise found.refusal.anew()
        if found.content is None:
            raise AssertionError("content was asked for")
        return found, found.content

    async def _parsed(self, target: Target, digest: str, body: bytes, parse: Callable[[bytes], T]) -> T:
        try:
            return await parsed(body, parse)
        except ManifestProblem as problem:
            raise unusable(Asked(target.upstream.name, target.repository, digest), str(problem)) from None

    async def _add_entries(self, target: Target, contents: Contents, found: _Found) -> None:
        for entry in contents.manifests:
            if len(found.platforms) + len(found.attestations) >= MAX_PLATFORMS:
                found.is_cut = True
                return
            if entry.is_attestation:
                found.attestations.append(Attestation(entry.digest, entry.about, entry.size_bytes))
            elif entry.media_type not in INDEXES or not await self._add_nested(target, entry, found):
                found.platforms.append(await self._entry(target, entry))

    async def _add_nested(self, target: Target, entry: Descriptor, found: _Found) -> bool:
        """Add the entries of an index in an index; return whether they could be had."""
        if found.nested == MAX_NESTED:
            return False
        found.nested += 1
        try:
            _, body = await self._manifest(target, entry.digest)
            contents = await self._parsed(target, entry.digest, body, parse_contents)
        except OciError as error:
            found.problems.append(error.message)
            return False
        await self._add_entries(target, contents, found)
        return True

    async def _entry(self, target: Target, entry: Descriptor) -> ImagePlatform:
        is_kept, size_bytes = await self._is_kept(target, entry.digest), None
        if is_kept and (entry.size_bytes or 0) <= MAX_SIZED:
            content = await self._kept.manifest(repository_of(target), entry.digest) or b""
            # an index may say a false size, and two hundred manifests of 4 MiB take minutes
            if len(content) <= MAX_SIZED:
                with contextlib.suppress(ManifestProblem):  # it is shown without a size
                    size_bytes = parse_manifest_parts(content).size_bytes
        return ImagePlatform(entry.digest, entry.platform, entry.media_type, size_bytes, is_kept=is_kept)

    async def _config(self, target: Target, config: Descriptor) -> ConfigParts:
        """Return what a config says. Raises OciError."""
        asked = Asked(target.upstream.name, target.repository, config.digest)
        if (config.size_bytes or 0) > MAX_CONFIG:
            raise unusable(asked, f"its config is larger than {MAX_CONFIG} bytes")
        found = await _reached(target, self._sources.blobs.find(target, BlobQuery(config.digest)))
        if found.body is None:
            raise AssertionError("a body was asked for")
        try:
            content = await _reached(target, self._read(found.body, MAX_CONFIG))
            if not has_digest(content, config.digest):
                raise unusable(asked, "its bytes have another digest")
            return await parsed(content, parse_config)
        except TooLarge:
            raise unusable(asked, f"its config is larger than {MAX_CONFIG} bytes") from None
        except ManifestProblem as problem:
            raise unusable(asked, str(problem)) from None

    async def _layers(self, target: Target, parts: ManifestParts, config: ConfigParts | None) -> tuple[Layer, ...]:
        layers = parts.layers if config is None else with_commands(parts.layers, config.commands)
        kept = {one.digest: await self._is_kept(target, one.digest) for one in layers if not one.is_foreign}
        return tuple(replace(layer, is_kept=kept.get(layer.digest, False)) for layer in layers)

    async def _is_kept(self, target: Target, digest: str) -> bool:
        return await self._kept.since(repository_of(target), digest) is not None

    async def _is_whole(self, target: Target, digest: str, parts: ManifestParts, layers: Sequence[Layer]) -> bool:
        if not all(layer.is_kept or layer.is_foreign for layer in layers) or not await self._is_kept(target, digest):
            return False
        return parts.config is None or await self._is_kept(target, parts.config.digest)

    async def _tag_page(self, target: Target, page: Page) -> tuple[ListResult, list[str]]:
        query = tags_query(page)
        found = await _reached(target, self._sources.lists.find(target, query))
        if found.content.absence is not None:
            raise found.content.absence.anew()
        try:
            return found, await parsed(found.content.body, parse_tags)
        except ValueError:
            raise unusable(query.asked_of(target), "its list cannot be read") from None

    async def _known_tags(self, target: Target, error: OciError) -> TagList:
        """Return the tags that are known without a list, in place of an upstream that fails. Raises its error."""
        may = self._rights is not None and (await self._rights.to_list(target)).covers
        known = await self._kept.tags_of(repository_of(target)) if may and may_cover(error) else {}
        if not known:
            raise error.anew()
        tags = tuple(await _sorted(list(known)))
        kept = {tag: _kept_tag(entry) for tag, entry in known.items()}
        return TagList(tags, kept, is_cut=True, is_stale=True, problem=error.message)

    async def _listed_referrers(self, target: Target, digest: str) -> list[Referrer]:
        query: ListQuery = referrers_query(digest)
        body: bytes | None = None
        try:
            found = await _reached(target, self._sources.lists.find(target, query))
            body = found.content.body if found.content.absence is None else None
        except OciError as error:
            if error.status not in NO_LISTS:
                raise
        if body is None:
            tag = await self._behind_tag(target, referrers_tag(digest), content=True)
            body = None if tag is None or tag.info.media_type not in INDEXES else tag.content
        return [] if body is None else [*await self._parsed(target, digest, body, parse_referrers)]

    async def _behind_tag(self, target: Target, tag: str, *, content: bool) -> ManifestResult | None:
        """Return what stands behind a tag that need not exist; None when there is nothing, or nobody can say."""
        try:
            query = ManifestQuery(tag, wants_content=content)
            found = await _reached(target, self._sources.manifests.find(target, query))
        except OciError:
            return None
        return None if isinstance(found, Absent) else found


async def _reached(target: Target, work: Awaitable[T]) -> T:
    """Return what `work` returns; a failure to reach the upstream becomes an OciError."""
    try:
        return await work
    except UpstreamFailure as failure:
        raise unreachable(target.upstream.name, failure) from failure


def _problem(outcome: Outcome) -> list[str]:
    return [outcome.problem] if outcome.name == "stale" and outcome.problem else []


def _kept_tag(entry: TagEntry) -> KeptTag:
    return KeptTag(entry.manifest.digest, entry.confirmed_at, entry.manifest.is_held)


async def _sorted(tags: list[str]) -> list[str]:
    if len(tags) <= SORTED_AT_ONCE or sys.platform == "emscripten":  # in the Worker there are no threads
        return sort_tags(tags)
    return await asyncio.to_thread(sort_tags, tags)
