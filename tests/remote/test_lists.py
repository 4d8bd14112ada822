"""Lists of an upstream: how they are asked for, what is one, and that a list which is not there is no failure."""

import asyncio
import json

import pytest

from hubferry.core.errors import Asked, Code
from hubferry.core.headers import UNENCODED
from hubferry.core.manifest import OCI_INDEX
from hubferry.core.tags import CURSOR, Page
from hubferry.remote.lists import (
    MAX_FILTERS,
    MAX_LIST,
    ListContent,
    ListQuery,
    RemoteLists,
    referrers_query,
    tags_query,
)
from hubferry.remote.parsing import LARGE_BYTES
from tests.gateway.fakes import HUB, MIRROR, FakeResponse, ok
from tests.remote.fakes import CUT, DOWN, NAME, REPOSITORY, Remote, cancelled_at, never, refusal

DIGEST = "sha256:" + "a" * 64
ALL = Page(None, "")
TAGS = json.dumps({"name": REPOSITORY, "tags": ["1.26", "1.27"]}).encode()
NO_TAGS = b'{"name":"library/nginx","tags":null}'
REFERRERS = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
OF_TAGS, OF_DIGEST = tags_query(ALL), referrers_query(DIGEST)


def lists(remote: Remote) -> RemoteLists:
    return RemoteLists(remote.fetcher, remote.script)


def url_of(query: ListQuery, base: str = HUB) -> str:
    return f"{base}/v2/{REPOSITORY}/{query.name}"


def again(answer: FakeResponse) -> FakeResponse:
    return FakeResponse(answer.status, answer.headers, answer.data)


TAG_QUERIES: dict[str, tuple[Page, str]] = {
    "all of it": (ALL, "tags/list"),
    "a page": (Page(10, ""), "tags/list?n=10"),
    "the next page": (Page(10, "1.26"), "tags/list?n=10&last=1.26"),
    "no tag, which shows that the repository is there": (Page(0, ""), "tags/list?n=1"),
    "what follows in the upstream's own words": (Page(10, f"{CURSOR}next_page=a%3D"), "tags/list?n=10&next_page=a%3D"),
}


@pytest.mark.parametrize(("page", "name"), TAG_QUERIES.values(), ids=TAG_QUERIES.keys())
def test_tags_are_asked_for_page_by_page(page: Page, name: str) -> None:
    assert tags_query(page) == ListQuery(name, unknown=Code.NAME_UNKNOWN)


WHOLE = f"referrers/{DIGEST}"
REFERRER_QUERIES: dict[str, tuple[ListQuery, str, str]] = {
    "all of it": (OF_DIGEST, WHOLE, WHOLE),
    "of one type": (referrers_query(DIGEST, "a/b+c"), f"{WHOLE}?artifactType=a%2Fb%2Bc", WHOLE),
    "a page": (referrers_query(DIGEST, "", Page(10, "x")), f"{WHOLE}?n=10&last=x", ""),
    "a page of one type": (referrers_query(DIGEST, "a/b", Page(None, "x")), f"{WHOLE}?artifactType=a%2Fb&last=x", ""),
}


@pytest.mark.parametrize(("query", "name", "whole"), REFERRER_QUERIES.values(), ids=REFERRER_QUERIES.keys())
def test_referrers_are_asked_for_by_type_and_page_and_a_page_is_in_no_whole(
    query: ListQuery, name: str, whole: str
) -> None:
    assert query == ListQuery(name, Code.MANIFEST_UNKNOWN, OCI_INDEX, DIGEST, whole)


def test_what_is_asked_is_named_for_messages() -> None:
    target = Remote().target()
    assert OF_TAGS.asked_of(target) == Asked(NAME, REPOSITORY, "", Code.NAME_UNKNOWN)
    assert OF_DIGEST.asked_of(target) == Asked(NAME, REPOSITORY, DIGEST, Code.MANIFEST_UNKNOWN)


GIVEN: dict[str, tuple[ListQuery, FakeResponse, ListContent]] = {
    "tags": (OF_TAGS, ok(TAGS), ListContent(TAGS)),
    "tags with their type": (
        OF_TAGS, ok(TAGS, ("content-type", "application/json; charset=utf-8")), ListContent(TAGS, "application/json"),
    ),
    "no tags, as distribution says it": (OF_TAGS, ok(NO_TAGS), ListContent(NO_TAGS)),
    "a page of tags": (
        OF_TAGS, ok(TAGS, ("link", '</v2/a/tags/list?last=1.27&n=2>; rel="next"')), ListContent(TAGS, next_last="1.27"),
    ),
    "referrers": (OF_DIGEST, ok(REFERRERS, ("content-type", OCI_INDEX)), ListContent(REFERRERS, OCI_INDEX)),
    "referrers of a general type": (
        OF_DIGEST, ok(REFERRERS, ("content-type", "application/json")), ListContent(REFERRERS, OCI_INDEX),
    ),
    "referrers of no type": (OF_DIGEST, ok(REFERRERS), ListContent(REFERRERS, OCI_INDEX)),
    "filtered referrers": (
        OF_DIGEST,
        ok(REFERRERS, ("oci-filters-applied", "artifactType")),
        ListContent(REFERRERS, OCI_INDEX, "artifactType"),
    ),
    "filters that go on and on": (
        OF_DIGEST,
        ok(REFERRERS, ("oci-filters-applied", "x" * (MAX_FILTERS + 1))),
        ListContent(REFERRERS, OCI_INDEX, "x" * MAX_FILTERS),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("query", "answer", "content"), GIVEN.values(), ids=GIVEN.keys())
def test_a_list_is_given_as_the_upstream_said_it(query: ListQuery, answer: FakeResponse, content: ListContent) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", url_of(query), again(answer))
        assert await lists(remote).ask(remote.target(), query) == (content, "upstream")

    remote.play(scene)
    assert remote.sent_headers() == ((("accept", OCI_INDEX), *UNENCODED) if query.subject else UNENCODED)


PAGE = b"<!DOCTYPE html><html></html>"
NOT_GIVEN: dict[str, tuple[ListQuery, FakeResponse, str]] = {
    "a captive portal's page for tags": (OF_TAGS, ok(PAGE), "cannot be read"),
    "a captive portal's page for referrers": (OF_DIGEST, ok(PAGE), "cannot be read"),
    "an error that came with 200": (OF_DIGEST, ok(b'{"errors":[]}'), "cannot be read"),
    "an error that came with 200, for tags": (OF_TAGS, ok(b'{"errors":[]}'), "cannot be read"),
    "referrers for tags": (OF_TAGS, ok(REFERRERS), "cannot be read"),
    "tags for referrers": (OF_DIGEST, ok(TAGS), "cannot be read"),
    "manifests that are no list": (OF_DIGEST, ok(b'{"manifests":{}}'), "cannot be read"),
    "a list of lists": (OF_DIGEST, ok(b'[{"manifests":[]}]'), "cannot be read"),
    "tags that are none": (OF_TAGS, ok(b'{"tags":["a/b"]}'), "cannot be read"),
    "nothing": (OF_TAGS, ok(), "cannot be read"),
    "too large": (OF_TAGS, ok(b" " * (MAX_LIST + 1)), f"larger than {MAX_LIST} bytes"),
}


@pytest.mark.parametrize(("query", "answer", "words"), NOT_GIVEN.values(), ids=NOT_GIVEN.keys())
def test_what_is_no_such_list_is_not_delivered(query: ListQuery, answer: FakeResponse, words: str) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", url_of(query), again(answer))
        error = await refusal(lists(remote).ask(remote.target(), query))
        assert (error.status, error.code) == (502, Code.UNKNOWN)
        assert words in error.message
        assert str(query.asked_of(remote.target())) in error.message

    remote.play(scene)


def test_a_long_list_is_checked_as_well_as_a_short_one() -> None:
    remote = Remote()
    long = json.dumps({"tags": [f"1.{number}" for number in range(LARGE_BYTES // 4)]}).encode()

    async def scene() -> None:
        remote.script.on("GET", url_of(OF_TAGS), ok(long), ok(long[:-1]))
        content, _ = await lists(remote).ask(remote.target(), OF_TAGS)
        assert content.body == long
        assert (await refusal(lists(remote).ask(remote.target(), OF_TAGS))).status == 502

    remote.play(scene)


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize(
    ("query", "code"), [(OF_TAGS, Code.NAME_UNKNOWN), (OF_DIGEST, Code.MANIFEST_UNKNOWN)], ids=["tags", "referrers"]
)
def test_a_list_that_is_not_there_is_an_answer(query: ListQuery, code: Code, status: int) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", url_of(query), FakeResponse(status, data=b"{}"))
        content, answered_by = await lists(remote).ask(remote.target(), query)
        assert answered_by == "upstream"
        assert content.absence is not None
        assert (content.absence.status, content.absence.code) == (404, code)
        assert content == ListContent(absence=content.absence)

    remote.play(scene)


@pytest.mark.parametrize(("status", "ours"), [(400, 400), (401, 401), (403, 403), (405, 405), (500, 502), (503, 503)])
def test_what_an_upstream_refuses_is_refused(status: int, ours: int) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", url_of(OF_TAGS), FakeResponse(status))
        assert (await refusal(lists(remote).ask(remote.target(), OF_TAGS))).status == ours

    remote.play(scene)


@pytest.mark.parametrize("is_cut", [False, True], ids=["not reached", "broken off"])
def test_an_upstream_that_is_lost_is_503(*, is_cut: bool) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", url_of(OF_TAGS), FakeResponse(200, data=TAGS, cut=CUT) if is_cut else DOWN)
        error = await refusal(lists(remote).ask(remote.target(), OF_TAGS))
        assert (error.status, error.detail) == (503, {"upstream": NAME, "cause": "cut" if is_cut else "tcp"})

    remote.play(scene)


def test_what_a_mirror_says_is_marked() -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        remote.script.on("GET", url_of(OF_TAGS), DOWN)
        remote.script.on("GET", url_of(OF_TAGS, MIRROR), ok(TAGS))
        assert await lists(remote).ask(remote.target(), OF_TAGS) == (ListContent(TAGS), "mirror")

    remote.play(scene)


def test_a_limit_of_manifests_is_none_of_lists() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.limits.heard(NAME, None, "manifests", 429, (("retry-after", "90"),))
        remote.script.on("GET", url_of(OF_TAGS), ok(TAGS))
        content, _ = await lists(remote).ask(remote.target(), OF_TAGS)
        assert content.body == TAGS
        remote.limits.heard(NAME, None, "lists", 429, (("retry-after", "90"),))
        assert (await refusal(lists(remote).ask(remote.target(), OF_TAGS))).status == 429

    remote.play(scene)


def test_who_leaves_while_the_upstream_thinks_leaves_nothing_open() -> None:
    remote = Remote()

    async def scene() -> None:
        begun = asyncio.Event()
        remote.script.on_call("GET", url_of(OF_TAGS), never(begun))
        await cancelled_at(lists(remote).ask(remote.target(), OF_TAGS), begun)

    remote.play(scene)
