"""What the orchestrator needs of the world to keep blobs, as Protocols (to become part of ports.py).

A blob is stored, or being filled, or neither; what is stored or being filled is read through the same `Blob`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from hubferry.ports import Body, Repository


class Readable(Body, Protocol):
    """A body whose bytes may be read here: keeping blobs is for shells that read them."""

    async def read(self) -> bytes | None:
        """The next piece, None at the end. Raises UpstreamFailure."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An upstream's answer: the blob from `start_bytes` to its end; `size_bytes` is all of it, if known."""

    start_bytes: int
    size_bytes: int | None
    body: Readable


Fetch = Callable[[int], Awaitable[Fetched]]


class Blob(Protocol):
    """A blob that is there, or on its way. Held until `close`; its bodies last on their own."""

    @property
    def size_bytes(self) -> int | None:
        """How long it is; None: not known yet."""

    @property
    def front_bytes(self) -> int:
        """How much of it is there."""

    def body(self, start: int, end: int | None) -> Body:
        """The bytes from `start` up to, not including, `end` (None: to the end)."""

    def close(self) -> None:
        """Let go; may be repeated."""


class BlobStore(Protocol):
    """Finished blobs."""

    async def open(self, digest: str) -> Blob | None:
        """None when it is not kept."""


class Fills(Protocol):
    """Blobs on their way: see fill/fills.py."""

    async def visit(self, upstream: str, digest: str) -> Blob | None:
        """None when it is not being filled."""

    async def start(self, upstream: str, digest: str, fetch: Fetch) -> bool:
        """Fill it; whether `fetch` was answered. Raises OciError, UpstreamFailure, StoreFailure."""


class BlobIndex(Protocol):
    """Which repository was seen to hold which blob. Nothing raises: see ports.Index."""

    async def holds_blob(self, repository: Repository, digest: str) -> int | None:
        """The blob's size in bytes if the repository was seen to hold it."""

    async def put_blob(self, repository: Repository, digest: str, size_bytes: int) -> None:
        """Remember that it does."""
