"""Pages of a tag list: clamp what is asked, order and cut what an upstream answers.

Pure. OCI distribution specification, "Listing Tags": lexical order, `n` and `last`, a `Link` to the next page.
Some upstreams ignore `n` and `last` (distribution 2.8 answers every tag at once), so pages are cut here when the
answer is not one already. CVE-2023-2253: an unbounded `n` is memory spent for nothing.
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
CURSOR = "~"  # no tag begins with it
MAX_LINK = 8192  # characters of a Link that are worth reading
SORTED_AT_ONCE = 10_000  # sorting keeps the interpreter to itself: of so many tags, some milliseconds
MAX_LAST = 2048  # some registries (ECR) use opaque markers of several hundred characters


@dataclass(frozen=True, slots=True)
class Page:
    """What is asked for: at most `size` tags (None: as many as the upstream gives) after `last`."""

    size: int | None
    last: str

    def query(self) -> str:
        """The query string for the upstream."""
        # an empty page is asked for as one of one tag, which still shows whether the repository is there
        pairs = [("n", str(self.size or 1))] if self.size is not None else []
        if self.last.startswith(CURSOR):
            pairs += [(key, value) for key, value in parse_qsl(self.last[1:]) if key not in ("n", "ns")]
        elif self.last:
            pairs.append(("last", self.last))
        return urlencode(pairs)


def parse_page(n: str, last: str) -> Page:
    """Clamp `n` to 0..MAX_PAGE. Raises OciError 400 when it is no number or `last` is too long."""
    if len(last) > MAX_LAST:
        raise OciError(400, Code.NAME_INVALID, f"invalid `last`: it has at most {MAX_LAST} characters")
    if not n:
        return Page(None, last)
    if not re.fullmatch(r"\d{1,30}", n):
        raise OciError(400, Code.PAGINATION_NUMBER_INVALID, "invalid `n`: use a number from 0 on", detail={"n": n[:64]})
    return Page(min(int(n), MAX_PAGE), last)


@dataclass(frozen=True, slots=True)
class TagPage:
    """A page for the client: the tags in order, and the `last` of the next page (empty: there is none)."""

    tags: list[str]
    next_last: str


def decide_page(asked: Page, tags: Sequence[str], following: str) -> TagPage:
    """The client's page out of an upstream's tags and what it asks the next page with (`next_last` of its Link).

    An upstream without a Link whose answer holds tags up to `last`, or more than `n`, did not paginate: it is
    done here.
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
    """Each tag once, sorted."""
    runs = [sorted(tags[at : at + SORTED_AT_ONCE]) for at in range(0, len(tags), SORTED_AT_ONCE)]
    while len(runs) > 1:  # two that are sorted are merged by the same function, in one pass
        runs = [sorted(chain.from_iterable(runs[at : at + 2])) for at in range(0, len(runs), 2)]
    return (tag for tag, _ in groupby(chain.from_iterable(runs)))


def next_last(link: str | None) -> str:
    """What to ask the next page with, from an upstream's `Link: <...>; rel="next"`; empty: there is none.

    Its `last`; or, where the registry counts in a way of its own (quay.io: `next_page`), its query behind CURSOR.
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
    """The query string of the next page."""
    pairs = {"last": last} if size is None else {"last": last, "n": str(size)}
    return urlencode(pairs, quote_via=quote)


def parse_tags(body: bytes) -> list[str]:
    """The tags of an upstream's answer. Raises ValueError when it is not a tag list."""
    document = parse_json(body)
    tags = document.get("tags") if isinstance(document, dict) else None
    if tags is None and isinstance(document, dict) and "name" in document:
        return []  # distribution answers `"tags": null` for a repository without tags
    if not isinstance(tags, list) or not all(isinstance(tag, str) and is_tag(tag) for tag in tags):
        raise ValueError("not a tag list")
    return tags
