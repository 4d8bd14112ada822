"""Searches: which upstream has one, how it is asked, and what is made of what it says."""

import asyncio
import json

import pytest

from hubferry.core.errors import Code
from hubferry.core.headers import UNENCODED
from hubferry.core.search_results import MAX_TEXT
from hubferry.remote.search import MAX_SEARCH, Search
from tests.gateway.fakes import MIRROR, FakeResponse, ok
from tests.remote.fakes import ALICE, CUT, DOWN, NAME, Remote, cancelled_at, never, refusal

URL = "https://index.docker.io/v1/search"


def searched(parameters: dict[str, str], asked_for: str) -> bytes:
    """What is found, when that is what the upstream is asked for."""
    remote = Remote(MIRROR, accounts=(ALICE,), search_url=URL)
    found = []

    async def scene() -> None:
        remote.script.on("GET", URL + asked_for, ok(b'{"results":[]}'))
        found.append(await Search(remote.fetcher, remote.script).find(remote.upstream, parameters))

    remote.play(scene)
    assert remote.sent_headers() == UNENCODED
    return found[0]


ASKED: dict[str, tuple[dict[str, str], str]] = {
    "a word": ({"q": "nginx"}, "?q=nginx"),
    "a word and a number": ({"q": "nginx", "n": "25"}, "?q=nginx&n=25"),
    "what a query has to quote": ({"q": "a b&c=d/ü"}, "?q=a%20b%26c%3Dd%2F%C3%BC"),
    "what is empty is not asked for": ({"q": "nginx", "n": "", "page": ""}, "?q=nginx"),
    "as much as may be": ({"q": "x" * MAX_TEXT}, "?q=" + "x" * MAX_TEXT),
    "more than may be": ({"q": "x" * (MAX_TEXT + 1)}, "?q=" + "x" * MAX_TEXT),
}


@pytest.mark.parametrize(("parameters", "asked_for"), ASKED.values(), ids=ASKED.keys())
def test_a_search_is_asked_for_and_given_as_it_is_said(parameters: dict[str, str], asked_for: str) -> None:
    assert searched(parameters, asked_for) == b'{"results":[]}'


def test_an_upstream_without_a_search_is_not_asked() -> None:
    remote = Remote()

    async def scene() -> None:
        error = await refusal(Search(remote.fetcher, remote.script).find(remote.upstream, {"q": "nginx"}))
        assert (error.status, error.code) == (404, Code.UNSUPPORTED)
        assert f"searching {NAME}" in error.message

    remote.play(scene)
    assert remote.script.sent == []


FAILED: dict[str, tuple[FakeResponse | Exception, int, str]] = {
    "denied": (FakeResponse(403), 403, f"denies access to {NAME}/search"),
    "unknown": (FakeResponse(404), 404, f"does not know {NAME}/search"),
    "broken": (FakeResponse(500), 502, "answered 500"),
    "too large": (ok(b"x" * (MAX_SEARCH + 1)), 502, f"the search result of {NAME} is too large"),
    "broken off": (FakeResponse(200, cut=CUT), 503, "12 bytes are missing"),
    "not reached": (DOWN, 503, "refused"),
}


@pytest.mark.parametrize(("answer", "status", "words"), FAILED.values(), ids=FAILED.keys())
def test_a_search_that_fails_says_why_and_asks_no_mirror(
    answer: FakeResponse | Exception, status: int, words: str
) -> None:
    remote = Remote(MIRROR, search_url=URL)

    async def scene() -> None:
        if isinstance(answer, FakeResponse):
            remote.script.on("GET", f"{URL}?q=a", FakeResponse(answer.status, (), answer.data, answer.cut))
        else:
            remote.script.on("GET", f"{URL}?q=a", answer)
        error = await refusal(Search(remote.fetcher, remote.script).find(remote.upstream, {"q": "a"}))
        assert error.status == status
        assert words in error.message

    remote.play(scene)


def test_a_result_as_large_as_may_be_is_given() -> None:
    remote = Remote(search_url=URL)

    async def scene() -> None:
        remote.script.on("GET", f"{URL}?q=a", ok(b"x" * MAX_SEARCH))
        found = await Search(remote.fetcher, remote.script).find(remote.upstream, {"q": "a"})
        assert len(found) == MAX_SEARCH

    remote.play(scene)


def test_a_search_has_a_limit_of_its_own() -> None:
    remote = Remote(search_url=URL)

    async def scene() -> None:
        remote.limits.heard(NAME, None, "manifests", 429, (("retry-after", "90"),))
        remote.script.on("GET", f"{URL}?q=a", FakeResponse(429, (("retry-after", "40"),)))
        search = Search(remote.fetcher, remote.script)
        for _ in range(2):
            error = await refusal(search.find(remote.upstream, {"q": "a"}))
            assert (error.status, ("retry-after", "40") in error.headers) == (429, True)

    remote.play(scene)


def test_who_leaves_while_the_upstream_thinks_leaves_nothing_open() -> None:
    remote = Remote(search_url=URL)

    async def scene() -> None:
        begun = asyncio.Event()
        remote.script.on_call("GET", f"{URL}?q=a", never(begun))
        await cancelled_at(Search(remote.fetcher, remote.script).find(remote.upstream, {"q": "a"}), begun)

    remote.play(scene)


QUAY = "https://quay.io/api/v1/find/repositories"


@pytest.mark.parametrize("answer", [b'{"results":[{"kind":"repository","namespace":{"name":"a"},"name":"b"}]}', b"<p>"])
def test_what_quay_finds_is_given_as_docker_reads_it(answer: bytes) -> None:
    remote = Remote(search_url=QUAY)

    async def scene() -> None:
        remote.script.on("GET", f"{QUAY}?query=b", ok(answer))
        search = Search(remote.fetcher, remote.script)
        if answer == b"<p>":
            assert (await refusal(search.find(remote.upstream, {"q": "b", "n": "25"}))).status == 502
            return
        found = json.loads(await search.find(remote.upstream, {"q": "b", "n": "25"}))
        assert [one["name"] for one in found["results"]] == ["a/b"]

    remote.play(scene)
