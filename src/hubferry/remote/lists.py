"""Lists of one repository, asked of its upstream: its tags, and what refers to a digest.

Not here: what is kept of lists (pull/lists.py), the pages that clients get (gateway/responses.py).
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from hubferry.core import headers as head
from hubferry.core.documents import parse_json
from hubferry.core.errors import Asked, Code, OciError
from hubferry.core.http import get
from hubferry.core.manifest import OCI_INDEX
from hubferry.core.tags import Page, next_last, parse_tags
from hubferry.ports.upstream import TooLarge, Transport, UpstreamFailure
from hubferry.remote.fetch import Fetcher
from hubferry.remote.parsing import Documents
from hubferry.remote.refusals import refusal_of, unreachable, unusable
from hubferry.remote.target import AnsweredBy, Question, Target

MAX_FILTERS = 256  # characters of OCI-Filters-Applied: names of filters, of which there is one
MAX_LIST = 8 * 2**20  # bytes; Docker Hub's longest tag lists have some hundred kilobytes


@dataclass(frozen=True, slots=True)
class ListQuery:
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
        """Return what is asked of a target, for messages and for the code of a 404."""
        return Asked(target.upstream.name, target.repository, self.subject, self.unknown)


def tags_query(page: Page) -> ListQuery:
    """Return the question for one page of the tag list."""
    parameters = page.query()
    return ListQuery("tags/list" + (f"?{parameters}" if parameters else ""), unknown=Code.NAME_UNKNOWN)


def referrers_query(digest: str, artifact_type: str = "", page: Page = Page(None, "")) -> ListQuery:  # noqa: B008 - frozen
    """Return the question for one page of what refers to a digest, of every artifact type or of one."""
    parts = [urlencode({"artifactType": artifact_type}) if artifact_type else "", page.query()]
    parameters = "&".join(part for part in parts if part)
    whole = f"referrers/{digest}"
    name = whole + (f"?{parameters}" if parameters else "")
    is_whole = not page.query()
    return ListQuery(
        name, accept=OCI_INDEX, subject=digest, whole=whole if is_whole else "", unknown=Code.MANIFEST_UNKNOWN
    )


@dataclass(frozen=True, slots=True)
class ListContent:
    """What an upstream says of a list: its body, or `absence`, when there is no such list.

    `filters` is its `OCI-Filters-Applied`, `next_last` what the next page is asked for with.
    """

    body: bytes = b""
    media_type: str = ""
    filters: str = ""
    next_last: str = ""
    absence: OciError | None = None


class RemoteLists:
    """Asks upstreams for tag lists and referrers, and checks that the answers are such lists."""

    def __init__(self, fetcher: Fetcher, transport: Transport) -> None:
        self._fetcher = fetcher
        self._documents = Documents(transport)

    def limit_wait(self, target: Target, *, is_covered: bool) -> AbstractAsyncContextManager[None]:
        """Limit how long the block may wait for the upstream, as Fetcher.limit_wait does."""
        return self._fetcher.limit_wait(target, is_covered=is_covered)

    async def ask(self, target: Target, query: ListQuery) -> tuple[ListContent, AnsweredBy]:
        """What the upstream says now, and whether it or a mirror said so. Raises OciError unless it is 200 or 404."""
        asked = query.asked_of(target)
        sent = ((("accept", query.accept),) if query.accept else ()) + head.UNENCODED
        path = f"/v2/{target.repository}/{query.name}"
        obtained = await self._fetcher.obtain(Question(target, asked, "GET", path, sent, "lists"))
        response = obtained.response
        if response.status != 200:
            await response.body.close()
            error = refusal_of(response, asked, is_elsewhere=bool(obtained.direct_url))
            if error.status != 404:
                raise error
            return ListContent(absence=error), obtained.answered_by
        try:
            check = _check_referrers if query.subject else _check_tags
            body, _ = await self._documents.read(asked.upstream, response, MAX_LIST, check)
        except TooLarge:
            raise unusable(asked, f"its list is larger than {MAX_LIST} bytes") from None
        except ValueError:
            raise unusable(asked, "its list cannot be read") from None
        except UpstreamFailure as error:
            raise unreachable(target.upstream.name, error) from error
        received = response.headers
        listed = ListContent(
            body,
            head.media_type(get(received, "content-type")),
            (get(received, "oci-filters-applied") or "")[:MAX_FILTERS],
            next_last(get(received, "link")),
        )
        return replace(listed, media_type=OCI_INDEX) if query.subject else listed, obtained.answered_by


def _check_tags(body: bytes) -> None:
    """Raises ValueError for what is no list of tags, such as the page of a captive portal."""
    parse_tags(body)


def _check_referrers(body: bytes) -> None:
    """Raises ValueError for what is no list of referrers, such as an error that came with 200."""
    document = parse_json(body)
    if not isinstance(document, dict) or not isinstance(document.get("manifests"), list):
        raise ValueError("not an index")
