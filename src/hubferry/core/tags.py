"""Pages of a tag list: limit what a client may ask for, and sort and cut what an upstream answers.

Pure. OCI distribution specification, "Listing Tags": lexical order, the parameters `n` and `last`, and a `Link` to the
next page. Some upstreams ignore `n` and `last` (distribution 2.8 returns all tags at once), so the page is cut here
when the upstream did not do it. CVE-2023-2253: an unbounded `n` wastes memory.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from hubferry.core.documents import parse_json
from hubferry.core.errors import Code, OciError
from hubferry.core.reference import is_tag

MAX_PAGE = 1000
CURSOR = "~"  # marks a `last` that is no tag but the upstream's own position; no tag begins with it
MAX_LINK = 8192  # characters; a longer Link is ignored
SORTED_AT_ONCE = 10_000  # sorting holds the interpreter lock: for this many tags it takes some milliseconds
MAX_LAST = 2048  # characters; some registries (ECR) use opaque markers of several hundred


@dataclass(frozen=True, slots=True)
class Page:
    """The page that a client asks for: at most `size` tags (None: as many as the upstream gives) after `last`."""

    size: int | None
    last: str

    def query(self) -> str:
        """Return the query string to ask the upstream with."""
        # for an empty page one tag is asked for, which still shows whether the repository exists
        pairs = [("n", str(self.size or 1))] if self.size is not None else []
        if self.last.startswith(CURSOR):
            pairs += [(key, value) for key, value in parse_qsl(self.last[1:]) if key not in ("n", "ns")]
        elif self.last:
            pairs.append(("last", self.last))
        return urlencode(pairs)


def parse_page(n: str, last: str) -> Page:
    """Return the page for the parameters `n` and `last` of a request; `n` is limited to MAX_PAGE.

    Raises OciError 400 when `n` is not a number or `last` is too long.
    """
    if len(last) > MAX_LAST:
        raise OciError(400, Code.NAME_INVALID, f"invalid `last`: it has at most {MAX_LAST} characters")
    if not n:
        return Page(None, last)
    if not re.fullmatch(r"\d{1,30}", n):
        raise OciError(400, Code.PAGINATION_NUMBER_INVALID, "invalid `n`: use a number from 0 on", detail={"n": n[:64]})
    return Page(min(int(n), MAX_PAGE), last)


@dataclass(frozen=True, slots=True)
class TagPage:
    """A page for the client: the tags in order, and the `last` that asks for the next page (empty: there is none)."""

    tags: list[str]
    next_last: str


def decide_page(asked: Page, tags: Sequence[str], following: str) -> TagPage:
    """Return the client's page, made from an upstream's answer.

    `following` is what asks the upstream for its next page (`next_last` of its Link), or empty when it sent no Link. In
    that case the answer may contain tags up to `last`, or more than `n` tags, because the upstream does not paginate.
    Then the page is cut here.
    """
    if asked.size == 0:
        return TagPage([], "")
    if following != "":
        return TagPage(list(_in_order(tags)), following)
    if is_tag(asked.last):
        tags = [tag for tag in tags if tag > asked.last]
    if asked.size is None:
        return TagPage(list(_in_order(tags)), "")
    page = list(islice(_in_order(tags), asked.size + 1))
    return TagPage(page[: asked.size], page[asked.size - 1] if len(page) > asked.size else "")


def _in_order(tags: Sequence[str]) -> Iterator[str]:
    """Yield each tag once, sorted."""
    runs = [sorted(tags[at : at + SORTED_AT_ONCE]) for at in range(0, len(tags), SORTED_AT_ONCE)]
    while len(runs) > 1:  # `sorted` merges two sorted runs in one pass
        runs = [sorted(chain.from_iterable(runs[at : at + 2])) for at in range(0, len(runs), 2)]
    return (tag for tag, _ in groupby(chain.from_iterable(runs)))


def next_last(link: str | None) -> str:
    """Return what asks for the next page, taken from an upstream's `Link: <...>; rel="next"`; empty: there is none.

    It is the `last` parameter in the link. Where the registry has another way to mark a position (quay.io:
    `next_page`), it is CURSOR followed by the link's query.
    """
    if link is None or len(link) > MAX_LINK:
        return ""
    for match in re.finditer(r"<([^<>]{1,4096})>([^,<]*)", link):
        if re.search(r';\s*rel="?next"?\s*(;|$)', match[2].strip()):
            try:
                query = dict(parse_qsl(urlsplit(match[1]).query))
            except ValueError:
                return ""
            others = {key: value for key, value in query.items() if key not in ("n", "ns")}
            return query.get("last", "") or (CURSOR + urlencode(others) if others else "")
    return ""


def next_query(size: int | None, last: str) -> str:
    """Return the query string for the next page, for the `Link` header to the client."""
    pairs = {"last": last} if size is None else {"last": last, "n": str(size)}
    return urlencode(pairs, quote_via=quote)


def parse_tags(body: bytes) -> list[str]:
    """Return the tags in an upstream's answer. Raises ValueError when the body is not a tag list."""
    document = parse_json(body)
    tags = document.get("tags") if isinstance(document, dict) else None
    if tags is None and isinstance(document, dict) and "name" in document:
        return []  # distribution answers `"tags": null` for a repository without tags
    if not isinstance(tags, list) or not all(isinstance(tag, str) and is_tag(tag) for tag in tags):
        raise ValueError("not a tag list")
    return tags
