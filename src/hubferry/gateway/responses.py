"""Results of pull/ as answers to HTTP requests: status, headers, conditions, ranges, pages.

RFC 9110, OCI distribution specification. Each answer's record says how its result was found. Pure, but for large lists,
which are parsed beside the event loop.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from urllib.parse import quote, urlencode

from hubferry.core import headers as head
from hubferry.core import own_image
from hubferry.core.errors import OciError
from hubferry.core.freshness import stale_headers, warning
from hubferry.core.http import Headers
from hubferry.core.own_image import find_own
from hubferry.core.routing import Route
from hubferry.core.tags import Page, decide_page, next_query, parse_tags
from hubferry.gateway.answer import AccessRecord, Answer, error_answer, json_answer
from hubferry.gateway.request import ReferrersPage, RegistryRequest
from hubferry.pull.results import Absent, BlobResult, ListResult, ManifestResult
from hubferry.remote.parsing import parsed

# of every blob, whatever an upstream says: a browser would show a web page or an image as one of the gateway's own
BINARY = "application/octet-stream"


def manifest_answer(request: RegistryRequest, found: ManifestResult, record: AccessRecord) -> Answer:
    """Answer with a manifest: 200, or 304 when `If-None-Match` names its digest."""
    info, record = found.info, replace(record, outcome=found.outcome)
    identity = (("docker-content-digest", info.digest), ("etag", f'"{info.digest}"'))
    extra = _warnings(record)
    if head.etag_matches(request.header("if-none-match"), info.digest):
        return Answer(304, identity + extra, record=record, reusable_s=found.reusable_s)
    size_bytes = info.size_bytes if found.content is None else len(found.content)
    lines = (("content-type", info.media_type), ("content-length", str(size_bytes)), *identity, *extra)
    body = found.content if request.wants_body else None
    return Answer(200, lines, body, record, found.reusable_s)


def blob_answer(digest: str, found: BlobResult, record: AccessRecord) -> Answer:
    """Answer with a blob: 200, or 206 for a range of it."""
    part, record = found.part, replace(record, outcome=found.outcome)
    length_bytes = found.size_bytes if part is None else part.length
    length = () if length_bytes is None else (("content-length", str(length_bytes)),)
    lines: Headers = (("content-type", BINARY), *length)
    lines += (("docker-content-digest", digest), ("etag", f'"{digest}"'), ("accept-ranges", "bytes"))
    if part is None:
        return Answer(200, lines, found.body, record)
    return Answer(206, (*lines, ("content-range", part.format())), found.body, record)


def own_answer(request: RegistryRequest, record: AccessRecord) -> Answer | None:
    """Answer from the image that only a gateway has; None for what that does not have."""
    found = find_own(request.endpoint.kind, request.endpoint.reference)
    if found is None or record.upstream != own_image.UPSTREAM:
        return None
    lines: Headers = (("content-type", found.media_type), ("content-length", str(len(found.content))))
    if found.digest:
        lines += (("docker-content-digest", found.digest), ("etag", f'"{found.digest}"'))
    return Answer(200, lines, found.content if request.wants_body else None, record)


async def tags_answer(
    route: Route,
    page: Page,
    found: ListResult,
    record: AccessRecord,
    is_listed: Callable[[str], bool] | None = None,
) -> Answer:
    """One page of the tag list, in order, with a relative Link to the next one; with `is_listed` of those tags only.

    Raises ValueError for a list that cannot be read, which can only be one that was kept when more was allowed.
    """
    record = replace(record, outcome=found.outcome)
    if found.content.absence is not None:
        return _absence(found.content.absence, record)
    make_page = partial(_tag_page, route.named, page, found.content.next_last, is_listed)
    content, last = await parsed(found.content.body, make_page)
    headers = _warnings(record)
    if last:
        following = next_query(page.size, last)
        if route.namespace:
            following += f"&ns={route.namespace}"
        headers += (("link", f'</v2/{route.named}/tags/list?{following}>; rel="next"'),)
    return replace(json_answer(content, headers), record=record)


def _tag_page(
    name: str, page: Page, following: str, is_listed: Callable[[str], bool] | None, body: bytes
) -> tuple[bytes, str]:
    """A page of an upstream's list as a client gets it, and the `last` of the next one (empty: there is none)."""
    tags = parse_tags(body)
    decided = decide_page(page, tags if is_listed is None else list(filter(is_listed, tags)), following)
    listed = ", ".join(f'"{tag}"' for tag in decided.tags)  # no tag has a character that JSON would have to escape
    return f'{{"name": {json.dumps(name)}, "tags": [{listed}]}}'.encode(), decided.next_last


def referrers_answer(route: Route, page: ReferrersPage, found: ListResult, record: AccessRecord) -> Answer:
    """The index of what refers to a digest; 404 where there is no referrers API."""
    content, record = found.content, replace(record, outcome=found.outcome)
    headers = _warnings(record)
    if content.absence is not None:
        return _absence(content.absence, record)
    if content.filters:
        headers += (("oci-filters-applied", content.filters),)
    if content.next_last:
        pairs = {"artifactType": page.artifact_type, "n": str(page.page.size or ""), "last": content.next_last}
        pairs["ns"] = route.namespace or ""
        following = urlencode({name: value for name, value in pairs.items() if value}, quote_via=quote)
        link = f'</v2/{route.named}/referrers/{page.digest}?{following}>; rel="next"'
        headers += (("link", link),)
    lines = (("content-type", content.media_type), ("content-length", str(len(content.body))))
    return Answer(200, lines + headers, content.body, record)


def absent_answer(found: Absent, record: AccessRecord) -> Answer:
    """The 404 for a manifest that is known to be absent, which is news and no failure."""
    return _absence(found.refusal, replace(record, outcome=found.outcome))


def _absence(refusal: OciError, record: AccessRecord) -> Answer:
    answer = error_answer(refusal)
    return replace(answer, headers=answer.headers + _warnings(record), record=record)


def _warnings(record: AccessRecord) -> Headers:
    """Return the headers for a result that is stale or only assumed."""
    found = record.outcome
    if found.guess:
        return (warning(f"{found.guess}, because {record.upstream} cannot be asked now"),)
    return () if found.age_s is None else stale_headers(found.age_s, record.upstream)
