"""What the orchestrator needs of the world, as Protocols; the shells bring the parts.

Bodies are opaque to the orchestrator: it hands them on and closes them, because on the Worker their bytes never
enter Python.
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
    """What kept an upstream from answering; the words stand in messages to users."""

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
    """No usable answer from a host; `detail` says more for the log and the message, without secrets."""

    def __init__(self, cause: Cause, host: str, detail: str = "") -> None:
        super().__init__(f"{host}: {cause}{': ' if detail else ''}{detail}")
        self.cause = cause
        self.host = host
        self.detail = detail


class NotKept(UpstreamFailure):
    """The cache cannot give the rest of a blob, because its disk failed or was found wrong; the upstream may."""


class TooLarge(Exception):
    """A body that was to be read whole is larger than its limit."""


class Body(Protocol):
    """A body that is being received. Only a shell reads it."""

    async def close(self) -> None:
        """Give the connection back, ending the transfer when it is not over. Never raises, may be repeated."""


class UpstreamResponse(Protocol):
    """The head of one answer, and its body still to come."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> Headers:
        """Names in lower case, duplicates kept."""

    @property
    def body(self) -> Body:
        """The body, not decoded."""


class Upstream(Protocol):
    """One HTTP exchange with the hosts of one configured upstream."""

    async def send(self, upstream: str, request: Send) -> UpstreamResponse:
        """Perform one request without following redirects. Raises UpstreamFailure."""

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        """The whole body, and close it. Raises UpstreamFailure, TooLarge."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest ready to be served; `body` is bytes where the shell read them, else the opaque body."""

    body: "bytes | Body"
    media_type: str
    digest: str
    size_bytes: int | None


class ManifestReader(Protocol):
    """Reads and checks a manifest, as far as the shell can."""

    async def read(self, response: UpstreamResponse, expected_digest: str) -> Manifest:
        """Check length, digest (unless empty) and media type; close the response.

        Raises UpstreamFailure, TooLarge, hubferry.core.manifest.ManifestProblem.
        """


@dataclass(frozen=True, slots=True)
class Described:
    """A manifest as its descriptor: what a HEAD says of it. `by_mirror`: only a mirror said so.

    `is_held`: its bytes came from the repository that it is described for, so that they may be given for it.
    """

    digest: str
    media_type: str
    size_bytes: int
    by_mirror: bool = field(default=False, compare=False)
    is_held: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class TagEntry:
    """What a tag meant when its upstream last confirmed it, in seconds since 1970."""

    manifest: Described
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class ListEntry:
    """What an upstream last said when it was asked for a list (tags, referrers), in seconds since 1970.

    `digest` is that of the body, which is content like any other; empty when the upstream said that there is no such
    list. `filters` is its `OCI-Filters-Applied`, `next_last` what the next page is asked for with (empty: the last).
    """

    digest: str
    confirmed_at: float
    media_type: str = ""
    filters: str = ""
    next_last: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of one upstream, as the key of what is kept about it."""

    upstream: str
    name: str


class Index(Protocol):
    """What is known about content: which tag means what, which repository holds what, who may have it.

    Losing it loses no content and serves no wrong answer. Nothing here raises: an index that cannot be read
    knows nothing, one that cannot be written forgets.
    """

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        """What a tag meant, or None."""

    async def put_tag(self, repository: Repository, tag: str, entry: TagEntry) -> None:
        """Remember what a tag means, whether or not the repository is known to hold that manifest."""

    async def manifest(self, repository: Repository, digest: str) -> Described | None:
        """The manifest of that digest if this repository is known to hold it."""

    async def put_manifest(self, repository: Repository, manifest: Described) -> None:
        """Remember that the repository holds a manifest: its bytes came from there."""

    async def right(self, repository: Repository, about: str, who: str) -> float | None:
        """When a right that was not withdrawn since was last proven, in seconds since 1970; None: there is none."""

    async def put_right(
        self, repository: Repository, about: str, who: str, proven_at: float, *, is_empty: bool = False
    ) -> None:
        """Remember a right, unless it was withdrawn after `proven_at`, which is when the question was asked.

        It is written down only where something of the repository is kept, or with `is_empty`.
        """

    async def withdraw_right(self, repository: Repository, about: str, who: str) -> bool:
        """Withdraw a right, for every process; whether there was one."""

    async def forget_right(self, repository: Repository, about: str, who: str, *, only_empty: bool = False) -> None:
        """Forget a right; with `only_empty` only where nothing of the repository is kept."""

    def withdrawals(self) -> int:
        """A number that becomes another one when a right is withdrawn, in whichever process."""


class BlobIndex(Index, Protocol):
    """An index that also knows which repository holds which blob, and what upstreams said of lists."""

    async def blob(self, repository: Repository, digest: str) -> int | None:
        """The size in bytes of the blob of that digest if this repository was seen to hold it."""

    async def put_blob(self, repository: Repository, digest: str, size_bytes: int) -> None:
        """Remember that the repository holds a blob: see docs/design.md, "Rights", for what proves that."""

    async def index_of(self, repository: Repository, digest: str) -> str | None:
        """The digest of a manifest that this repository holds and that refers to this manifest or blob, or None."""

    async def origins(self, digest: str) -> set[str]:
        """The upstreams that gave content of that digest; empty when that is not known (any more)."""

    async def is_tagged(self, repository: Repository, digest: str) -> bool:
        """Whether a tag of this repository is noted to mean the manifest of that digest, which need not be kept."""

    async def is_listed(self, repository: Repository, digest: str) -> bool:
        """Whether a kept list of what refers to something in this repository names the manifest of that digest."""

    async def list_entry(self, repository: Repository, name: str) -> ListEntry | None:
        """The list that its upstream is asked for as `name` (path and query below the repository), or None."""

    async def drop_list(self, repository: Repository, name: str) -> None:
        """Forget a list, or that there is none."""

    async def put_list(self, repository: Repository, name: str, subject: str, entry: ListEntry) -> None:
        """Remember a list. `subject` is the digest that it is about: the list goes when that content goes."""


class ContentStore(Protocol):
    """Content by digest; what is in it was verified before it became visible."""

    async def read(self, digest: str, limit_bytes: int = MAX_BYTES) -> bytes | None:
        """The whole content, None when it is not kept, cannot be read or is longer than `limit_bytes`."""

    async def write(self, digest: str, content: bytes) -> None:
        """Keep verified content. Raises StoreFailure."""

    def touch(self, digest: str) -> None:
        """Note that content is wanted, with all that it refers to, although it is not read now."""


class StoreFailure(Exception):
    """Content cannot be kept: the disk is full, read-only or broken. Pulls go on uncached."""


class NoRoom(StoreFailure):
    """This content cannot be kept within the limits; other content may be."""


class LargerThanCache(NoRoom):
    """This content is larger than all that may be kept: it will not fit later either."""


class Region(NamedTuple):
    """A part of a file that is open under `descriptor`, whose bytes are in memory."""

    descriptor: int
    offset: int
    size_bytes: int


class Readable(Body, Protocol):
    """A body whose bytes may be read here: keeping blobs is for shells that read them."""

    async def read(self) -> bytes | None:
        """The next piece, None at the end. Raises UpstreamFailure."""


class InFile(Readable, Protocol):
    """A body that lies in a file, for shells that can send from one without reading it."""

    async def next_region(self) -> Region | None:
        """Give the next part when it is there, instead of reading it; None: `read` it. Valid until `close`.

        Raises UpstreamFailure.
        """


@dataclass(frozen=True, slots=True)
class Fetched:
    """An upstream's answer: the blob from `start_bytes` on; `size_bytes` is all of it, if known.

    It goes to where was asked, or to the blob's end when the upstream knows no Range (then it begins at 0).
    """

    start_bytes: int
    size_bytes: int | None
    body: Readable


class BlobAnswer(Protocol):
    """What `Fetched` is, also for those who have another class for it."""

    @property
    def start_bytes(self) -> int:
        """Where the body begins."""

    @property
    def size_bytes(self) -> int | None:
        """How long the whole blob is, if known."""

    @property
    def body(self) -> Readable:
        """From there on."""


class Fetch(Protocol):
    """A blob from its upstream, each time with whatever token and signed URL that takes."""

    async def __call__(self, start: int, end: int | None = None) -> Fetched:
        """The bytes from `start` up to, not including, `end` (None: to the end).

        Raises UpstreamFailure for what may be tried again, OciError for an answer.
        """


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


class FillingBlob(Blob, Protocol):
    """A blob on its way."""

    @property
    def found_bytes(self) -> int:
        """How much of it an earlier fill had left."""


class BlobStore(Protocol):
    """Finished blobs."""

    async def open(self, digest: str, size_bytes: int | None = None) -> Blob | None:
        """None when it is not kept; `size_bytes` is how long it is, if known."""

    async def rehearse(self, upstream: str, digest: str) -> None:
        """Take the time that beginning to fill a blob takes before its upstream is asked, and leave nothing behind."""


class Fills(Protocol):
    """Blobs on their way: see fill/fills.py."""

    async def visit(self, upstream: str, digest: str) -> FillingBlob | None:
        """None when it is not being filled."""

    async def start(
        self,
        upstream: str,
        digest: str,
        fetch: Fetch,
        on_wrong: Callable[[], None],
        *,
        on_verified: Callable[[int], Awaitable[None]],
        on_unkept: Callable[[BlobAnswer], Awaitable[None]],
        anew: bool,
        address: str,
    ) -> bool:
        """Fill it on behalf of a client's address, with `anew` also when it is kept; whether `fetch` was answered.

        `on_wrong` is told when what came is not the blob; `on_verified` its size in bytes when it is, just before it
        is kept; `on_unkept` is given what came when there is no room for it, and closes it or has it closed. Raises
        OciError, UpstreamFailure, StoreFailure.
        """

    def is_running(self, upstream: str, digest: str) -> bool:
        """Whether this process is filling it."""

    async def ended(self, upstream: str, digest: str) -> None:
        """Wait until it is no longer being filled, whatever came of it."""


@dataclass(frozen=True, slots=True)
class CachedBlob:
    """A whole blob from a `BlobCache`."""

    size_bytes: int
    body: Body


class BlobCache(Protocol):
    """Whole, verified blobs of repositories, kept by a shell that does not read them. Nothing here raises."""

    async def find(self, repository: Repository, digest: str) -> CachedBlob | None:
        """None when it is not kept."""

    def keep(self, repository: Repository, digest: str, size_bytes: int, body: Body) -> Body:
        """Keep what goes through this body once it was verified; what to hand on in its place."""


class Sealer(Protocol):
    """Turns grants into tokens that only this gateway can read."""

    async def seal(self, grant: Grant) -> str:
        """A token for a grant."""

    async def open(self, token: str) -> Grant | None:
        """The grant of a token made by `seal`, expired or not; None for any other text."""


class Clock(Protocol):
    """Time. Lifetimes are measured with `monotonic`, which no administrator can set back."""

    def monotonic(self) -> float:
        """Seconds since some moment in the past."""

    def time(self) -> float:
        """Seconds since 1970, UTC."""


class EventLog(Protocol):
    """Where the orchestrator reports what an operator should know."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        """Something went wrong and was dealt with."""


# kept; broken off and to be continued; not what it should be; stopped because nobody wanted it; the disk failed
FillResult = Literal["kept", "failed", "wrong", "unwanted", "store_failed"]


class Metrics(Protocol):
    """Events that an operator wants counted. From any thread; cheap, and nothing here raises."""

    def upstream_asked(self, upstream: str, method: str, status: int | None) -> None:
        """A request went to an upstream, its realm or its CDN; None: there was no usable answer."""

    def upstream_gave(self, upstream: str, size_bytes: int) -> None:
        """So much of a body arrived."""

    def fill_ended(self, upstream: str, result: FillResult) -> None:
        """A fill that this process led is over."""

    def wrong_content(self, upstream: str) -> None:
        """Content had another length or digest than it should have, and was refused."""

    def store_failed(self) -> None:
        """Content could not be kept."""

    def index_failed(self) -> None:
        """The index could not be read or written."""

    def quota(self, upstream: str, account: str, limit: int, remaining: int) -> None:
        """An upstream said how many pulls an account of the gateway's has left (`anonymous`: its address)."""

    def account_refused(self, upstream: str, account: str) -> None:
        """An upstream refused the user name or password of the gateway's own account."""


class Uncounted:
    """The `Metrics` of whoever has nobody to tell."""

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
