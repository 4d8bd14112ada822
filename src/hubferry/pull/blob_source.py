"""Blobs of one repository, asked of its upstream: does it hold one, and its bytes from an offset on.

What comes is checked as far as its head tells: no web page, no range that was not asked for. Not here: what the
bytes are (fill/), who may have them (rights.py).
"""

from dataclasses import dataclass
from typing import cast

from hubferry.core import headers as head
from hubferry.core.errors import Asked, Code, relay_error
from hubferry.core.http import get
from hubferry.core.ranges import ByteRange
from hubferry.ports import Fetched, Readable, UpstreamResponse
from hubferry.pull.content import check_partial
from hubferry.pull.fetch import Fetcher, Target
from hubferry.pull.manifests import unusable


@dataclass(frozen=True, slots=True)
class Proven:
    """The upstream holds the blob and shows it to this caller; its size and type as far as it says."""

    size_bytes: int | None
    media_type: str


class BlobSource:
    """One blob of one target."""

    def __init__(self, fetcher: Fetcher, target: Target, digest: str) -> None:
        self._fetcher = fetcher
        self._target = target
        self._path = f"/v2/{target.repository}/blobs/{digest}"
        self.asked = Asked(target.origin.name, target.repository, digest, Code.BLOB_UNKNOWN)

    async def prove(self) -> Proven:
        """Ask by HEAD, which downloads nothing; by a GET that is closed at once where there is no HEAD.

        Raises OciError.
        """
        response = await self._fetcher.fetch(self._target, "HEAD", self._path, head.UNENCODED)
        if response.status == 405:
            await response.body.close()
            response = await self._fetcher.fetch(self._target, "GET", self._path, head.UNENCODED)
        try:
            return Proven(self._whole_size(response), get(response.headers, "content-type") or "")
        finally:
            await response.body.close()

    async def fetch(self, start: int, end: int | None = None) -> Fetched:
        """See ports.Fetch."""
        headers = head.UNENCODED
        wanted = ByteRange(start, None if end is None else end - 1) if start or end is not None else None
        if wanted:
            headers = (("range", wanted.format()), *headers)
        response = await self._fetcher.fetch(self._target, "GET", self._path, headers)
        body = cast("Readable", response.body)  # opaque to the orchestrator, readable in a shell that keeps blobs
        try:
            if wanted is None or response.status != 206:
                return Fetched(0, self._whole_size(response), body)
            self._refuse_page(response)
            partial = check_partial(self.asked, wanted, response)
            due = {end, partial.total} - {None}
            if due and partial.last + 1 not in due:
                raise unusable(self.asked, "it ended a range before it was asked to")
        except BaseException:
            await body.close()
            raise
        size_bytes = partial.last + 1 if partial.total is None and end is None else partial.total
        return Fetched(partial.first, size_bytes, body)

    def _whole_size(self, response: UpstreamResponse) -> int | None:
        if response.status != 200:
            raise relay_error(response.status, response.headers, self.asked)
        self._refuse_page(response)
        said = get(response.headers, "content-length") or ""
        return int(said) if said.isdecimal() and len(said) <= 18 else None

    def _refuse_page(self, response: UpstreamResponse) -> None:
        if head.media_type(get(response.headers, "content-type")) == "text/html":
            raise unusable(self.asked, "it is a web page, such as a captive portal's or a firewall's")
