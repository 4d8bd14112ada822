"""Walking the pages of a tag list gives every tag once, in order, whatever an upstream makes of `n`, `last`."""

import json
from urllib.parse import parse_qsl, quote, urlencode

from hypothesis import given
from hypothesis import strategies as st

from hubferry.core.errors import OciError
from hubferry.core.tags import MAX_PAGE, Page, decide_page, next_last, next_query, parse_page, parse_tags
from tests.properties.inputs import hostile, refused_with, tag

tag_sets = st.sets(tag, max_size=25)


def paginating(tags: set[str], query: str, most: int) -> tuple[list[str], str | None]:
    """An upstream that obeys `n` and `last`, answers at most `most` tags, and links to the rest."""
    asked = dict(parse_qsl(query))
    rest = sorted(one for one in tags if one > asked.get("last", ""))
    size = min(int(asked.get("n", most)), most)
    if len(rest) <= size:
        return rest, None
    link = f'</v2/x/tags/list?{urlencode({"n": size, "last": rest[size - 1]})}>; rel="next"'
    return rest[:size], link


def walk(tags: set[str], size: int | None, most: int | None, shuffled: list[str]) -> list[str]:
    """What a client collects that follows every Link."""
    found: list[str] = []
    query = urlencode({} if size is None else {"n": size})
    for _ in range(len(tags) + 2):
        asked = dict(parse_qsl(query))
        page = parse_page(asked.get("n", ""), asked.get("last", ""))
        answer, link = (shuffled, None) if most is None else paginating(tags, page.query(), most)
        decided = decide_page(page, parse_tags(json.dumps({"tags": answer}).encode()), next_last(link))
        assert size is None or len(decided.tags) <= size
        found += decided.tags
        if not decided.next_last:
            return found
        query = next_query(page.size, decided.next_last)
    raise AssertionError("the pages never end")


@given(st.data(), tag_sets, st.one_of(st.none(), st.integers(1, 30)))
def test_an_upstream_that_does_not_paginate(data: st.DataObject, tags: set[str], size: int | None) -> None:
    shuffled = data.draw(st.permutations(sorted(tags)))
    assert walk(tags, size, None, shuffled) == sorted(tags)


@given(tag_sets, st.one_of(st.none(), st.integers(1, 30)), st.integers(1, 30))
def test_an_upstream_that_paginates_by_its_own_measure(tags: set[str], size: int | None, most: int) -> None:
    assert walk(tags, size, most, []) == sorted(tags)


@given(st.one_of(hostile, st.integers().map(str)), hostile)
def test_any_page_is_clamped_or_refused(n: str, last: str) -> None:
    try:
        page = parse_page(n, last)
    except OciError as error:
        refused_with(error, 400)
        return
    assert page.size is None or 0 <= page.size <= MAX_PAGE


@given(st.one_of(hostile, hostile.map('<{}>; rel="next"'.format), hostile.map('</x?last={}>; rel="next"'.format)))
def test_any_link_is_read_without_a_crash(link: str) -> None:
    assert isinstance(next_last(link), str)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.one_of(st.none(), st.integers(1, 99)))
def test_a_link_leads_back_to_what_it_was_made_of(last: str, size: int | None) -> None:
    query = next_query(size, last)
    assert not set(query) & set('<>" \r\n')
    if last:
        assert next_last(f'</x?{query}>; rel="next"') == last
        assert next_last(f"</x?last={quote(last, safe='')}>; rel=next") == last


@given(tag_sets, st.one_of(st.none(), st.integers(1, 30)), tag, st.one_of(st.none(), hostile))
def test_any_answer_of_an_upstream_becomes_a_page_in_order(
    tags: set[str], size: int | None, last: str, link: str | None
) -> None:
    page = decide_page(Page(size, last), list(tags), next_last(link))
    assert page.tags == sorted(set(page.tags))
    assert set(page.tags) <= tags
