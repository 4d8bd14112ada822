"""Blobs that go from the upstream to the client and are not kept.

What is asked begins with a settled repository and credential, and ends with an Answer or an OciError.
"""

from collections.abc import Awaitable, Callable

from hubferry.core import headers as head
from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.core.http import Request, get
from hubferry.core.ranges import ByteRange, ContentRange, answers, parse_content_range, parse_range
from hubferry.ports import UpstreamResponse
from hubferry.pull.answer import Answer
from hubferry.pull.blob_answers import BINARY
from hubferry.pull.fetch import Fetcher
from hubferry.pull.manifests import unusable
from hubferry.pull.target import Question, Target

Stream = Callable[[Request, Target, str], Awaitable[Answer]]
"""`StreamedBlobs.answer`: what answers for a blob without keeping anything."""


class StreamedBlobs:
    """Answers requests for blobs without keeping anything."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def answer(self, request: Request, target: Target, digest: str) -> Answer:
        """GET or HEAD of a blob, whole or one range, streamed."""
        asked = Asked(target.origin.name, target.repository, digest, Code.BLOB_UNKNOWN)
        byte_range = None
        # content under a digest never changes, so our ETag is the digest: If-Range names it or means a full body
        if_range = request.header("if-range")
        if request.method == "GET" and (if_range is None or head.etag_matches(if_range, digest)):
            byte_range = parse_range(request.header("range"))
        sent = head.UNENCODED
        if byte_range:
            sent = (("range", byte_range.format()), *sent)
        path = f"/v2/{target.repository}/blobs/{digest}"
        obtained = await self._fetcher.obtain(Question(target, asked, request.method, path, sent, "blobs"))
        response, witness = obtained.response, obtained.witness
        if response.status not in (200, 206):
            await response.body.close()
            raise relay_error(response.status, response.headers, asked)
        partial = None
        try:
            if head.media_type(get(response.headers, "content-type")) == "text/html":
                raise unusable(asked, "it is a web page, such as a captive portal's or a firewall's")
            if response.status == 206:
                partial = check_partial(asked, byte_range, response)
        except OciError:
            await response.body.close()
            raise
        known = {name: said for name in head.FROM_BLOB if (said := get(response.headers, name)) is not None}
        known |= {
            "content-type": BINARY,
            "docker-content-digest": digest,
            "etag": f'"{digest}"',
            "accept-ranges": "bytes",
        }
        if partial is not None:
            known["content-length"] = str(partial.length)
        if request.method == "HEAD":
            await response.body.close()
            return Answer(response.status, tuple(known.items()), witness=witness)
        return Answer(response.status, tuple(known.items()), response.body, witness=witness)


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
