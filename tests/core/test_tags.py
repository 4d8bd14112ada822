"""Case tables of core.tags: what is asked, what an upstream answers, what the client gets."""

import pytest

from hubferry.core.errors import OciError
from hubferry.core.tags import (
    MAX_PAGE,
    Page,
    TagPage,
    decide_page,
    next_last,
    next_query,
    parse_page,
    parse_tags,
)

PAGES = [
    ("", "", Page(None, "")),
    ("5", "", Page(5, "")),
    ("5", "b", Page(5, "b")),
    ("1000000000", "", Page(MAX_PAGE, "")),
    ("9" * 30, "", Page(MAX_PAGE, "")),
    ("", "x" * 128, Page(None, "x" * 128)),
]


@pytest.mark.parametrize(("n", "last", "page"), PAGES)
def test_n_is_clamped(n: str, last: str, page: Page) -> None:
    assert parse_page(n, last) == page


@pytest.mark.parametrize("n", ["-1", "x", "1.5", "+1", " 1", "1 ", "9" * 31, "0x10", "1e9"])
def test_an_n_that_is_no_number_is_refused(n: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_page(n, "")
    assert caught.value.status == 400


def test_a_last_that_is_longer_than_any_marker_is_refused() -> None:
    with pytest.raises(OciError):
        parse_page("", "x" * 2049)


def test_n_of_zero_asks_for_an_empty_list() -> None:
    assert parse_page("0", "").size == 0


@pytest.mark.parametrize(
    ("page", "query"),
    [
        (Page(None, ""), ""),
        (Page(5, ""), "n=5"),
        (Page(5, "a b&c"), "n=5&last=a+b%26c"),
        (Page(None, "x"), "last=x"),
    ],
)
def test_a_page_is_asked_for(page: Page, query: str) -> None:
    assert page.query() == query


NEXT = '</v2/a/tags/list?n=2&last=b>; rel="next"'
DECIDED: dict[str, tuple[Page, list[str], str | None, TagPage]] = {
    "everything": (Page(None, ""), ["b", "a"], None, TagPage(["a", "b"], "")),
    "in order and each once": (
        Page(None, ""),
        ["b", "B", "a", "b", "10", "9"],
        None,
        TagPage(["10", "9", "B", "a", "b"], ""),
    ),
    "empty": (Page(2, ""), [], None, TagPage([], "")),
    "a page by the upstream": (Page(2, ""), ["a", "b"], NEXT, TagPage(["a", "b"], "b")),
    "a smaller page by the upstream": (Page(1000, ""), ["a", "b"], NEXT, TagPage(["a", "b"], "b")),
    "the upstream's last page": (Page(2, "b"), ["c"], None, TagPage(["c"], "")),
    "exactly full": (Page(2, ""), ["a", "b"], None, TagPage(["a", "b"], "")),
    "an upstream that ignores n": (Page(2, ""), ["c", "a", "b"], None, TagPage(["a", "b"], "b")),
    "an upstream that ignores last": (Page(None, "b"), ["a", "b", "c"], None, TagPage(["c"], "")),
    "an upstream that ignores both": (Page(2, "b"), ["a", "b", "c", "d", "e"], None, TagPage(["c", "d"], "d")),
    "an upstream that ignores both, at its end": (
        Page(2, "d"),
        ["a", "b", "c", "d", "e"],
        None,
        TagPage(["e"], ""),
    ),
    "after the last one": (Page(2, "e"), ["a", "e"], None, TagPage([], "")),
}


@pytest.mark.parametrize(("asked", "tags", "link", "page"), DECIDED.values(), ids=DECIDED.keys())
def test_pages_are_cut_here_when_the_upstream_does_not(
    asked: Page, tags: list[str], link: str | None, page: TagPage
) -> None:
    assert decide_page(asked, tags, next_last(link)) == page


def test_a_last_that_is_no_longer_a_tag_is_still_passed() -> None:
    assert decide_page(Page(3, "b"), ["a", "c", "d"], "") == TagPage(["c", "d"], "")


LINKS = [
    (None, ""),
    ("", ""),
    (NEXT, "b"),
    ('<https://reg.example/v2/a/tags/list?last=x%2By&n=1>; rel="next"', "x+y"),
    ("</x?last=b>; rel=next", "b"),
    ('  </x?last=b> ;  rel="next"', "b"),
    ('</x?last=b>; rel="prev"', ""),
    ("</x?n=1>; rel=next", ""),
    ("last=b", ""),
    ("<" + "x" * 5000 + ">; rel=next", ""),
    ("<https://[?last=b>; rel=next", ""),
]


@pytest.mark.parametrize(("link", "last"), LINKS)
def test_the_next_page_begins_after_what_the_link_says(link: str | None, last: str) -> None:
    assert next_last(link) == last


@pytest.mark.parametrize("link", ['</x>; rel="first", </x?last=b>; rel="next"', '</x?last=b>; title="n"; rel="next"'])
def test_the_next_link_is_found_among_others(link: str) -> None:
    assert next_last(link) == "b"


def test_our_own_next_page_can_be_asked_for() -> None:
    marker = "t" * 200
    page = decide_page(Page(5, ""), ["a"], next_last(f'</x?last={marker}>; rel="next"'))
    assert parse_page("5", page.next_last).last == marker


@pytest.mark.parametrize(
    ("size", "last", "query"),
    [(None, "a", "last=a"), (5, "a+b c", "last=a%2Bb%20c&n=5"), (1, 'x>"', "last=x%3E%22&n=1")],
)
def test_a_next_page_is_quoted(size: int | None, last: str, query: str) -> None:
    assert next_query(size, last) == query


def test_a_tag_that_breaks_the_grammar_is_no_tag() -> None:
    with pytest.raises(ValueError, match="not a tag list"):
        parse_tags(b'{"tags": ["\\ud800"]}')


@pytest.mark.parametrize(
    ("body", "tags"),
    [(b'{"name":"a","tags":["x","y"]}', ["x", "y"]), (b'{"name":"a","tags":null}', []), (b'{"tags":[]}', [])],
)
def test_a_tag_list_is_read(body: bytes, tags: list[str]) -> None:
    assert parse_tags(body) == tags


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{}", b'{"tags":null}', b'{"tags":"x"}', b'{"tags":[1]}', b"<html>", b"\xff\xfe"],
)
def test_anything_else_is_no_tag_list(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own errors are ValueErrors as well
        parse_tags(body)


def test_a_registry_that_counts_in_a_way_of_its_own_is_followed() -> None:
    decided = decide_page(Page(5, ""), ["b", "a"], next_last('</v2/a/tags/list?next_page=g%3DA&n=5>; rel="next"'))
    assert decided == TagPage(["a", "b"], "~next_page=g%3DA")
    following = parse_page("5", decided.next_last)
    assert following.query() == "n=5&next_page=g%3DA"
    # its last page is not cut: what a cursor means is the registry's own affair
    assert decide_page(following, ["0", "z"], "") == TagPage(["0", "z"], "")


def test_a_cursor_brings_no_other_page_size_and_no_other_registry() -> None:
    assert parse_page("5", "~n=1000000&ns=evil.example&x=1").query() == "n=5&x=1"
