"""What is fetched ahead of the client that pulls an image: its config and layers, then what others will need of it.

A manifest that was given is no sign that its layers are wanted: some clients read those of every platform. What is:

    the manifest of an image that is in no kept index      such as the tag of an image for one platform
    one of its layers
    its config                                             unless the same client was given several images of the index

Config and layers are fetched at once then, AT_ONCE of an upstream at a time in the order of the manifest, WAITING in
line, and `max_unwatched` of each until somebody comes for it (fill/). Afterwards comes what belongs to the image beside
its layers (companions.py), for one image of an upstream at a time; the log says when that fails. Nobody else is told of
what cannot be fetched: whoever asks for it is.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

from hubferry.core.access import credential_bytes
from hubferry.core.bounded import BoundedMap
from hubferry.core.descriptors import Contents, parse_contents
from hubferry.core.errors import OciError
from hubferry.core.manifest import ManifestProblem
from hubferry.ports.content import StoreFailure
from hubferry.ports.index import BlobIndex
from hubferry.ports.shell import Clock, EventLog
from hubferry.ports.upstream import UpstreamFailure
from hubferry.pull.companions import Companions
from hubferry.pull.rights import repository_of
from hubferry.remote.parsing import parsed
from hubferry.remote.target import Target

AT_ONCE = 4
WAITING = 200
AGAIN_S = 60.0  # the same image for the same caller
COMPLETE_AGAIN_S = 3600.0  # what belongs to the same image
MAX_BYTES = 256 * 2**10  # of a manifest that is looked into: the largest that anybody writes have some tens of KiB
MAX_PARSED = 500


@dataclass
class _Index:
    """An index that a client was given, and which of its images it was given since."""

    digest: str
    given: set[str] = field(default_factory=set)


ATTESTED = _Index("")  # stands for the index of what is no image but an attestation, which nobody waits for


@dataclass
class _Image:
    """An image whose manifest a client was given, the digest of its config, and the index that led to it.

    What else it refers to is in `Prefetch._contents`, for the images that were given last: many entries lead to one
    image, and each would keep all of that.
    """

    digest: str
    config: str
    index: _Index | None


MOST_BYTES = 16 * 2**20  # of each map of what clients were given
ENTRY_BYTES = 500  # of one entry beside its caller's credential


class Prefetch:
    """Begins to fill the layers of images that clients begin to pull, on one event loop."""

    def __init__(
        self,
        fill: Callable[[Target, str, int | None], Awaitable[None]],
        index: BlobIndex,
        clock: Clock,
        *,
        log: EventLog,
        fetches_layers: bool = True,
        companions: Companions | None = None,
    ) -> None:
        """`fill` fetches a blob to its end unless it is kept (KeptBlobs.fill_to_end).

        Without `companions` only the layers of images are fetched ahead.
        """
        self._fill = fill
        self._blob_index = index
        self._clock = clock
        self._log = log
        self._fetches_layers = fetches_layers
        self._companions = companions
        # what a client was given: (target, peer, digest of an image) -> its index, (.., of a blob) -> its image,
        # (.., of an index) -> the same
        self._indexes: BoundedMap[_Index] = BoundedMap(most_bytes=MOST_BYTES)
        self._images: BoundedMap[_Image] = BoundedMap(most_bytes=MOST_BYTES)
        self._read: BoundedMap[_Index] = BoundedMap(most_bytes=MOST_BYTES)
        self._contents: BoundedMap[Contents] = BoundedMap(MAX_PARSED)
        self._begun: BoundedMap[float] = BoundedMap(most_bytes=MOST_BYTES)
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._completing: dict[str, asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._completions: set[asyncio.Task[None]] = set()  # those of them that wait for others

    async def manifest_given(self, target: Target, peer: str, digest: str, manifest: bytes) -> None:
        """Note that a client at the address `peer` was given a manifest."""
        contents = await self._parsed(digest, manifest)
        if contents.manifests:
            index = self._index(target, peer, digest)
            for entry in contents.manifests:
                self._indexes.put(
                    (target, peer, entry.digest), ATTESTED if entry.is_attestation else index, _size(target)
                )
        elif contents.blobs and not contents.subject:  # what refers to an image comes with that
            config = contents.config.digest if contents.config else ""
            image = _Image(digest, config, await self._index_of(target, peer, digest))
            if image.index is ATTESTED:
                return
            if image.index is None:
                self._begin(target, image)
                return
            image.index.given.add(digest)
            for blob in contents.blobs:
                self._images.put((target, peer, blob.digest), image, _size(target))

    async def _index_of(self, target: Target, peer: str, digest: str) -> _Index | None:
        """The index that leads to an image: the one that this client was given, or any that is kept.

        Another worker process, or this one before it started anew, may have given it.
        """
        given = self._indexes.get((target, peer, digest))
        if given is not None:
            return given
        kept = await self._blob_index.parent_of(repository_of(target), digest)
        return None if kept is None else self._index(target, peer, kept)

    def _index(self, target: Target, peer: str, digest: str) -> _Index:
        """The index of this digest as far as this client has read it."""
        index = self._read.get((target, peer, digest))
        if index is None:
            index = _Index(digest)
            self._read.put((target, peer, digest), index, _size(target))
        return index

    async def _parsed(self, digest: str, manifest: bytes) -> Contents:
        """What a manifest refers to; nothing when it is none, or so large that it is not worth looking into."""
        known = self._contents.get(digest)
        if known is None:
            known = Contents((), ())
            if len(manifest) <= MAX_BYTES:
                with contextlib.suppress(ManifestProblem):
                    known = await parsed(manifest, _first_parts)
            self._contents.put(digest, known)
        return known

    def blob_asked(self, target: Target, peer: str, digest: str) -> None:
        """Note that a client asks for a blob."""
        image = self._images.get((target, peer, digest))
        if image is None:
            return
        is_config = image.config == digest
        if is_config and image.index is not None and len(image.index.given) > 1:
            return  # it reads the config of every platform
        self._begin(target, image)

    async def close(self) -> None:
        """Cancel what waits for its turn or for a fill. The fills themselves are ended by LocalFills.close."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, target: Target, image: _Image) -> None:
        if not self._is_due(target, image.digest, AGAIN_S):
            return
        contents = self._contents.get(image.digest)
        if contents is None:
            return  # many others were given since then: nothing is fetched ahead, and everything when it is asked for
        blobs = [blob.digest for blob in contents.blobs if not blob.is_foreign] if self._fetches_layers else []
        if len(self._tasks) - len(self._completions) + len(blobs) >= WAITING:
            return
        layers = [self._start(self._run(target, digest)) for digest in blobs]
        root = image.digest if image.index is None else image.index.digest
        if self._companions is None or len(self._completions) >= WAITING:
            return
        if self._is_due(target, (root, image.digest), COMPLETE_AGAIN_S):
            task = self._start(self._complete(target, root, image.digest, layers))
            self._completions.add(task)
            task.add_done_callback(self._completions.discard)

    def _is_due(self, target: Target, what: Hashable, again_s: float) -> bool:
        """Return whether something of a target was not begun within `again_s`, and note that it is begun now."""
        key = (target, what)
        now, begun_at = self._clock.monotonic(), self._begun.get(key)
        if begun_at is not None and now - begun_at < again_s:
            return False
        self._begun.put(key, now, _size(target))
        return True

    def _start(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, target: Target, digest: str, size_bytes: int | None = None) -> None:
        async with self._gates.setdefault(target.upstream.name, asyncio.Semaphore(AT_ONCE)):
            with contextlib.suppress(OciError, UpstreamFailure, StoreFailure):
                await self._fill(target, digest, size_bytes)

    async def _complete(self, target: Target, root: str, image: str, layers: Sequence[asyncio.Task[None]]) -> None:
        """Have kept what belongs to an image, once its layers are no longer waited for."""
        if layers:
            await asyncio.wait(layers)
        if self._companions is None:
            return
        async with self._completing.setdefault(target.upstream.name, asyncio.Semaphore(1)):
            found = await self._companions.find(target, root, (image,))
            for blob in found.blobs.values():
                await self._run(target, blob.digest, blob.size_bytes)
            if found.problem is not None:  # the next pull of it tries again
                self._begun.drop((target, (root, image)))
                name = f"{target.upstream.name}/{target.repository}@{image}"
                self._log.warning("complete_failed", {"image": name, "problem": str(found.problem)})


def _size(target: Target) -> int:
    """Return about how many bytes an entry takes that is kept for a target and its caller."""
    return ENTRY_BYTES + credential_bytes(target.credential)


def _first_parts(manifest: bytes) -> Contents:
    """What a manifest refers to, as far as use is made of it; one blob more tells that there are too many.

    Raises ManifestProblem.
    """
    read = parse_contents(manifest)
    return replace(read, manifests=read.manifests[:WAITING], blobs=read.blobs[: WAITING + 1])
