"""Would a pull work? It is tried: what clients ask for is asked of the same sources that answer them.

With a transport without a network this says what would work while no upstream can be reached, and until when. Bodies
are not read: of a blob it is enough that it is complete and may be given.

    everybody            the tag, the index, the manifest and config of the platform, its layers
    Docker 29            the attestations of the platform, and what refers to index, image and attestations
    ctr, skopeo --all    the manifest and config of every other platform

A tag works for `stale_if_error` after its last confirmation, and so does a kept list; a digest as long as it is kept.
To look counts as a use of what is looked at. Not here: which images (core/image_names.py), and how what is missing is
brought (warm.py).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from hubferry.core.descriptors import Contents, Descriptor, parse_contents
from hubferry.core.errors import OciError
from hubferry.core.image import ImageName
from hubferry.core.manifest import ManifestProblem
from hubferry.core.platforms import Platform, choose
from hubferry.core.reference import is_digest
from hubferry.ports.content import StoreFailure
from hubferry.ports.upstream import UpstreamFailure
from hubferry.pull.companions import MAX_DEPTH, MAX_OTHERS, MAX_REFERRERS, is_kept
from hubferry.pull.referrers import NO_LISTS
from hubferry.pull.results import Absent, Asks, BlobQuery, ManifestQuery
from hubferry.pull.rights import repository_of
from hubferry.pull.services import DiskCache
from hubferry.remote.lists import referrers_query
from hubferry.remote.parsing import parsed
from hubferry.remote.target import Target

EVERYBODY = "every client"
DOCKER_29 = "Docker 29"
WALKERS = "ctr, skopeo --all"


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that `clients` would ask for and not get: `what` it is, and the `problem` where that says more."""

    what: str
    clients: str
    digest: str = ""
    size_bytes: int | None = None
    problem: str = ""


@dataclass
class Rehearsed:
    """What would become of a pull. It works when nothing is missing.

    `until` is when the first of what was asked for stops being given without its upstream, in seconds since 1970;
    None: it works as long as it is kept.
    """

    image: ImageName
    digest: str = ""
    missing: list[Missing] = field(default_factory=list)
    until: float | None = None

    @property
    def works(self) -> bool:
        """Return whether every client could pull it."""
        return not self.missing

    def note_until(self, moment: float) -> None:
        """Take note that something is given until this moment."""
        self.until = moment if self.until is None else min(self.until, moment)


class Rehearsal:
    """Tries pulls without reading a layer."""

    def __init__(
        self,
        target_of: Callable[[str, str], Awaitable[Target]],
        asks: Asks,
        cache: DiskCache,
        *,
        stale_if_error_s: float,
    ) -> None:
        """`target_of` makes a target of an upstream's name and a repository."""
        self.target_of = target_of
        self.asks = asks
        self.cache = cache
        self.stale_if_error_s = stale_if_error_s

    async def rehearse(
        self, image: ImageName, platforms: Sequence[Platform] | None, *, must_be_kept: bool
    ) -> Rehearsed:
        """Return what would become of a pull for these platforms (None: all of them); `image` has a tag or digest.

        `must_be_kept`: a blob that is only on its way does not count, because the upstream may not give its rest.
        """
        work = _Work(self, await self.target_of(image.upstream, image.repository), image, must_be_kept=must_be_kept)
        await work.run(platforms)
        return work.result


class _Work:
    """The state of rehearsing one image: what was looked at, and what would fail."""

    def __init__(self, rehearsal: Rehearsal, target: Target, image: ImageName, *, must_be_kept: bool) -> None:
        self._asks = rehearsal.asks
        self._cache = rehearsal.cache
        self._stale_s = rehearsal.stale_if_error_s
        self._target = target
        self._must_be_kept = must_be_kept
        self._seen: set[str] = set()
        self.result = Rehearsed(image)

    async def run(self, platforms: Sequence[Platform] | None) -> None:
        reference = self.result.image.reference
        if not is_digest(reference):
            await self._note_tag(reference)
            if not await self._has_tag(reference):
                return
        root = await self._contents("the tag" if not is_digest(reference) else "the manifest", reference, EVERYBODY)
        if root is None:
            return
        subjects = await self._images(root, self.result.digest, platforms)
        for subject in subjects:
            await self._referrers(subject)

    async def _images(self, index: Contents, digest: str, platforms: Sequence[Platform] | None) -> list[str]:
        """Ask for the images of an index, or the image that it is; return what Docker 29 asks the referrers of."""
        if not index.manifests:
            await self._blobs(index, EVERYBODY)
            return [digest]
        chosen, missing = choose(index.manifests, platforms)
        for platform in missing:
            self._miss(f"an image for {platform}", EVERYBODY, problem="the index has none")
        subjects = [digest]
        for entry in chosen:
            subjects += await self._image(entry, platforms)
        for entry in index.manifests:
            if entry.is_attestation and entry.about in subjects:
                subjects.append(entry.digest)
                contents = await self._contents("an attestation", entry.digest, DOCKER_29, entry.size_bytes)
                if contents is not None:
                    await self._blobs(contents, DOCKER_29)
        for entry in index.manifests[:MAX_OTHERS]:
            if entry.digest not in self._seen:
                contents = await self._contents("another platform", entry.digest, WALKERS, entry.size_bytes)
                if contents is not None and contents.config is not None:
                    await self._blob("a config", contents.config, WALKERS)
        return subjects

    async def _image(self, entry: Descriptor, platforms: Sequence[Platform] | None, depth: int = 0) -> list[str]:
        contents = await self._contents("the manifest of the platform", entry.digest, EVERYBODY, entry.size_bytes)
        if contents is None:
            return []
        subjects = [entry.digest]
        for inner in choose(contents.manifests, platforms)[0] if depth < MAX_DEPTH else ():
            subjects += await self._image(inner, platforms, depth + 1)
        await self._blobs(contents, EVERYBODY)
        return subjects

    async def _blobs(self, contents: Contents, clients: str) -> None:
        for blob in contents.blobs:
            is_config = contents.config is not None and blob.digest == contents.config.digest
            await self._blob("a config" if is_config else "a layer", blob, clients)

    async def _blob(self, what: str, blob: Descriptor, clients: str) -> None:
        if blob.is_foreign or blob.digest in self._seen:
            return
        self._seen.add(blob.digest)
        try:
            await self._asks.blobs.find(self._target, BlobQuery(blob.digest, wants_body=False))
            if not self._must_be_kept or await is_kept(self._cache.blobs, blob.digest):
                return
        except (OciError, UpstreamFailure, StoreFailure):
            pass  # there is one reason: it is not here
        self._miss(what, clients, blob.digest, blob.size_bytes)

    async def _contents(
        self, what: str, reference: str, clients: str, size_bytes: int | None = None
    ) -> Contents | None:
        """Ask for a manifest; return what it refers to, None when it is not to be had.

        An artifact of an unknown kind refers to nothing.
        """
        self._seen.add(reference)
        content = await self._manifest(what, reference, clients, size_bytes)
        if content is None:
            return None
        try:
            return await parsed(content, parse_contents)
        except ManifestProblem:
            return Contents((), ())

    async def _manifest(self, what: str, reference: str, clients: str, size_bytes: int | None) -> bytes | None:
        try:
            found = await self._asks.manifests.find(self._target, ManifestQuery(reference))
        except (OciError, UpstreamFailure, StoreFailure):
            digest = reference if is_digest(reference) else ""
            self._miss(what, clients, digest, size_bytes, await self._why(reference))
            return None
        if isinstance(found, Absent):
            self._miss(what, clients, problem=found.refusal.message)
            return None
        self.result.digest = self.result.digest or found.info.digest
        return found.content

    async def _has_tag(self, tag: str) -> bool:
        """Ask what a tag means, as docker and containerd begin; return whether that is known."""
        try:
            await self._asks.manifests.find(self._target, ManifestQuery(tag, wants_content=False))
        except (OciError, UpstreamFailure, StoreFailure):
            self._miss("the tag", EVERYBODY, problem=await self._why(tag))
            return False
        return True

    async def _why(self, reference: str) -> str:
        """Return why a tag is not given without its upstream; empty for a digest, which is simply not kept."""
        if is_digest(reference):
            return ""
        entry = await self._cache.index.tag(repository_of(self._target), reference)
        if entry is None:
            return "nobody pulled it through this gateway yet"
        if not entry.manifest.is_held:
            return "it was looked up, but never pulled"
        return "it was confirmed longer ago than cache.stale_if_error, or only for somebody with a login"

    async def _note_tag(self, tag: str) -> None:
        entry = await self._cache.index.tag(repository_of(self._target), tag)
        if entry is not None:
            self.result.note_until(entry.confirmed_at + self._stale_s)

    async def _referrers(self, subject: str) -> None:
        """Ask what refers to a digest, and for that."""
        query = referrers_query(subject)
        entry = await self._cache.index.list_entry(repository_of(self._target), query.name)
        if entry is not None:
            self.result.note_until(entry.confirmed_at + self._stale_s)
        try:
            found = await self._asks.lists.find(self._target, query)
        except OciError as error:
            if error.status not in NO_LISTS:
                self._miss("the list of its signatures", DOCKER_29, subject)
            return
        if found.content.absence is not None:
            return
        try:
            listed = await parsed(found.content.body, parse_contents)
        except ManifestProblem:
            return
        for one in listed.manifests[:MAX_REFERRERS]:
            if one.digest not in self._seen:
                contents = await self._contents("what refers to it", one.digest, DOCKER_29, one.size_bytes)
                if contents is not None:
                    await self._blobs(contents, DOCKER_29)

    def _miss(
        self, what: str, clients: str, digest: str = "", size_bytes: int | None = None, problem: str = ""
    ) -> None:
        self.result.missing.append(Missing(what, clients, digest, size_bytes, problem))
