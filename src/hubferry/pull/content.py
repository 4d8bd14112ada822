"""Blobs, tag lists and referrers of one repository of one upstream.

Everything here begins with a settled route and credential and ends with an Answer or an OciError.
"""

import json
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlencode

from hubferry.core import headers as head
from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.core.http import Headers, Request, get
from hubferry.core.ranges import ByteRange, ContentRange, answers, parse_content_range, parse_range
from hubferry.core.routing import Endpoint, Route
from hubferry.core.tags import decide_page, next_last, next_query, parse_page, parse_tags
from hubferry.ports import TooLarge, Upstream, UpstreamFailure, UpstreamResponse
from hubferry.pull.answer import Answer, json_answer
from hubferry.pull.fetch import Fetcher, unreachable
from hubferry.pull.manifests import unusable
from hubferry.pull.target import Question, Target

MAX_LIST = 8 * 2**20

Stream = Callable[[Request, Target, str], Awaitable[Answer]]
"""`Content.blob`: what answers for a blob without keeping anything."""


class Content:
    """Answers the endpoints that name a repository."""

    def __init__(self, fetcher: Fetcher, upstream: Upstream) -> None:
        self._fetcher = fetcher
        self._upstream = upstream

    async def blob(self, request: Request, target: Target, digest: str) -> Answer:
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
            "content-type": known.get("content-type", "application/octet-stream"),
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

    async def tags(self, route: Route, target: Target, endpoint: Endpoint) -> Answer:
        """One page of the tag list, in order, with a relative Link to the next one."""
        asked = Asked(route.upstream, route.repository, "", Code.NAME_UNKNOWN)
        page = parse_page(endpoint.param("n"), endpoint.param("last"))
        query = page.query()
        path = f"/v2/{route.repository}/tags/list" + (f"?{query}" if query else "")
        body, received = await self._list(target, path, (), asked)
        try:
            tags = parse_tags(body)
        except ValueError:
            raise unusable(asked, "its tag list cannot be read") from None
        decided = decide_page(page, tags, get(received, "link"))
        headers: Headers = ()
        if decided.next_last:
            following = next_query(page.size, decided.next_last)
            if route.namespace:
                following += f"&ns={route.namespace}"
            headers = (("link", f'</v2/{route.named}/tags/list?{following}>; rel="next"'),)
        document = {"name": route.named, "tags": decided.tags}
        return json_answer(json.dumps(document).encode(), headers)

    async def referrers(self, route: Route, target: Target, endpoint: Endpoint) -> Answer:
        """The upstream's index of what refers to a digest; 404 when it has no referrers API."""
        asked = Asked(route.upstream, route.repository, endpoint.reference)
        asked_for = [(key, endpoint.param(key)) for key in ("artifactType", "n", "last") if endpoint.param(key)]
        query = urlencode(asked_for)
        path = f"/v2/{route.repository}/referrers/{endpoint.reference}" + (f"?{query}" if query else "")
        accept = (("accept", "application/vnd.oci.image.index.v1+json"),)
        body, received = await self._list(target, path, accept, asked)
        kept: Headers = ()
        filters = get(received, "oci-filters-applied")
        if filters:
            kept = (("oci-filters-applied", filters),)
        last = next_last(get(received, "link"))
        if last:
            following = [(key, value) for key, value in asked_for if key != "last"] + [("last", last)]
            if route.namespace:
                following.append(("ns", route.namespace))
            next_page = urlencode(following, quote_via=quote)
            kept = (*kept, ("link", f'</v2/{route.named}/referrers/{endpoint.reference}?{next_page}>; rel="next"'))
        media_type = head.media_type(get(received, "content-type"))
        head_lines = (("content-type", media_type), ("content-length", str(len(body))))
        return Answer(200, head_lines + kept, body)

    async def _list(self, target: Target, path: str, extra: Headers, asked: Asked) -> tuple[bytes, Headers]:
        sent = (*extra, *head.UNENCODED)
        response = await self._fetcher.fetch(Question(target, asked, "GET", path, sent, "lists"))
        if response.status != 200:
            await response.body.close()
            raise relay_error(response.status, response.headers, asked)
        try:
            return await self._upstream.read(response, MAX_LIST), response.headers
        except TooLarge:
            raise unusable(asked, f"its list is larger than {MAX_LIST} bytes") from None
        except UpstreamFailure as error:
            raise unreachable(target.origin.name, error) from error


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
