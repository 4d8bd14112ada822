"""Blobs of one repository, asked of its upstream: does it hold one, and its bytes from an offset on.

What comes is checked as far as its head tells: no web page, no range that was not asked for. Further ranges come from
where a redirect led the first time, for as long as that gives them; then the upstream is asked to sign another URL.
Not here: what the bytes are (fill/), who may have them (pull/rights.py).
"""

from dataclasses import dataclass, replace
from typing import cast

from hubferry.core import headers as head
from hubferry.core.errors import Asked, Code, OciError
from hubferry.core.http import Headers, get
from hubferry.core.ranges import ByteRange, ContentRange, answers, parse_content_range
from hubferry.ports.fills import Fetched
from hubferry.ports.upstream import Body, Readable, UpstreamResponse
from hubferry.remote.exchanges import Obtained
from hubferry.remote.fetch import Fetcher
from hubferry.remote.refusals import refusal_of, unusable
from hubferry.remote.target import AnsweredBy, Question, Target


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What an upstream says of a blob that it holds and shows to this caller: its size (None: it does not say)."""

    size_bytes: int | None
    answered_by: AnsweredBy = "upstream"


@dataclass(frozen=True, slots=True)
class Passing:
    """A blob of this size (None: the upstream does not say), or the `part` of it that a body on its way has."""

    size_bytes: int | None
    part: ContentRange | None
    body: Body | None
    answered_by: AnsweredBy


class RemoteBlob:
    """One blob of one repository, asked of its upstream."""

    def __init__(self, fetcher: Fetcher, target: Target, digest: str, size_bytes: int | None = None) -> None:
        """`size_bytes` is what its descriptor says: a blob of another length is not fetched."""
        self._size_bytes = size_bytes
        self._is_size_said = False
        self._fetcher = fetcher
        self._target = target
        self._path = f"/v2/{target.repository}/blobs/{digest}"
        self._obtained: Obtained | None = None
        self._answered_by: AnsweredBy | None = None
        self._bases: set[str] = set()
        self._begun: dict[int, str] = {}  # where a fetch began, and at which base
        self.asked = Asked(target.upstream.name, target.repository, digest, Code.BLOB_UNKNOWN)

    async def describe(self) -> BlobInfo:
        """Ask by HEAD, which downloads nothing; by a GET that is closed at once where there is no HEAD.

        Raises OciError.
        """
        obtained = await self._ask("HEAD", head.UNENCODED)
        if obtained.response.status == 405:
            await obtained.response.body.close()
            obtained = await self._ask("GET", head.UNENCODED)
        response = obtained.response
        try:
            return BlobInfo(self._whole_size(obtained), obtained.answered_by)
        finally:
            await response.body.close()

    async def fetch(self, start: int, end: int | None = None) -> Fetched:
        """Ask for the bytes from `start` up to, but not including, `end`, as ports.fills.Fetch says."""
        headers = head.UNENCODED
        wanted = ByteRange(start, None if end is None else end - 1) if start or end is not None else None
        if wanted:
            headers = (("range", wanted.format()), *headers)
        obtained = await self._respond(start, headers)
        response, by_mirror = obtained.response, obtained.answered_by == "mirror"
        body = cast("Readable", response.body)  # opaque here; readable in a shell that keeps blobs
        try:
            if wanted is None or response.status != 206:
                return Fetched(0, self._due_size(self._whole_size(obtained)), body, by_mirror)
            self._refuse_page(response)
            partial = check_partial(self.asked, wanted, response)
            due = {end, partial.total} - {None}
            if due and partial.last + 1 not in due:
                raise unusable(self.asked, "it ended a range before it was asked to")
            size_bytes = partial.last + 1 if partial.total is None and end is None else partial.total
            return Fetched(partial.first, self._due_size(size_bytes), body, by_mirror)
        except BaseException:
            await body.close()
            raise

    async def pass_on(self, byte_range: ByteRange | None, *, wants_body: bool) -> Passing:
        """Ask once, for a body that nobody reads here: it is the caller's to close. Raises OciError."""
        headers = head.UNENCODED if byte_range is None else (("range", byte_range.format()), *head.UNENCODED)
        obtained = await self._ask("GET" if wants_body else "HEAD", headers)
        response = obtained.response
        try:
            if response.status == 206:
                self._refuse_page(response)
                part = check_partial(self.asked, byte_range, response)
                size_bytes = part.total
            else:
                part, size_bytes = None, self._whole_size(obtained)
        except OciError:
            await response.body.close()
            raise
        if wants_body:
            return Passing(size_bytes, part, response.body, obtained.answered_by)
        await response.body.close()
        return Passing(size_bytes, part, None, obtained.answered_by)

    def gave_wrong(self) -> None:
        """What was fetched is not the blob: whoever may be to blame is not asked for a while."""
        self._obtained = None
        if self._size_bytes is not None and not self._is_size_said:
            return  # it may only be longer than its descriptor says
        for base in self._bases:
            self._fetcher.distrust(self._target.upstream, base)

    @property
    def answered_by(self) -> AnsweredBy:
        """Whose first answer lets the caller have it; "mirror", the weaker one, while there is none."""
        return self._answered_by or "mirror"

    async def _respond(self, start: int, headers: Headers) -> Obtained:
        failed = self._begun.get(start, "")  # it got nowhere from here, or not at all
        before = None if failed else self._obtained
        if before is not None and before.direct_url:
            self._begun[start] = before.base
            response = await self._fetcher.repeat(self._target.upstream, before.direct_url, headers)
            if response is not None:
                return replace(before, response=response)
        self._begun[start] = ""
        obtained = await self._ask("GET", headers, failed)
        self._begun[start] = obtained.base
        if obtained.response.status in (200, 206):  # a refusal is nobody's word that it may be had
            self._obtained = obtained
            self._bases.add(obtained.base)
            self._answered_by = self._answered_by or obtained.answered_by
        return obtained

    async def _ask(self, method: str, headers: Headers, ask_last: str = "") -> Obtained:
        question = Question(self._target, self.asked, method, self._path, headers, "blobs", ask_last)
        return await self._fetcher.obtain(question)

    def _whole_size(self, obtained: Obtained) -> int | None:
        response = obtained.response
        if response.status != 200:
            raise refusal_of(obtained.response, self.asked, is_elsewhere=bool(obtained.direct_url))
        self._refuse_page(response)
        said = get(response.headers, "content-length") or ""
        return int(said) if said.isdecimal() and len(said) <= 18 else None

    def _due_size(self, said_bytes: int | None) -> int | None:
        """How long the blob has to be, given what an answer says. Raises OciError 502 when it says something else."""
        if self._size_bytes is not None and said_bytes not in (None, self._size_bytes):
            raise unusable(self.asked, f"it has {said_bytes} bytes, and its descriptor says {self._size_bytes}")
        self._is_size_said = said_bytes is not None
        return self._size_bytes if said_bytes is None else said_bytes

    def _refuse_page(self, response: UpstreamResponse) -> None:
        if head.media_type(get(response.headers, "content-type")) == "text/html":
            raise unusable(self.asked, "it is a web page, such as a captive portal's or a firewall's")


def check_partial(asked: Asked, byte_range: ByteRange | None, response: UpstreamResponse) -> ContentRange:
    """What a 206 holds. Raises OciError 502 when that is not what was asked for."""
    got = parse_content_range(get(response.headers, "content-range"))
    length = get(response.headers, "content-length")
    if (
        byte_range is None
        or got is None
        or not answers(byte_range, got)
        or (length is not None and length != str(got.length))
    ):
        raise unusable(asked, "it answered with a range that was not asked for")
    return got
