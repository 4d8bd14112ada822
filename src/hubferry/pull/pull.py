"""The use cases of one configuration: a manifest, a blob or a list for a caller, from what is kept or from upstream.

What is asked and answered are values (results.py). Who puts the parts together is build.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hubferry.core.access import Credential
from hubferry.pull.inspect import Inspector
from hubferry.pull.prefetch import Prefetch
from hubferry.pull.rehearse import Rehearsal
from hubferry.pull.results import (
    Absent,
    BlobQuery,
    BlobResult,
    BlobSource,
    ListResult,
    ListSource,
    ManifestQuery,
    ManifestResult,
    ManifestSource,
)
from hubferry.pull.rights import Revision, Rights
from hubferry.pull.warm import Warmer
from hubferry.remote.lists import ListQuery
from hubferry.remote.target import Target, Upstream


@dataclass(frozen=True)
class Sources:
    """Where content is found, and what goes on beside the requests.

    `inspector` asks the same sources. `rights` is None where nothing is kept; `prefetch`, `warmer` and `rehearsal`
    where blobs are not kept on a disk.
    """

    manifests: ManifestSource
    blobs: BlobSource
    lists: ListSource
    revision: Revision
    inspector: Inspector
    rights: Rights | None = None
    prefetch: Prefetch | None = None
    warmer: Warmer | None = None
    rehearsal: Rehearsal | None = None


class Pull:
    """The use cases over the upstreams of one configuration."""

    def __init__(self, upstreams: Mapping[str, Upstream], sources: Sources) -> None:
        self.upstreams = upstreams
        self._sources = sources
        self._prefetch = sources.prefetch

    async def target(self, upstream: str, repository: str, credential: Credential | None) -> Target:
        """A repository of an upstream, for whoever has this credential, and whether mirrors may be asked for it."""
        return await decide_target(self.upstreams[upstream], repository, credential, self._sources.rights)

    async def own_target(self, upstream: str, repository: str) -> Target:
        """A repository of an upstream, as the gateway's own account sees it, or else anybody."""
        return await self.target(upstream, repository, self.upstreams[upstream].account)

    async def manifest(self, target: Target, query: ManifestQuery) -> ManifestResult | Absent:
        """Return a manifest, or its known absence. Raises OciError."""
        return await self._sources.manifests.find(target, query)

    async def manifest_given(self, target: Target, digest: str, content: bytes, client: str) -> None:
        """Note that a client at this address is given a manifest: its layers may be fetched ahead."""
        if self._prefetch is not None:
            await self._prefetch.manifest_given(target, client, digest, content)

    async def blob(self, target: Target, query: BlobQuery) -> BlobResult:
        """Return a blob, or the wanted range of it. Raises OciError."""
        if self._prefetch is not None and query.wants_body:
            self._prefetch.blob_asked(target, query.client, query.digest)
        return await self._sources.blobs.find(target, query)

    async def list(self, target: Target, query: ListQuery) -> ListResult:
        """Return a list of tags, or of what refers to a digest. Raises OciError."""
        return await self._sources.lists.find(target, query)

    async def is_open_to_all(self, upstream: str, repository: str) -> bool:
        """Return whether a repository is known to be open to everybody, even if it is due to be asked about."""
        if self._sources.rights is None:
            return False
        asked = self.upstreams[upstream]
        return (await self._sources.rights.of(Target(asked, repository, asked.account))).covers

    def revision(self) -> int:
        """A number that is another one whenever a result that was reusable may no longer be right."""
        return self._sources.revision.number

    @property
    def inspector(self) -> Inspector:
        """What finds out what images are, for pages and commands."""
        return self._sources.inspector

    @property
    def warmer(self) -> Warmer:
        """What fills the cache without anybody asking. Raises ValueError where no blobs are kept."""
        if self._sources.warmer is None:
            raise ValueError("only what is kept can be kept warm")
        return self._sources.warmer

    @property
    def rehearsal(self) -> Rehearsal:
        """What finds out which pulls would work. Raises ValueError where no blobs are kept."""
        if self._sources.rehearsal is None:
            raise ValueError("only what is kept can be pulled while the upstream is away")
        return self._sources.rehearsal

    async def close(self) -> None:
        """Cancel what is to be fetched ahead, and wait until that has ended."""
        if self._prefetch is not None:
            await self._prefetch.close()


async def decide_target(
    upstream: Upstream, repository: str, credential: Credential | None, rights: Rights | None
) -> Target:
    """A target that says whether mirrors may speak for its upstream: without `rights` only to anybody."""
    target = Target(upstream, repository, credential)
    if not upstream.settings.mirrors:
        return target
    may = target.is_everybodys if rights is None else await rights.may_ask_mirrors(target)
    return replace(target, may_use_mirrors=may)
