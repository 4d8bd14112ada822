"""Images as one file (core/archive.py), without a temporary file: first its length, then its bytes from any offset.

Everything is asked of pull/, in the name of whoever wants the file. So rules, rights and limits are those of a pull.
What is kept comes from the disk. What is not is fetched as for a client that pulls, and the layers behind it are
fetched ahead (prefetch.py). The manifests are asked for first: they say how long everything is.

A layer that cannot be had, or has another length than its manifest says, breaks the body off.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from hubferry.core import archive
from hubferry.core.archive import (
    MAX_MANIFEST_BYTES,
    ArchiveProblem,
    ImageParts,
    Manifest,
    PackedImage,
    parse_image_parts,
)
from hubferry.core.descriptors import Descriptor, parse_contents
from hubferry.core.errors import Code, OciError
from hubferry.core.manifest import INDEXES, ManifestProblem
from hubferry.core.platforms import Platform, choose
from hubferry.core.ranges import ByteRange
from hubferry.core.tar import Part, Slice, Tar
from hubferry.ports.content import Region
from hubferry.ports.fills import Fetched
from hubferry.ports.upstream import Cause, Readable, UpstreamFailure
from hubferry.pull.bodies import SlicedBody
from hubferry.pull.manifest_room import HeldManifests, ManifestRoom
from hubferry.pull.pull import Pull
from hubferry.pull.results import Absent, BlobQuery, ManifestQuery, Outcome, OutcomeName
from hubferry.remote.parsing import parsed
from hubferry.remote.target import Target

MAX_DEPTH = 3  # an index of indexes is allowed, and no client reads a deeper one
MAX_MANIFESTS = 200  # in one file: the largest official image has some sixty, and one request asks for all of them

# the later a name stands here, the more it says about a file of which several layers were found in different ways
_OUTCOMES: tuple[OutcomeName, ...] = ("hit", "revalidated", "stale", "miss", "bypass")


@dataclass(frozen=True, slots=True)
class ExportItem:
    """An image that is wanted in a file: `reference` is its digest or its tag.

    `name` and `tag` are what it is called in the file: registry host and repository; the tag may be empty. Of an index
    those of `platforms` are taken (None: all of it, with attestations).
    """

    target: Target
    reference: str
    name: str
    tag: str
    platforms: tuple[Platform, ...] | None

    @property
    def written(self) -> str:
        """Return the image for messages."""
        return f"{self.name}{'@' if ':' in self.reference else ':'}{self.reference}"


class ExportPlan:
    """A file of images whose length and bytes are decided, and of which no layer was asked for yet.

    `images` are what is in it, `outcome` says how its layers were found, once they were read. `etag` is the same for
    two files only if all of their bytes are. Whoever does not take a `body` of it calls `drop`.
    """

    def __init__(
        self, images: Sequence[PackedImage], tar: Tar, file_name: str, layers: "_Layers", held: HeldManifests
    ) -> None:
        self.images = images
        self.tar = tar
        self.file_name = file_name
        self.etag = tar.fingerprint
        self.outcome = layers.outcome
        self._layers = layers
        self._held = held

    @property
    def size_bytes(self) -> int:
        """Return the length of the whole file."""
        return self.tar.size_bytes

    def body(self, start: int, end: int) -> "ExportBody":
        """Return the bytes from `start` up to, but not including, `end`. The caller closes the body."""
        return ExportBody(self.tar.between(start, end), self._layers.open, self._held.release)

    def drop(self) -> None:
        """Give back what the plan holds, because nobody wants its bytes."""
        self._held.release()


class _Layers:
    """Opens the layers and configs of one file: each is asked of a repository whose manifest names it."""

    def __init__(self, pull: Pull, targets: Mapping[str, Target], client: str) -> None:
        self._pull = pull
        self._targets = targets
        self._client = client
        self.outcome = Outcome("hit")

    async def open(self, wanted: Slice) -> "_OpenBlob":
        """Open a part of a blob. Raises UpstreamFailure when it cannot be had, or has another length than was said."""
        content, target = wanted.content, self._targets[wanted.content.digest]
        is_whole = wanted.start == 0 and wanted.end == content.size_bytes
        byte_range = None if is_whole else ByteRange(wanted.start, wanted.end - 1)
        try:
            found = await self._pull.blob(target, BlobQuery(content.digest, byte_range, client=self._client))
        except OciError as error:
            raise UpstreamFailure(Cause.CUT, target.upstream.name, error.message) from None
        body = cast("Readable", found.body)  # it was asked for, and only shells that read bodies export
        if found.size_bytes not in (None, content.size_bytes):
            await body.close()
            raise _wrong_size(target, content.digest)
        if found.part is None and not is_whole:
            body = SlicedBody(Fetched(0, found.size_bytes, body), wanted.start, wanted.end)
        note = partial(self._note, found.outcome)
        is_sure = found.size_bytes is not None
        return _OpenBlob(body, wanted.end - wanted.start, target, content.digest, note, ends_there=is_sure)

    def _note(self, outcome: Outcome) -> None:
        if _OUTCOMES.index(outcome.name) > _OUTCOMES.index(self.outcome.name):
            self.outcome.name, self.outcome.problem = outcome.name, outcome.problem


@dataclass(slots=True)
class _OpenBlob:
    """A part of a blob that is being read, and how many of its bytes are still to come.

    `ends_there`: it is known that nothing comes after them.
    """

    body: Readable
    left_bytes: int
    target: Target
    digest: str
    on_close: Callable[[], None]
    ends_there: bool

    def count(self, size_bytes: int) -> None:
        """Note that bytes were read. Raises UpstreamFailure when there are more than there should be."""
        if size_bytes > self.left_bytes:
            raise _wrong_size(self.target, self.digest)
        self.left_bytes -= size_bytes

    async def check_end(self) -> None:
        """Raise UpstreamFailure when more comes of a blob of which nobody said how long it is."""
        if not self.ends_there and await self.body.read() is not None:
            raise _wrong_size(self.target, self.digest)

    async def close(self) -> None:
        """Close the body, and report that the blob is done (`on_close`)."""
        await self.body.close()
        self.on_close()


class ExportBody:
    """The bytes of a file: what is in memory, and one blob after the other. An `InFile` for shells that send files."""

    def __init__(
        self,
        parts: Iterator[Part],
        open_blob: Callable[[Slice], Awaitable[_OpenBlob]],
        on_manifests_sent: Callable[[], None],
    ) -> None:
        """`on_manifests_sent` may be called more than once; manifests come before all blobs."""
        self._parts = parts
        self._open_blob = open_blob
        self._on_manifests_sent = on_manifests_sent
        self._blob: _OpenBlob | None = None
        self._literal: bytes | None = None

    async def read(self) -> bytes | None:
        """Return the next bytes, None at the end. Raises UpstreamFailure."""
        if not await self._advance():
            return None
        if self._blob is None:
            literal, self._literal = self._literal, None
            return literal
        piece = await self._blob.body.read()
        if piece is None:
            raise _wrong_size(self._blob.target, self._blob.digest)
        self._blob.count(len(piece))
        return piece

    async def next_region(self) -> Region | None:
        """Return the next bytes as a part of a kept file, None: they have to be read. Raises UpstreamFailure."""
        if not await self._advance() or self._blob is None:
            return None
        next_region = getattr(self._blob.body, "next_region", None)
        region: Region | None = None if next_region is None else await next_region()
        if region is not None:
            self._blob.count(region.size_bytes)
        return region

    async def close(self) -> None:
        """Release what is open. Never raises, and may be called more than once."""
        blob, self._blob = self._blob, None
        self._parts = iter(())
        self._literal = None
        self._on_manifests_sent()
        if blob is not None:
            await blob.close()

    async def _advance(self) -> bool:
        """Have something to be read: a blob of which bytes are to come, or bytes in memory. False: it is the end."""
        if self._blob is not None and not self._blob.left_bytes:
            await self._blob.check_end()
            blob, self._blob = self._blob, None  # not before now: the last region of it had to be sent
            await blob.close()
        if self._blob is None and self._literal is None:
            part = next(self._parts, None)
            if part is None:
                return False
            if isinstance(part, bytes):
                self._literal = part
            else:
                self._on_manifests_sent()
                self._blob = await self._open_blob(part)
        return True


class Exporter:
    """Makes files of images, through the use cases of pull/."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._room = ManifestRoom()

    async def digest(self, item: ExportItem) -> str:
        """Return the digest that an image has now. Raises OciError."""
        found = await self._pull.manifest(item.target, ManifestQuery(item.reference, wants_content=False))
        if isinstance(found, Absent):
            raise found.refusal
        return found.info.digest

    async def plan(self, items: Sequence[ExportItem], client: str = "", *, wants_body: bool = True) -> ExportPlan:
        """Fetch the manifests of images, and decide on the file. `client` is the address that it is for.

        Raises OciError: what a pull of the manifests would get, 404 when a platform is not there, 400 for what cannot
        be in a file, 503 when the manifests of others' files leave no room.
        """
        held = self._room.file_for(client)
        try:
            return await self._plan(items, client, held, wants_body=wants_body)
        except BaseException:
            held.release()
            raise

    async def _plan(
        self, items: Sequence[ExportItem], client: str, held: HeldManifests, *, wants_body: bool
    ) -> ExportPlan:
        collector = _Collector(self._pull, client if wants_body else None, held)
        images, targets = [], dict[str, Target]()
        for item in items:
            image = await collector.collect(item)
            images.append(image)
            for parts in image.parts:
                for content in (parts.config, *parts.layers):
                    targets.setdefault(content.digest, item.target)
        different = list({(image.name, image.root.digest): image for image in images}.values())
        name = archive.file_name(different, [str(one) for one in items[0].platforms or ()])
        try:
            tar = archive.pack(different)
        except ArchiveProblem as problem:
            raise _impossible("these images", problem) from None
        return ExportPlan(different, tar, name, _Layers(self._pull, targets, client), held)


class _Collector:
    """Fetches the manifests of the images of one file, within the bounds of a file."""

    def __init__(self, pull: Pull, client: str | None, held: HeldManifests) -> None:
        """`client` is the address whose layers may be fetched ahead, None: nobody wants them yet."""
        self._held = held
        self._pull = pull
        self._client = client
        self._count = 0
        self._size_bytes = 0

    async def collect(self, item: ExportItem) -> PackedImage:
        """Return an image with its manifests. Raises OciError."""
        manifests: dict[str, Manifest] = {}
        parts: list[ImageParts] = []
        await self._walk(item, item.reference, manifests, parts)
        return PackedImage(item.name, item.tag, tuple(manifests.values()), tuple(parts))

    async def _walk(
        self, item: ExportItem, reference: str, manifests: dict[str, Manifest], parts: list[ImageParts], depth: int = 0
    ) -> None:
        manifest = await self._fetch(item, reference)
        if manifest.digest in manifests:
            return
        manifests[manifest.digest] = manifest
        try:
            if manifest.media_type not in INDEXES:
                parts.append(await parsed(manifest.content, parse_image_parts))
                return
            contents = await parsed(manifest.content, parse_contents)
        except (ArchiveProblem, ManifestProblem) as problem:
            raise _impossible(item.written, problem) from None
        if depth == MAX_DEPTH:
            raise _impossible(item.written, f"its indexes are nested more than {MAX_DEPTH} deep")
        for entry in _chosen(item, contents.manifests):
            await self._walk(item, entry.digest, manifests, parts, depth + 1)

    async def _fetch(self, item: ExportItem, reference: str) -> Manifest:
        found = await self._pull.manifest(item.target, ManifestQuery(reference))
        if isinstance(found, Absent):
            raise found.refusal
        content = found.content or b""
        self._count += 1
        self._size_bytes += len(content)
        if self._count > MAX_MANIFESTS or self._size_bytes > MAX_MANIFEST_BYTES:
            raise _impossible("these images", f"more than {MAX_MANIFESTS} manifests, or than 4 MiB of them")
        self._held.add(len(content))
        if self._client is not None:
            await self._pull.manifest_given(item.target, found.info.digest, content, self._client)
        return Manifest(found.info.digest, found.info.media_type, content)


def _chosen(item: ExportItem, entries: Sequence[Descriptor]) -> list[Descriptor]:
    """Return the wanted entries of an index, images first. Raises OciError 404 for a platform that is not there."""
    if item.platforms is None:
        return sorted(entries, key=lambda entry: entry.is_attestation)
    chosen, missing = choose(entries, item.platforms)
    if missing or not chosen:
        offered = ", ".join(sorted({str(entry.platform) for entry in entries if not entry.is_attestation}))
        wanted = ", ".join(map(str, missing))
        raise OciError(
            404,
            Code.MANIFEST_UNKNOWN,
            f"{item.written} is not there for {wanted}: it is for {offered or 'no platform'}; name one of these",
        )
    return chosen


def _impossible(what: str, problem: object) -> OciError:
    return OciError(400, Code.UNSUPPORTED, f"{what} cannot be given as a file: {problem}")


def _wrong_size(target: Target, digest: str) -> UpstreamFailure:
    return UpstreamFailure(Cause.WRONG, target.upstream.name, f"{digest} is not as long as its manifest says")
