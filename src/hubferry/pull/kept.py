"""What of a repository is kept, for people who ask: never more than the repository is known to hold.

A caller's right is not looked at here: whoever asks was given something of the repository before (inspect.py).
Three ways, as the shells have: a cache on disk, a cache whose blobs are never read, none.
"""

from typing import Protocol

from hubferry.ports.index import Repository, TagEntry
from hubferry.pull.services import DiskCache, EdgeCache


class KeptContent(Protocol):
    """What is kept of repositories. No method raises."""

    async def since(self, repository: Repository, digest: str) -> float | None:
        """Return when content of a repository was kept, in seconds since 1970.

        None: it is not kept. 0: it is kept, and nobody knows since when.
        """

    async def manifest(self, repository: Repository, digest: str) -> bytes | None:
        """Return a manifest that is kept and that the repository holds, else None."""

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        """Return what a tag pointed to when it was last confirmed, or None when nothing is known about it."""

    async def tags_of(self, repository: Repository) -> dict[str, TagEntry]:
        """Return every tag of a repository of which something is known, as far as the cache can list them."""


class OnDisk:
    """What is kept in a folder, and known to be a repository's."""

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache

    async def since(self, repository: Repository, digest: str) -> float | None:
        index = self._cache.index
        if await index.blob(repository, digest) is None and await index.manifest(repository, digest) is None:
            return None
        return await self._cache.blobs.kept_since(digest)

    async def manifest(self, repository: Repository, digest: str) -> bytes | None:
        if await self._cache.index.manifest(repository, digest) is None:
            return None
        return await self._cache.store.read(digest)

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        return await self._cache.index.tag(repository, tag)

    async def tags_of(self, repository: Repository) -> dict[str, TagEntry]:
        return await self._cache.index.tags_of(repository)


class AtEdge:
    """What is kept by a shell whose cache can be asked for one thing at a time, and does not say since when."""

    def __init__(self, cache: EdgeCache) -> None:
        self._cache = cache

    async def since(self, repository: Repository, digest: str) -> float | None:
        if await self.manifest(repository, digest) is not None:
            return 0.0
        blob = await self._cache.blobs.find(repository, digest)
        if blob is None:
            return None
        await blob.body.close()
        return 0.0

    async def manifest(self, repository: Repository, digest: str) -> bytes | None:
        if await self._cache.index.manifest(repository, digest) is None:
            return None
        return await self._cache.store.read(digest)

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        return await self._cache.index.tag(repository, tag)

    async def tags_of(self, repository: Repository) -> dict[str, TagEntry]:  # noqa: ARG002 - the port's name
        return {}


class NothingKept:
    """A gateway without a cache."""

    async def since(self, repository: Repository, digest: str) -> float | None:  # noqa: ARG002 - the port's names
        return None

    async def manifest(self, repository: Repository, digest: str) -> bytes | None:  # noqa: ARG002 - likewise
        return None

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:  # noqa: ARG002 - likewise
        return None

    async def tags_of(self, repository: Repository) -> dict[str, TagEntry]:  # noqa: ARG002 - likewise
        return {}
