"""Lists of one repository: its tags, and what refers to a digest. What is asked, and how it is answered.

A `ListSource` finds a list; the functions below make the answer of it. Not here: what is kept of lists (kept_lists.py).
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol
from urllib.parse import quote, urlencode

from hubferry.core import headers as head
from hubferry.core.documents import parse_json
from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.core.http import Headers, get
from hubferry.core.manifest import OCI_INDEX
from hubferry.core.referrers import check_artifact_type
from hubferry.core.routing import Endpoint, Route
from hubferry.core.tags import Page, decide_page, next_last, next_query, parse_page, parse_tags
from hubferry.ports import TooLarge, Upstream, UpstreamFailure
from hubferry.pull.answer import Answer, Trail, error_answer, json_answer
from hubferry.pull.fetch import Fetcher, unreachable
from hubferry.pull.manifests import unusable
from hubferry.pull.parsing import parsed
from hubferry.pull.target import Question, Target, Witness

MAX_FILTERS = 256  # characters of OCI-Filters-Applied: names of filters, of which there is one
MAX_LIST = 8 * 2**20  # bytes; Docker Hub's longest tag lists have some hundred kilobytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """A list of one repository, or one page of it, as its upstream is asked for it.

    `name` is path and query below the repository, `unknown` the code of its 404. `subject` is the digest that it is
    about, empty for tags. `whole` is the name of the list that holds all of this one, empty when there is none.
    """

    name: str
    unknown: Code
    accept: str = ""
    subject: str = ""
    whole: str = ""

    def asked_of(self, target: Target) -> Asked:
        """What is asked, for messages and for the code of a 404."""
        return Asked(target.origin.name, target.repository, self.subject, self.unknown)


def wanted_tags(page: Page) -> Wanted:
    """A page of the tag list."""
    query = page.query()
    return Wanted("tags/list" + (f"?{query}" if query else ""), unknown=Code.NAME_UNKNOWN)


def wanted_referrers(digest: str, artifact_type: str = "", page: Page = Page(None, "")) -> Wanted:  # noqa: B008 - frozen
    """What refers to a digest, of every type or of one."""
    parts = [urlencode({"artifactType": artifact_type}) if artifact_type else "", page.query()]
    query = "&".join(part for part in parts if part)
    whole = f"referrers/{digest}"
    name = whole + (f"?{query}" if query else "")
    is_whole = not page.query()
    return Wanted(
        name, accept=OCI_INDEX, subject=digest, whole=whole if is_whole else "", unknown=Code.MANIFEST_UNKNOWN
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """What an upstream says of a list: its body, or `absence`, when there is no such list.

    `filters` is its `OCI-Filters-Applied`, `next_last` what the next page is asked for with. `extra` are headers for
    the client, such as those of an answer that is stale.
    """

    body: bytes = b""
    media_type: str = ""
    filters: str = ""
    next_last: str = ""
    extra: Headers = ()
    absence: OciError | None = None


class ListSource(Protocol):
    """Finds lists."""

    async def find(self, target: Target, wanted: Wanted, trail: Trail) -> Listed:
        """The list, or its absence; says in `trail` how that was found out. Raises OciError for everything else."""


class UpstreamLists:
    """Asks the upstream every time."""

    def __init__(self, fetcher: Fetcher, upstream: Upstream) -> None:
        self._fetcher = fetcher
        self._upstream = upstream

    async def find(self, target: Target, wanted: Wanted, trail: Trail) -> Listed:
        """See ListSource."""
        trail.outcome = "bypass"
        listed, _ = await self.ask(target, wanted)
        return listed

    async def ask(self, target: Target, wanted: Wanted) -> tuple[Listed, Witness]:
        """What the upstream says now, and whether it or a mirror said so. Raises OciError unless it is 200 or 404."""
        asked = wanted.asked_of(target)
        sent = ((("accept", wanted.accept),) if wanted.accept else ()) + head.UNENCODED
        path = f"/v2/{target.repository}/{wanted.name}"
        obtained = await self._fetcher.obtain(Question(target, asked, "GET", path, sent, "lists"))
        response = obtained.response
        if response.status != 200:
            await response.body.close()
            error = relay_error(response.status, response.headers, asked)
            if error.status != 404:
                raise error
            return Listed(absence=error), obtained.witness
        try:
            body = await self._upstream.read(response, MAX_LIST)
        except TooLarge:
            raise unusable(asked, f"its list is larger than {MAX_LIST} bytes") from None
        except UpstreamFailure as error:
            raise unreachable(target.origin.name, error) from error
        received = response.headers
        listed = Listed(
            body,
            head.media_type(get(received, "content-type")),
            (get(received, "oci-filters-applied") or "")[:MAX_FILTERS],
            next_last(get(received, "link")),
        )
        try:
            await parsed(body, _check_referrers if wanted.subject else _check_tags)
        except ValueError:
            raise unusable(asked, "its list cannot be read") from None
        return replace(listed, media_type=OCI_INDEX) if wanted.subject else listed, obtained.witness


def _check_tags(body: bytes) -> None:
    """Raises ValueError for what is no list of tags, such as the page of a captive portal."""
    parse_tags(body)


def _check_referrers(body: bytes) -> None:
    """Raises ValueError for what is no list of referrers, such as an error that came with 200."""
    document = parse_json(body)
    if not isinstance(document, dict) or not isinstance(document.get("manifests"), list):
        raise ValueError("not an index")


async def answer_tags(lists: ListSource, route: Route, target: Target, endpoint: Endpoint, trail: Trail) -> Answer:
    """One page of the tag list, in order, with a relative Link to the next one. Raises OciError."""
    page = parse_page(endpoint.param("n"), endpoint.param("last"))
    listed = await lists.find(target, wanted_tags(page), trail)
    if listed.absence is not None:
        return absence_answer(listed)
    try:
        content, last = await parsed(listed.body, partial(_tag_page, route.named, page, listed.next_last))
    except ValueError:  # only of one that was kept when more was allowed
        raise unusable(wanted_tags(page).asked_of(target), "its list cannot be read") from None
    headers = listed.extra
    if last:
        following = next_query(page.size, last)
        if route.namespace:
            following += f"&ns={route.namespace}"
        headers += (("link", f'</v2/{route.named}/tags/list?{following}>; rel="next"'),)
    return json_answer(content, headers)


def _tag_page(name: str, page: Page, following: str, body: bytes) -> tuple[bytes, str]:
    """A page of an upstream's list as a client gets it, and the `last` of the next one (empty: there is none)."""
    decided = decide_page(page, parse_tags(body), following)
    tags = ", ".join(f'"{tag}"' for tag in decided.tags)  # no tag has a character that JSON would have to escape
    return f'{{"name": {json.dumps(name)}, "tags": [{tags}]}}'.encode(), decided.next_last


async def answer_referrers(lists: ListSource, route: Route, target: Target, endpoint: Endpoint, trail: Trail) -> Answer:
    """The index of what refers to a digest; 404 where there is no referrers API. Raises OciError."""
    types = [value for key, value in endpoint.query if key == "artifactType"]
    # of several none is asked for: registries differ in what that means, and clients filter what was not filtered
    artifact_type = check_artifact_type(types[0]) if len(types) == 1 else ""
    page = parse_page(endpoint.param("n"), endpoint.param("last"))
    listed = await lists.find(target, wanted_referrers(endpoint.reference, artifact_type, page), trail)
    if listed.absence is not None:
        return absence_answer(listed)
    headers = listed.extra
    if listed.filters:
        headers += (("oci-filters-applied", listed.filters),)
    if listed.next_last:
        pairs = {"artifactType": artifact_type, "n": str(page.size or ""), "last": listed.next_last}
        pairs["ns"] = route.namespace or ""
        following = urlencode({name: value for name, value in pairs.items() if value}, quote_via=quote)
        link = f'</v2/{route.named}/referrers/{endpoint.reference}?{following}>; rel="next"'
        headers += (("link", link),)
    lines = (("content-type", listed.media_type), ("content-length", str(len(listed.body))))
    return Answer(200, lines + headers, listed.body)


def absence_answer(listed: Listed) -> Answer:
    """The 404 for a list whose `absence` is known, which is news and no failure."""
    if listed.absence is None:
        raise AssertionError("the list is there")
    answer = error_answer(listed.absence)
    return replace(answer, headers=answer.headers + listed.extra)
