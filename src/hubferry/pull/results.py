"""What the use cases of this package are asked, and what they answer: values without a Request or an Answer.

A question is put for a `Target`: an upstream, one repository of it, and whose right counts. What cannot be given is an
OciError. How a result goes to a client is not decided here (gateway/responses.py).
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from hubferry.core.errors import OciError
from hubferry.core.headers import ACCEPT_MANIFESTS
from hubferry.core.ranges import ByteRange, ContentRange
from hubferry.ports.index import ManifestInfo
from hubferry.ports.upstream import Body
from hubferry.remote.lists import ListContent, ListQuery
from hubferry.remote.target import AnsweredBy, Target

EVERY_MANIFEST = ", ".join(ACCEPT_MANIFESTS)  # a manifest as it was pushed, whatever its client could read


# the first five are decided in this package; the others by gateway/ and the shells: no result (empty), a 401 to whoever
# showed no credential, a refusal or failure, a client that left, a body that broke off
OutcomeName = Literal["hit", "revalidated", "miss", "stale", "bypass", "", "challenge", "error", "gone", "cut"]


@dataclass(slots=True)
class Outcome:
    """How a result was found: for the access log, the metrics, the Warning headers, and for warming.

        hit           from what is kept, and the upstream was not asked
        revalidated   from what is kept; the upstream was asked whether it holds still, or for this caller
        miss          from the upstream, and kept unless nobody wanted the content or it could not be kept
        stale         from what is kept, in the place of an upstream that fails or whose limit is nearly used up
        bypass        from the upstream, and not kept

    `problem` says why a result is stale, or is not kept. Both may change until a body was read to its end, because a
    disk may fail in the middle of it.

    Of a stale result `age_s` is how long ago the upstream last confirmed what it says (None where that cannot change),
    and `failure` what it stands in for (None: the limit is to be saved). `guess` is said where it is not known, and
    only assumed.
    """

    name: OutcomeName
    problem: str = ""
    age_s: float | None = None
    failure: OciError | None = None
    guess: str = ""


@dataclass(frozen=True, slots=True)
class ManifestQuery:
    """A manifest by tag or digest. `accept` is the Accept header of who reads it: a list of media types and ranges.

    Without `wants_content` it is enough to know what the manifest is.
    """

    reference: str
    accept: str = EVERY_MANIFEST
    wants_content: bool = True


@dataclass(frozen=True, slots=True)
class ManifestResult:
    """A manifest; its content may be missing where nobody wanted it.

    For `reusable_s` seconds the same question has the same answer, unless the revision changes (rights.Revision).
    """

    info: ManifestInfo
    content: bytes | None
    outcome: Outcome
    reusable_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Absent:
    """That there is no tag in the place of a list of referrers: `refusal` is the 404 that says so."""

    refusal: OciError
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class BlobQuery:
    """A blob by digest, all of it or a range. Without `wants_body` its size is enough.

    `client` is the address for which it is fetched if it has to be: what there is not enough of is shared fairly.
    """

    digest: str
    byte_range: ByteRange | None = None
    wants_body: bool = True
    client: str = ""


@dataclass(frozen=True, slots=True)
class BlobResult:
    """A blob of this size (None: not known), and a body to be closed unless nobody wanted one.

    `part` is which bytes the body has, None: all of them.
    """

    size_bytes: int | None
    outcome: Outcome
    body: Body | None = None
    part: ContentRange | None = None
    answered_by: AnsweredBy = "upstream"


@dataclass(frozen=True, slots=True)
class ListResult:
    """A list, or its absence (`content.absence`)."""

    content: ListContent
    outcome: Outcome


class ManifestSource(Protocol):
    """Whatever finds manifests: kept ones, streamed ones, with or without referrers tags."""

    async def find(self, target: Target, query: ManifestQuery) -> ManifestResult | Absent:
        """Return the manifest, or the absence of a referrers tag. Raises OciError, also a 404 of the last seconds."""


class BlobSource(Protocol):
    """Whatever finds blobs: kept, on their way, cached at the edge, streamed."""

    async def find(self, target: Target, query: BlobQuery) -> BlobResult:
        """Return the blob or its range. Raises OciError: 404 when there is none, 416 for a range that lies outside."""


class ListSource(Protocol):
    """Whatever finds lists of tags, and of what refers to a digest."""

    async def find(self, target: Target, query: ListQuery) -> ListResult:
        """Return the list, or its absence. Raises OciError for everything else."""


@dataclass(frozen=True, slots=True)
class Asks:
    """The sources that a client's questions go to, for those who ask the same questions for another reason."""

    manifests: ManifestSource
    blobs: BlobSource
    lists: ListSource
