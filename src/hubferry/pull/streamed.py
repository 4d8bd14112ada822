"""Manifests, blobs and lists that go from the upstream to the client, and of which nothing is kept."""

from hubferry.core.manifest import KNOWN
from hubferry.pull.results import BlobQuery, BlobResult, ListResult, ManifestQuery, ManifestResult, Outcome
from hubferry.remote.blobs import RemoteBlob
from hubferry.remote.fetch import Fetcher
from hubferry.remote.lists import ListQuery, RemoteLists
from hubferry.remote.manifests import RemoteManifests
from hubferry.remote.target import Target


class StreamedManifests:
    """A ManifestSource that asks the upstream for everything."""

    def __init__(self, remote: RemoteManifests) -> None:
        self._remote = remote

    async def find(self, target: Target, query: ManifestQuery) -> ManifestResult:
        if not query.wants_content:
            described = await self._remote.describe(target, query.reference, query.accept)
            if described is not None and described.media_type in KNOWN:
                return ManifestResult(described, None, Outcome("bypass"))
        info, content = await self._remote.get(target, query.reference, query.accept)
        return ManifestResult(info, content, Outcome("bypass"))


class StreamedBlobs:
    """A BlobSource that asks the upstream for everything."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def find(self, target: Target, query: BlobQuery) -> BlobResult:
        blob = RemoteBlob(self._fetcher, target, query.digest)
        passing = await blob.pass_on(query.byte_range, wants_body=query.wants_body)
        return BlobResult(
            passing.size_bytes,
            Outcome("bypass"),
            passing.body,
            passing.part,
            answered_by=passing.answered_by,
        )


class StreamedLists:
    """A ListSource that asks the upstream for everything."""

    def __init__(self, remote: RemoteLists) -> None:
        self._remote = remote

    async def find(self, target: Target, query: ListQuery) -> ListResult:
        content, _ = await self._remote.ask(target, query)
        return ListResult(content, Outcome("bypass"))
