"""Blobs under way: how one is fetched, and who may read it meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NewType, Protocol

from hubferry.ports.content import Blob
from hubferry.ports.upstream import Readable


@dataclass(frozen=True, slots=True)
class Fetched:
    """An upstream's answer to a request for a blob: the bytes from the offset `start_bytes` on.

    `size_bytes` is the size of the whole blob, if known. The body ends where the request asked, or at the end of the
    blob when the upstream does not support Range; then it also begins at 0.
    """

    start_bytes: int
    size_bytes: int | None
    body: Readable
    by_mirror: bool = False


class Fetch(Protocol):
    """Fetches one blob from its upstream. Each call obtains the token and the signed URL that it needs."""

    async def __call__(self, start: int, end: int | None = None) -> Fetched:
        """Ask the upstream for the bytes from `start` up to, but not including, `end` (None: to the end of the blob).

        Raises UpstreamFailure when another attempt may succeed, and OciError when the upstream refused.
        """


class FillingBlob(Blob, Protocol):
    """A blob that is being filled."""

    @property
    def found_bytes(self) -> int:
        """How many bytes an earlier fill had left on the disk when this one began."""


async def close_fetched(fetched: Fetched) -> None:
    """Close the body of an answer that nobody needs. The default of `FillOrder.on_unkept`."""
    await fetched.body.close()


async def nothing_verified(size_bytes: int) -> None:
    """Do nothing. The default of `FillOrder.on_verified`."""


@dataclass(frozen=True, slots=True)
class FillOrder:
    """An order to fill one blob on behalf of a client, whose address is `client`.

    With `anew`, the blob is fetched even when it is kept already. The callbacks:

    - `on_wrong` is called when the bytes that came have another length or digest than the blob;
    - `on_verified` is called with the size in bytes when they are right, just before the file gets its final name;
    - `on_unkept` is called with the upstream's answer when there is no room for the blob, and has to see to it that
      its body is closed.

    None of them is called when another process filled the blob.
    """

    upstream: str
    digest: str
    fetch: Fetch
    on_wrong: Callable[[], None] = lambda: None
    on_verified: Callable[[int], Awaitable[None]] = nothing_verified
    on_unkept: Callable[[Fetched], Awaitable[None]] = close_fetched
    anew: bool = False
    client: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The key that identifies the fill: upstream and digest."""
        return self.upstream, self.digest


# a fill that was begun; only `Fills.visit` understands it
FillHandle = NewType("FillHandle", object)


class Fills(Protocol):
    """The blobs that are being filled: see fill/fills.py."""

    async def visit(self, upstream: str, digest: str, only: FillHandle | None = None) -> FillingBlob | None:
        """Return a blob that this process is filling, as far as it has come; the caller closes it.

        None: the blob is not being filled. With `only`, a fill that `start` returned, None also when the blob is
        being filled by another fill by now.
        """

    async def start(self, order: FillOrder) -> FillHandle | None:
        """Begin to fill a blob, unless it is being filled already, or is kept and was not ordered anew.

        Returns the fill once the upstream has answered `fetch`. That answer proves that the caller for whom `fetch`
        asked may have the blob. Returns None when the upstream was not asked, because the blob
        is being filled already, by this process or another one, or is kept by now.
        Raises OciError and UpstreamFailure as `fetch` does, and StoreFailure when nothing can be kept.
        """

    def is_running(self, upstream: str, digest: str) -> bool:
        """Return whether this process is filling the blob."""

    async def ended(self, upstream: str, digest: str) -> None:
        """Wait until this process is no longer filling the blob, whether or not that succeeded."""
