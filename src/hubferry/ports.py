"""What the packages in the middle (remote/, pull/, gateway/) need from the outside world, as Protocols.

Each shell (server/, worker/) supplies the implementations, the server with store/, fill/ and transport/. Also here: the
values and exceptions that cross these Protocols.

Bodies are opaque to the code in the middle: it passes them on and closes them, because on the Worker their bytes
never enter Python.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

from hubferry.core.access import Grant
from hubferry.core.exchange import Send
from hubferry.core.http import Headers
from hubferry.core.manifest import MAX_BYTES


class Cause(StrEnum):
    """Why an upstream gave no usable answer. The values are shown to users as part of messages."""

    DNS = "its name cannot be resolved (DNS)"
    TCP = "it cannot be connected to (TCP)"
    TLS = "TLS failed"
    TIMEOUT = "it did not answer in time (timeout)"
    ADDRESS = "its address is not allowed"
    CUT = "it closed the connection"
    PROTOCOL = "it does not speak HTTP properly"
    PROXY = "the proxy failed"
    WRONG = "it gave other bytes than the digest promises"


class UpstreamFailure(Exception):
    """A host gave no usable answer.

    `detail` explains the cause for the log and for the message to the client. It contains no secrets.
    """

    def __init__(self, cause: Cause, host: str, detail: str = "") -> None:
        super().__init__(f"{host}: {cause}{': ' if detail else ''}{detail}")
        self.cause = cause
        self.host = host
        self.detail = detail


class NotKept(UpstreamFailure):
    """The cache cannot give the rest of a blob, because its disk failed or holds wrong bytes.

    The upstream may still have the rest, so the blob can be continued from there.
    """


class TooLarge(Exception):
    """A body that should be read whole into memory is larger than its limit."""


class Body(Protocol):
    """A body that is being received. It can be passed on and closed; `Readable` is a body that can be read as well."""

    async def close(self) -> None:
        """Release the connection, and end the transfer if it is not complete.

        Never raises, and may be called more than once.
        """


class UpstreamResponse(Protocol):
    """The head of an upstream's answer. Its body has not been read yet."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Headers:
        """The headers as (name, value) pairs: names in lower case, duplicates kept."""

    @property
    def body(self) -> Body:
        """The body as it was sent, without decoding any Content-Encoding."""


class Transport(Protocol):
    """Performs single HTTP requests for the configured upstreams."""

    async def send(self, upstream: str, request: Send) -> UpstreamResponse:
        """Perform one request for `upstream`, without following redirects, and return once the head has arrived.

        The URL may be on another host, such as the upstream's token service or its CDN. Raises UpstreamFailure.
        """

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        """Read the whole body into memory and close it.

        Raises UpstreamFailure, and TooLarge when the body has more than `limit_bytes`.
        """


@dataclass(frozen=True, slots=True)
class ManifestInfo:
    """The descriptor of a manifest: what a HEAD request says about it.

    `by_mirror` is true when only a mirror said this, not the upstream itself. `is_held` is true when the bytes of the
    manifest came from the repository that it is described for, so that they may be given to clients of that repository.
    """

    digest: str
    media_type: str
    size_bytes: int
    by_mirror: bool = field(default=False, compare=False)
    is_held: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class TagEntry:
    """The manifest that a tag pointed to when its upstream last confirmed it.

    `confirmed_at` is the time of that confirmation, in seconds since 1970.
    """

    manifest: ManifestInfo
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class ListEntry:
    """An upstream's last answer to a request for a list of tags or of referrers.

    `digest` is the digest of the body, which is kept as content like any other; it is empty when the upstream said
    that there is no such list. `confirmed_at` is when the upstream answered, in seconds since 1970. `filters` is the
    answer's `OCI-Filters-Applied` header. `next_last` is the `last` parameter that asks for the next page; it is empty
    for the last page.
    """

    digest: str
    confirmed_at: float
    media_type: str = ""
    filters: str = ""
    next_last: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository of one upstream: the key under which the index keeps what it knows about it."""

    upstream: str
    name: str


class Index(Protocol):
    """What is known about content: what each tag points to, which repository holds what, and who may have it.

    When the index is lost, no content is lost and no wrong answer is given. No method raises: an index that cannot be
    read behaves as if it were empty, and one that cannot be written forgets what it was told.
    """

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        """Return what a tag pointed to when it was last confirmed, or None when nothing is known about it."""

    async def put_tag(self, repository: Repository, tag: str, entry: TagEntry) -> None:
        """Remember what a tag points to, whether or not the repository is known to hold that manifest."""

    async def manifest(self, repository: Repository, digest: str) -> ManifestInfo | None:
        """Return the manifest with this digest if the repository is known to hold it, else None."""

    async def put_manifest(self, repository: Repository, manifest: ManifestInfo) -> None:
        """Remember that the repository holds a manifest, because its bytes came from there."""

    async def right(self, repository: Repository, about: str, who: str) -> float | None:
        """Return when a right was last proven, in seconds since 1970.

        None: there is no such right, or it was withdrawn after it was proven. For `about` and `who` see the table in
        pull/rights.py.
        """

    async def put_right(
        self, repository: Repository, about: str, who: str, proven_at: float, *, even_if_nothing_kept: bool = False
    ) -> None:
        """Remember a right, unless it was withdrawn after `proven_at`, the time when the question was asked.

        The right is written to disk when something of the repository is kept, or with `even_if_nothing_kept`. Otherwise
        it is remembered in this process alone.
        """

    async def withdraw_right(self, repository: Repository, about: str, who: str) -> bool:
        """Withdraw a right in every process. Return whether there was one."""

    async def forget_right(self, repository: Repository, about: str, who: str, *, only_empty: bool = False) -> None:
        """Delete a right. With `only_empty`, delete it only when nothing of the repository is kept."""

    def withdrawals(self) -> int:
        """Return a number that changes whenever any process withdraws a right."""


class BlobIndex(Index, Protocol):
    """An index that also knows which repository holds which blob, and what upstreams answered about lists."""

    async def blob(self, repository: Repository, digest: str) -> int | None:
        """Return the size in bytes of a blob that this repository was seen to hold, else None."""

    async def put_blob(self, repository: Repository, digest: str, size_bytes: int) -> None:
        """Remember that the repository holds a blob. For what proves that see docs/design.md, "Rights"."""

    async def index_of(self, repository: Repository, digest: str) -> str | None:
        """Return the digest of a manifest in this repository that refers to this manifest or blob, or None."""

    async def origins(self, digest: str) -> set[str]:
        """Return the names of the upstreams that gave this content; empty when that is not known, or no longer."""

    async def is_tagged(self, repository: Repository, digest: str) -> bool:
        """Return whether a tag of this repository is known to point to this manifest, which need not be kept."""

    async def is_listed(self, repository: Repository, digest: str) -> bool:
        """Return whether a kept list of referrers in this repository contains the manifest with this digest."""

    async def list_entry(self, repository: Repository, name: str) -> ListEntry | None:
        """Return a kept list, or None.

        `name` is the path and query, below the repository, with which the upstream is asked for the list.
        """

    async def drop_list(self, repository: Repository, name: str) -> None:
        """Forget a list, or the fact that there is no such list."""

    async def put_list(self, repository: Repository, name: str, subject: str, entry: ListEntry) -> None:
        """Remember a list.

        `subject` is the digest that the list is about: the list is removed together with that content.
        """


class ContentStore(Protocol):
    """Content by digest. Everything in it was verified before it became visible."""

    async def read(self, digest: str, limit_bytes: int = MAX_BYTES) -> bytes | None:
        """Return the whole content; None when it is not kept, cannot be read or is longer than `limit_bytes`."""

    async def write(self, digest: str, content: bytes) -> None:
        """Keep content that the caller has verified, and note what it refers to if it is a manifest.

        Raises StoreFailure.
        """

    def touch(self, digest: str) -> None:
        """Note that content and everything that it refers to is in use, although it is not read now.

        The eviction of the cache removes first what was not used for the longest time.
        """


class StoreFailure(Exception):
    """Content cannot be kept, because the disk is full, read-only or broken. Pulls continue without the cache."""


class NoRoom(StoreFailure):
    """This content cannot be kept within the limits of the cache. Other content may still fit."""


class LargerThanCache(NoRoom):
    """This content is larger than the whole cache may be, so it will not fit later either."""


class Region(NamedTuple):
    """A part of a file that is open as `descriptor`. Its last byte is in the page cache, so most of it is."""

    descriptor: int
    offset: int
    size_bytes: int


class Readable(Body, Protocol):
    """A body whose bytes may be read in Python. Only shells that read bodies can keep blobs on disk."""

    async def read(self) -> bytes | None:
        """Return the next piece, or None at the end of the body. Raises UpstreamFailure."""


class InFile(Readable, Protocol):
    """A body whose bytes are in a file. A shell may send them from the file without reading them."""

    async def next_region(self) -> Region | None:
        """Return the next part of the body as a part of a file, and count it as read.

        None: the next part has to be taken with `read`. The region is valid until `close`. Raises UpstreamFailure.
        """


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


class FillingBlob(Blob, Protocol):
    """A blob that is being filled."""

    @property
    def found_bytes(self) -> int:
        """How many bytes an earlier fill had left on the disk when this one began."""


class BlobStore(Protocol):
    """The blobs that are complete and verified."""

    async def open(self, digest: str, size_bytes: int | None = None) -> Blob | None:
        """Return a kept blob, or None when it is not kept. `size_bytes` is its size, if the caller knows it."""

    async def rehearse(self, upstream: str, digest: str) -> None:
        """Do the disk work that precedes a fill's first question to its upstream, and leave nothing behind.

        The caller wants only the time that this takes.
        """


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


class Fills(Protocol):
    """The blobs that are being filled: see fill/fills.py."""

    async def visit(self, upstream: str, digest: str, only: object = None) -> FillingBlob | None:
        """Return a blob that this process is filling, as far as it has come; the caller closes it.

        None: the blob is not being filled. With `only`, a fill that `start` returned, None also when the blob is
        being filled by another fill by now.
        """

    async def start(self, order: FillOrder) -> object:
        """Begin to fill a blob, unless it is being filled already, or is kept and was not ordered anew.

        Returns a handle that only `visit` understands, once the upstream has answered `fetch`. That answer proves that
        the caller for whom `fetch` asked may have the blob. Returns None when the upstream was not asked, because the
        blob is being filled already, by this process or another one, or is kept by now.
        Raises OciError and UpstreamFailure as `fetch` does, and StoreFailure when nothing can be kept.
        """

    def is_running(self, upstream: str, digest: str) -> bool:
        """Return whether this process is filling the blob."""

    async def ended(self, upstream: str, digest: str) -> None:
        """Wait until this process is no longer filling the blob, whether or not that succeeded."""


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


class Sealer(Protocol):
    """Turns grants into tokens that only this gateway can read."""

    async def seal(self, grant: Grant) -> str:
        """Return a token that carries the grant, encrypted."""

    async def open(self, token: str) -> Grant | None:
        """Return the grant of a token made by `seal`, even if it has expired; None for any other text."""


class Clock(Protocol):
    """The time.

    What only this process remembers is measured with `monotonic`, because nobody can set that clock back; tags, lists,
    rights and grants, which others read as well, with `time`.
    """

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment in the past."""

    def time(self) -> float:
        """Return seconds since 1970, UTC."""


class EventLog(Protocol):
    """Receives the events that an operator should know about."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        """Report that something went wrong and was handled."""


# kept: verified and kept; failed: broken off, to be continued later; wrong: another length or digest than it should
# have; unwanted: stopped because no client wanted it any longer; store_failed: the disk failed
FillResult = Literal["kept", "failed", "wrong", "unwanted", "store_failed"]


class Metrics(Protocol):
    """Counts the events that operators want counted.

    Methods may be called from any thread, are cheap, and never raise.
    """

    def upstream_asked(self, upstream: str, method: str, status: int | None) -> None:
        """Count a request to an upstream, its token service or its CDN. `status` None: there was no usable answer."""

    def upstream_gave(self, upstream: str, size_bytes: int) -> None:
        """Count bytes of a body that arrived from an upstream."""

    def fill_ended(self, upstream: str, result: FillResult) -> None:
        """Count a finished fill that this process led."""

    def wrong_content(self, upstream: str) -> None:
        """Count content that was refused because it had another length or digest than it should have."""

    def store_failed(self) -> None:
        """Count content that could not be kept."""

    def index_failed(self) -> None:
        """Count a read or write of the index that failed."""

    def quota(self, upstream: str, account: str, limit: int, remaining: int) -> None:
        """Record how many pulls an upstream says that one of the gateway's own accounts has left.

        `account` is `anonymous` for the limit of the gateway's address.
        """

    def account_refused(self, upstream: str, account: str) -> None:
        """Count that an upstream refused the user name or password of one of the gateway's own accounts."""


class Uncounted:
    """A `Metrics` that counts nothing, for processes without `/metrics`."""

    def upstream_asked(self, upstream: str, method: str, status: int | None) -> None:
        """See Metrics."""

    def upstream_gave(self, upstream: str, size_bytes: int) -> None:
        """See Metrics."""

    def fill_ended(self, upstream: str, result: FillResult) -> None:
        """See Metrics."""

    def wrong_content(self, upstream: str) -> None:
        """See Metrics."""

    def store_failed(self) -> None:
        """See Metrics."""

    def index_failed(self) -> None:
        """See Metrics."""

    def quota(self, upstream: str, account: str, limit: int, remaining: int) -> None:
        """See Metrics."""

    def account_refused(self, upstream: str, account: str) -> None:
        """See Metrics."""


UNCOUNTED: Metrics = Uncounted()
