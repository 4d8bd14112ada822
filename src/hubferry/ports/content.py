"""Content that is kept: manifests and lists in memory, blobs as files or in a shell's own cache."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hubferry.core.manifest import MAX_BYTES
from hubferry.ports.index import Repository
from hubferry.ports.upstream import Body, Readable, UpstreamFailure


class StoreFailure(Exception):
    """Content cannot be kept, because the disk is full, read-only or broken. Pulls continue without the cache."""


class NoRoom(StoreFailure):
    """This content cannot be kept within the limits of the cache. Other content may still fit."""


class LargerThanCache(NoRoom):
    """This content is larger than the whole cache may be, so it will not fit later either."""


class NotKept(UpstreamFailure):
    """The cache cannot give the rest of a blob, because its disk failed or holds wrong bytes.

    The upstream may still have the rest, so the blob can be continued from there.
    """


class ContentStore(Protocol):
    """Content by digest. Everything in it was verified before it became visible."""

    async def read(self, digest: str, limit_bytes: int = MAX_BYTES) -> bytes | None:
        """Return the whole content; None when it is not kept, cannot be read or is longer than `limit_bytes`."""

    async def write(self, digest: str, content: bytes) -> None:
        """Keep content that has this digest.

        What a manifest or a list of referrers refers to is noted. Raises StoreFailure, also for another digest.
        """

    def touch(self, digest: str) -> None:
        """Note that content and everything that it refers to is in use, although it is not read now.

        The eviction of the cache removes first what was not used for the longest time.
        """


class Region(NamedTuple):
    """A part of a file that is open as `descriptor`. Its last byte is in the page cache, so most of it is."""

    descriptor: int
    offset: int
    size_bytes: int


class InFile(Readable, Protocol):
    """A body whose bytes are in a file. A shell may send them from the file without reading them."""

    async def next_region(self) -> Region | None:
        """Return the next part of the body as a part of a file, and count it as read.

        None: the next part has to be taken with `read`. The region is valid until `close`. Raises UpstreamFailure.
        """


class Blob(Protocol):
    """A blob that is kept or is being filled. It stays available until `close`; bodies made from it outlast that."""

    @property
    def size_bytes(self) -> int | None:
        """The size of the whole blob in bytes; None while it is not known."""

    @property
    def front_bytes(self) -> int:
        """How many bytes from the beginning of the blob are there, also those that are not hashed and readable yet."""

    def body(self, start: int, end: int | None) -> InFile:
        """Return a body of the bytes from `start` up to, but not including, `end` (None: to the end)."""

    def close(self) -> None:
        """Release the blob. May be called more than once."""


class BlobStore(Protocol):
    """The blobs that are complete and verified. What `ContentStore.write` wrote is found here as well."""

    async def open(self, digest: str, size_bytes: int | None = None) -> Blob | None:
        """Return a kept blob, or None when it is not kept. `size_bytes` is its size, if the caller knows it."""

    async def kept_since(self, digest: str) -> float | None:
        """Return when content got its final name, in seconds since 1970; None when it is not kept.

        That does not count as a use of it, and it is not looked at whether it is damaged.
        """

    async def rehearse(self, upstream: str, digest: str) -> None:
        """Do the disk work that precedes a fill's first question to its upstream, and leave nothing behind.

        The caller wants only the time that this takes.
        """


@dataclass(frozen=True, slots=True)
class CachedBlob:
    """A complete blob from a `BlobCache`, and its size."""

    size_bytes: int
    body: Body


class BlobCache(Protocol):
    """Complete, verified blobs by repository, kept by a shell whose blobs never enter Python. No method raises."""

    async def find(self, repository: Repository, digest: str) -> CachedBlob | None:
        """Return the blob, or None when it is not kept."""

    def keep(self, repository: Repository, digest: str, size_bytes: int, body: Body) -> Body:
        """Arrange that the bytes of `body` are kept once they are verified.

        Returns the body that the caller must use in place of the one it passed.
        """
