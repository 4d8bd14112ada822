"""What belongs to an image beside its own config and layers, and is kept with it so that any client can pull it next.

    the manifest and config of every other platform      clients that walk the whole index ask for them (ctr, skopeo)
    the attestations of a chosen platform, whole         Docker 29 fetches them with the image
    what refers to index, images and attestations        Docker 29 and those who verify signatures ask for it, also
                                                         for the tag that stands for it where there is no such list

Kilobytes, but for what people attach: that is bounded in number and bytes. Layers of other platforms are not among
it. Manifests count against an upstream's limit, so those of other platforms are left out when little is left of it.
Not here: the image itself (warm.py, prefetch.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hubferry.core.descriptors import Contents, Descriptor, parse_contents
from hubferry.core.errors import OciError
from hubferry.core.manifest import ManifestProblem
from hubferry.ports.content import BlobStore, StoreFailure
from hubferry.ports.upstream import UpstreamFailure
from hubferry.pull.referrers import NO_LISTS
from hubferry.pull.results import Absent, ListSource, ManifestQuery, ManifestSource
from hubferry.remote.lists import referrers_query
from hubferry.remote.parsing import parsed
from hubferry.remote.target import Target

MAX_OTHERS = 200  # manifests beside one image: the largest official ones have some thirty, and as many attestations
MAX_BLOBS = 500  # of these and of what refers to the image
MAX_CONFIG_BYTES = 4 * 2**20  # as docker and containerd read them
MAX_ATTESTATION_BYTES = 64 * 2**20  # one in-toto statement; SBOMs of large images have some MiB
MAX_SMALL_BYTES = 256 * 2**20  # configs and attestations beside one image, together
MAX_DEPTH = 3  # an index of indexes is allowed, and no client reads a deeper one
MAX_REFERRERS = 50  # of one image
SPARE_SHARE = 0.5  # of an upstream's limit: what is left below that is for pulls
LITTLE_LEFT = "little is left of the upstream's limit"


class NotWarm(Exception):
    """Something could not be kept; the message says why."""


@dataclass
class Found:
    """The companions of an image: manifests by digest, which are kept now; blobs that are to be; what was left out.

    `problem` is why not all were found, None when they were.
    """

    manifests: list[str] = field(default_factory=list)
    blobs: dict[str, Descriptor] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    problem: Exception | None = None
    seen: set[str] = field(default_factory=set)  # manifests that were looked at
    left_bytes: int = MAX_SMALL_BYTES

    def add_small_blobs(self, blobs: Sequence[Descriptor | None], most_bytes: int) -> None:
        """Add configs or attestations of at most `most_bytes` each, and of MAX_SMALL_BYTES in all for one image.

        One whose descriptor does not say how large it is could be of any size, and is left out.
        """
        left_out = 0
        for blob in blobs:
            if blob is None or blob.digest in self.blobs:
                continue
            if blob.size_bytes is None or blob.size_bytes > min(most_bytes, self.left_bytes):
                left_out += 1
                continue
            self.left_bytes -= blob.size_bytes
            self.add_blobs([blob])
        if left_out:
            self.skipped.append(f"{left_out} blobs beside it: larger than is fetched, or of unknown size")

    def add_blobs(self, blobs: Sequence[Descriptor]) -> None:
        """Add what is to be kept, MAX_BLOBS in all; what a registry need not hold is left out."""
        for blob in blobs:
            if not blob.is_foreign and len(self.blobs) < MAX_BLOBS:
                self.blobs[blob.digest] = blob


class Companions:
    """Finds the companions of images, and has their manifests and lists kept."""

    def __init__(
        self,
        manifests: ManifestSource,
        lists: ListSource,
        store: BlobStore,
        *,
        quota_left: Callable[[Target], float],
        referrers_bytes: int,
    ) -> None:
        """`quota_left` says what is left of an upstream's limit, from 0 to 1; `referrers_bytes` bounds each image."""
        self._manifests = manifests
        self._lists = lists
        self._store = store
        self._quota_left = quota_left
        self._referrers_bytes = referrers_bytes

    async def manifest(self, target: Target, reference: str) -> tuple[str, bytes]:
        """Have a manifest kept; return its digest and content. Raises OciError, NotWarm."""
        found = await self._manifests.find(target, ManifestQuery(reference))
        if isinstance(found, Absent):
            raise found.refusal
        if found.outcome.failure is not None:
            raise NotWarm(f"only what was kept of it answers: {found.outcome.failure.message}")
        if found.content is None or not await is_kept(self._store, found.info.digest):
            raise NotWarm("its manifest cannot be kept: the log says why (store_failed)")
        return found.info.digest, found.content

    async def find(self, target: Target, root: str, chosen: Sequence[str]) -> Found:
        """The companions of an index, or an image, of which these images were chosen."""
        found = Found()
        try:
            digest, body = await self.manifest(target, root)
            subjects = [digest, *(one for one in chosen if one != digest)]
            await self._add_others(target, await parsed(body, _contents_of), subjects, found)
            await self._add_referrers(target, subjects, found)
        except (OciError, UpstreamFailure, StoreFailure, NotWarm) as error:
            found.problem = error
        return found

    async def _add_others(
        self, target: Target, index: Contents, subjects: list[str], found: Found, depth: int = 0
    ) -> None:
        """The manifests of an index that are not among `subjects`, to which attestations of these are added.

        Of an attestation of theirs all blobs are found, of any other manifest its config.
        """
        for entry in index.manifests:
            if entry.digest in subjects or entry.digest in found.seen:
                continue
            if len(found.seen) == MAX_OTHERS:
                found.skipped.append(f"some manifests of its indexes: there are more than {MAX_OTHERS}")
                return
            found.seen.add(entry.digest)
            is_own = entry.is_attestation and entry.about in subjects
            if not is_own and await self._must_save(target, entry):
                found.skipped.append(f"{entry.platform or entry.digest}: {LITTLE_LEFT}")
                continue
            contents = await self._add_manifest(target, entry.digest, found)
            if is_own:
                subjects.append(entry.digest)
            wanted = contents.blobs if is_own else (contents.config,)
            most_bytes = MAX_ATTESTATION_BYTES if is_own else MAX_CONFIG_BYTES
            found.add_small_blobs(wanted, most_bytes)
            if contents.manifests and depth < MAX_DEPTH:
                await self._add_others(target, contents, subjects, found, depth + 1)

    async def _must_save(self, target: Target, entry: Descriptor) -> bool:
        """Return whether fetching this manifest would use up a rate limit of which less than SPARE_SHARE is left."""
        return self._quota_left(target) < SPARE_SHARE and not await is_kept(self._store, entry.digest)

    async def _add_manifest(self, target: Target, digest: str, found: Found) -> Contents:
        """What a manifest refers to; nothing when the upstream does not have it. Raises OciError, NotWarm."""
        try:
            _, body = await self.manifest(target, digest)
        except OciError as error:
            if error.status != 404:
                raise
            found.skipped.append(f"{digest}: {error.message}")
            return Contents((), ())
        found.manifests.append(digest)
        return await parsed(body, _contents_of)

    async def _add_referrers(self, target: Target, subjects: Sequence[str], found: Found) -> None:
        left_bytes = self._referrers_bytes
        if not left_bytes:
            return
        listed: dict[str, Descriptor] = {}
        for subject in subjects:
            if len(listed) > MAX_REFERRERS:
                break  # more than will be fetched, and each list may be as long as its upstream likes
            of_subject = (await self._referrers(target, subject))[: MAX_REFERRERS + 1]
            listed |= {entry.digest: entry for entry in of_subject}
        for number, entry in enumerate(listed.values()):
            if number == MAX_REFERRERS or (entry.size_bytes or 0) > left_bytes:
                found.skipped.append(f"some of what refers to it: more than {MAX_REFERRERS}, or than warm.referrers")
                return
            if await self._must_save(target, entry):
                found.skipped.append(f"what refers to it: {LITTLE_LEFT}")
                return
            blobs = (await self._add_manifest(target, entry.digest, found)).blobs
            size_bytes = sum(blob.size_bytes or 0 for blob in blobs) + (entry.size_bytes or 0)
            if size_bytes > left_bytes or any(blob.size_bytes is None for blob in blobs):
                found.skipped.append(f"{entry.digest}, which refers to it: it is larger than warm.referrers allows")
                continue
            left_bytes -= size_bytes
            found.add_blobs(blobs)

    async def _referrers(self, target: Target, subject: str) -> tuple[Descriptor, ...]:
        """What refers to a digest; the list is kept then, or its absence. Raises OciError, NotWarm."""
        try:
            found = await self._lists.find(target, referrers_query(subject))
            if found.outcome.failure is not None:
                raise NotWarm(f"it is not known what refers to {subject}: {found.outcome.problem}")
            is_absent = found.content.absence is not None
            return () if is_absent else (await parsed(found.content.body, _contents_of)).manifests
        except OciError as error:
            if error.status not in NO_LISTS:
                raise
            return ()


async def is_kept(store: BlobStore, digest: str) -> bool:
    """Whether content has its final name, and was found right if it had to be looked at again."""
    blob = await store.open(digest)
    if blob is None:
        return False
    blob.close()
    return True


def _contents_of(body: bytes) -> Contents:
    """What a manifest refers to; nothing for an artifact of a kind that is not known here."""
    try:
        return parse_contents(body)
    except ManifestProblem:
        return Contents((), ())
