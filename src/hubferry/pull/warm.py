"""An image, all of it, into the cache: on behalf of the gateway's own account, or of anybody.

It asks as a client would, of the same parts: the manifest, of an index those for the wanted platforms, then config and
layers, LAYERS at a time; afterwards what belongs to the image beside them (companions.py). A blob counts when it has
its final name: complete, verified, synced. It may be another process that fetches it. What is kept already costs
nothing, but for a tag or list beyond its TTL.

A tag that is answered in the place of a failing upstream is a failure here: nobody knows whether the image is warm. One
that answers to spare the upstream's limit is not.
Not here: which images and when (core/warm.py, server/keep_warm.py), who looks on (cli/warm.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from hubferry.core.descriptors import Contents, Descriptor, parse_contents
from hubferry.core.errors import OciError
from hubferry.core.image import ImageName
from hubferry.core.manifest import ManifestProblem
from hubferry.core.platforms import Platform, choose
from hubferry.ports.content import BlobStore, InFile, NotKept, StoreFailure
from hubferry.ports.fills import Fills
from hubferry.ports.upstream import UpstreamFailure
from hubferry.pull.blobs import KeptBlobs
from hubferry.pull.companions import MAX_DEPTH, Companions, NotWarm, is_kept
from hubferry.remote.parsing import parsed
from hubferry.remote.refusals import unreachable
from hubferry.remote.target import Target, Upstream

LAYERS = 4  # at a time: what docker does
COMMIT_POLL_S = 0.05

# fetched, by this process or another; there already; left to the client; not to be had
Ending = Literal["fetched", "kept", "skipped", "failed"]


class WarmObserver(Protocol):
    """Whoever is told of the progress of layers and configs."""

    def began(self, layer: Descriptor, found_bytes: int) -> None:
        """A layer or a config is being fetched; `found_bytes` of it are there from an earlier download."""

    def grew(self, layer: Descriptor, at_bytes: int) -> None:
        """The first `at_bytes` of the layer are there now."""

    def ended(self, layer: Descriptor, ending: Ending, problem: str) -> None:
        """The layer is over; also told of a layer that never began."""


class NoObserver:
    """A `WarmObserver` that does nothing, for callers that only want the result."""

    def began(self, layer: Descriptor, found_bytes: int) -> None: ...

    def grew(self, layer: Descriptor, at_bytes: int) -> None: ...

    def ended(self, layer: Descriptor, ending: Ending, problem: str) -> None: ...


@dataclass
class Warmed:
    """What became of one image; it is warm when there is no problem. `digests` are all that it consists of.

    Configs count as layers. `fetched_bytes` is the size of what was fetched, less what was there of it.
    """

    image: ImageName
    digest: str = ""
    digests: list[str] = field(default_factory=list)
    fetched: int = 0
    kept: int = 0
    fetched_bytes: int = 0
    skipped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def problem(self) -> str:
        """Return the first problem and how many more there are; empty when there is none."""
        if not self.problems:
            return ""
        others = len(self.problems) - 1
        return self.problems[0] + (f" (and {others} more)" if others else "")


class Warmer:
    """Has whole images kept, through the same use cases as a client's pull."""

    def __init__(
        self,
        target_of: Callable[[str, str], Awaitable[Target]],
        companions: Companions,
        blobs: KeptBlobs,
        *,
        store: BlobStore,
        fills: Fills,
    ) -> None:
        """`target_of` makes one of an upstream's name and a repository.

        `companions` also has manifests kept. `blobs` has blobs kept; `store` and `fills` are what it keeps things in.
        """
        self._target_of = target_of
        self.companions = companions
        self._blobs = blobs
        self._store = store
        self._fills = fills

    async def warm(
        self, image: ImageName, platforms: Sequence[Platform] | None, observer: WarmObserver | None = None
    ) -> Warmed:
        """All of an image for these platforms (None: for every one); `image` has a tag or digest.

        Never raises for what is the upstream's or the disk's fault. Cancelled, it leaves what is there.
        """
        target = await self._target_of(image.upstream, image.repository)
        work = _Work(self, target, platforms, observer or NoObserver(), image)
        await work.run(work.own_blobs)
        if work.images:
            await work.run(work.companion_blobs)
        return work.result

    async def missing(self, warmed: Warmed) -> list[str]:
        """What is no longer kept of an image that was warmed: it had to make room for others."""
        return [digest for digest in warmed.digests if not await self.is_kept(digest)]

    async def is_kept(self, digest: str) -> bool:
        """Whether content has its final name, and was found right if it had to be looked at again."""
        return await is_kept(self._store, digest)

    async def fetch(self, target: Target, layer: Descriptor, observer: WarmObserver) -> int | None:
        """Have a blob kept; how many bytes that took, None when it was there already.

        Raises OciError, UpstreamFailure, StoreFailure, NotWarm.
        """
        was_kept = await self.is_kept(layer.digest)
        try:
            blob, is_kept = await self._blobs.open(target, layer.digest)
            try:
                if was_kept and is_kept:
                    return None
                found_bytes = await self._found_bytes(target, layer)
                observer.began(layer, found_bytes)
                body = blob.body(0, None)
            finally:
                blob.close()
            try:
                size_bytes = await _read_through(body, lambda at: _note_growth(observer, layer, at))
            finally:
                await body.close()
        except StoreFailure as failure:
            raise NotWarm(f"it cannot be kept: {failure}") from None
        except NotKept as failure:
            raise NotWarm(f"it cannot be kept: {failure.detail}") from None
        await self._wait_kept(target, layer)
        return max(size_bytes - found_bytes, 0)

    async def _found_bytes(self, target: Target, layer: Descriptor) -> int:
        blob = await self._fills.visit(target.upstream.name, layer.digest)
        if blob is None:  # a small one is complete by now
            return 0
        try:
            return blob.found_bytes
        finally:
            blob.close()

    async def _wait_kept(self, target: Target, layer: Descriptor) -> None:
        """Wait until a blob has its final name: readers have all of it before that. Raises NotWarm."""
        while not await self.is_kept(layer.digest):
            blob = await self._fills.visit(target.upstream.name, layer.digest)
            if blob is None:
                if await self.is_kept(layer.digest):  # it got its name between the two questions
                    return
                raise NotWarm("it cannot be kept: the log says why (store_failed)")
            blob.close()
            await asyncio.sleep(COMMIT_POLL_S)


class _Work:
    """The state of warming one image."""

    def __init__(
        self,
        warmer: Warmer,
        target: Target,
        platforms: Sequence[Platform] | None,
        observer: WarmObserver,
        image: ImageName,
    ) -> None:
        self._warmer = warmer
        self._target = target
        self._platforms = platforms
        self._observer = observer
        self.images: list[str] = []  # the digests of the chosen images' manifests
        self.result = Warmed(image)

    async def run(self, find: Callable[[], Awaitable[Sequence[Descriptor]]]) -> None:
        """Have kept what `find` finds; what cannot be found or kept is a problem of the image."""
        try:
            layers = await find()
        except (OciError, UpstreamFailure, StoreFailure, ManifestProblem, NotWarm) as error:
            return self._note_problem(error)
        gate = asyncio.Semaphore(LAYERS)
        async with asyncio.TaskGroup() as group:
            for layer in layers:
                group.create_task(self.keep_layer(layer, gate))
        return None

    def _note_problem(self, error: Exception) -> None:
        self.result.problems.append(f"{self.result.image.reference}: {_why(error, self._target.upstream)}")

    async def own_blobs(self) -> list[Descriptor]:
        """The configs and layers of the image for the wanted platforms. Raises OciError, NotWarm, ManifestProblem."""
        return await self.layers_of(self.result.image.reference)

    async def layers_of(self, reference: str, depth: int = 0) -> list[Descriptor]:
        """The configs and layers below a manifest or index, each once; the manifests are kept then.

        Raises OciError, NotWarm, ManifestProblem.
        """
        digest, body = await self._warmer.companions.manifest(self._target, reference)
        self.result.digest = self.result.digest or digest
        self.result.digests.append(digest)
        contents = await parsed(body, parse_contents)
        if not contents.manifests:
            self.images.append(digest)
            return list(contents.blobs)
        if depth == MAX_DEPTH:
            raise NotWarm(f"its indexes are nested more than {MAX_DEPTH} deep")
        layers: dict[str, Descriptor] = {}
        for child in self._choose(contents):
            layers |= {layer.digest: layer for layer in await self.layers_of(child.digest, depth + 1)}
        return list(layers.values())

    async def companion_blobs(self) -> list[Descriptor]:
        """Return the blobs that belong to the image beside those that `own_blobs` returns."""
        found = await self._warmer.companions.find(self._target, self.result.digest, self.images)
        self.result.digests += [digest for digest in found.manifests if digest not in self.result.digests]
        self.result.skipped += found.skipped
        if found.problem is not None:
            self._note_problem(found.problem)
        return [blob for digest, blob in found.blobs.items() if digest not in self.result.digests]

    def _choose(self, contents: Contents) -> list[Descriptor]:
        chosen, missing = choose(contents.manifests, self._platforms)
        if not chosen:
            offered = sorted({str(entry.platform) for entry in contents.manifests if not entry.is_attestation})
            wanted = ", ".join(map(str, self._platforms or ())) or "any platform"
            raise NotWarm(f"there is none for {wanted}: it is for {', '.join(offered) or 'none'}")
        self.result.skipped += [f"{platform}: there is none for it" for platform in missing]
        return chosen

    async def keep_layer(self, layer: Descriptor, gate: asyncio.Semaphore) -> None:
        """Have one layer kept, and count what became of it."""
        ending: Ending = "failed"
        result, problem = self.result, ""
        if layer.is_foreign:
            ending = "skipped"
            result.skipped.append(f"{layer.digest}: no registry distributes it, clients fetch it from its maker")
            return self._observer.ended(layer, ending, problem)
        async with gate:
            try:
                fetched_bytes = await self._warmer.fetch(self._target, layer, self._observer)
            except (OciError, UpstreamFailure, StoreFailure, NotWarm) as error:
                problem = f"{layer.digest}: {_why(error, self._target.upstream)}"
                result.problems.append(problem)
            else:
                result.digests.append(layer.digest)
                ending = "kept" if fetched_bytes is None else "fetched"
                result.kept += fetched_bytes is None
                result.fetched += fetched_bytes is not None
                result.fetched_bytes += fetched_bytes or 0
        return self._observer.ended(layer, ending, problem)


def _note_growth(observer: WarmObserver, layer: Descriptor, at_bytes: int) -> None:
    """Raises NotWarm for a blob that is longer than it may be."""
    if layer.size_bytes is not None and at_bytes > layer.size_bytes:
        raise NotWarm(f"it is longer than the {layer.size_bytes} bytes that its descriptor says")
    observer.grew(layer, at_bytes)


class _Grew(Protocol):
    def __call__(self, at_bytes: int, /) -> None: ...


async def _read_through(body: InFile, grew: _Grew) -> int:
    """Wait for the end of a body, reading only what has to be read; its length.

    Raises UpstreamFailure, NotWarm, NotKept.
    """
    at = 0
    while True:
        region = await body.next_region()
        if region is not None:
            at += region.size_bytes
        else:
            piece = await body.read()
            if piece is None:
                return at
            at += len(piece)
        grew(at)
        await asyncio.sleep(0)  # regions of what is there are found without waiting


def _why(error: Exception, upstream: Upstream) -> str:
    if isinstance(error, UpstreamFailure):
        return unreachable(upstream.name, error).message
    return error.message if isinstance(error, OciError) else str(error)
