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

from hubferry.core import headers as head
from hubferry.core.descriptors import Contents, Descriptor, parse_contents
from hubferry.core.errors import OciError
from hubferry.core.http import Request, get
from hubferry.core.manifest import ManifestProblem
from hubferry.ports import BlobStore, StoreFailure, UpstreamFailure
from hubferry.pull.answer import Trail
from hubferry.pull.kept_manifests import SAVING
from hubferry.pull.lists import ListSource, wanted_referrers
from hubferry.pull.manifests import ManifestSource
from hubferry.pull.parsing import parsed
from hubferry.pull.referrers import NO_LISTS
from hubferry.pull.target import Target

MAX_OTHERS = 200  # manifests beside one image: the largest official ones have some thirty, and as many attestations
MAX_BLOBS = 500  # of these and of what refers to the image
MAX_CONFIG_BYTES = 4 * 2**20  # as docker and containerd read them
MAX_ATTESTATION_BYTES = 64 * 2**20  # one in-toto statement; SBOMs of large images have some MiB
MAX_DEPTH = 3  # an index of indexes is allowed, and no client reads a deeper one
MAX_REFERRERS = 50  # of one image
SPARE_SHARE = 0.5  # of an upstream's limit: what is left below that is for pulls
LITTLE_LEFT = "little is left of the upstream's limit"

_GET = Request("GET", "", "", (("accept", ", ".join(head.ACCEPT_MANIFESTS)),), "http", "", "")


class NotWarm(Exception):
    """Why something is not in the cache."""


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
        share: Callable[[Target], float],
        referrers_bytes: int,
    ) -> None:
        """`share` is what is left of an upstream's limit, from 0 to 1; `referrers_bytes` a bound for each image."""
        self._manifests = manifests
        self._lists = lists
        self._store = store
        self._share = share
        self._referrers_bytes = referrers_bytes

    async def manifest(self, target: Target, reference: str) -> tuple[str, bytes]:
        """A manifest, kept now, with its digest. Raises OciError, NotWarm."""
        trail = Trail()
        answer = await self._manifests.answer(_GET, target, reference, trail)
        digest = get(answer.headers, "docker-content-digest") or ""
        if trail.outcome == "stale" and trail.problem != SAVING:
            raise NotWarm(f"only what was kept of it answers: {trail.problem}")
        if not isinstance(answer.body, bytes) or not await is_kept(self._store, digest):
            raise NotWarm("its manifest cannot be kept: the log says why (store_failed)")
        return digest, answer.body

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
            found.add_blobs([blob for blob in wanted if blob is not None and (blob.size_bytes or 0) <= most_bytes])
            if contents.manifests and depth < MAX_DEPTH:
                await self._add_others(target, contents, subjects, found, depth + 1)

    async def _must_save(self, target: Target, entry: Descriptor) -> bool:
        """Whether a manifest would cost a pull of which not many are left."""
        return self._share(target) < SPARE_SHARE and not await is_kept(self._store, entry.digest)

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
            listed |= {entry.digest: entry for entry in await self._referrers(target, subject)}
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
        trail = Trail()
        try:
            listed = await self._lists.find(target, wanted_referrers(subject), trail)
            if trail.outcome == "stale":
                raise NotWarm(f"it is not known what refers to {subject}: {trail.problem}")
            return () if listed.absence is not None else (await parsed(listed.body, _contents_of)).manifests
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
