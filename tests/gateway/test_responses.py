"""Results as answers: which status, headers and body a client gets for what was found, as case tables."""

import asyncio
import json
from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.http import get, get_all
from hubferry.core.manifest import OCI_IMAGE, OCI_INDEX
from hubferry.core.ranges import ContentRange
from hubferry.core.routing import Route
from hubferry.core.tags import MAX_PAGE, Page
from hubferry.gateway.answer import AccessRecord, Answer
from hubferry.gateway.request import ReferrersPage
from hubferry.gateway.responses import (
    BINARY,
    absent_answer,
    blob_answer,
    manifest_answer,
    referrers_answer,
    tags_answer,
)
from hubferry.ports.index import ManifestInfo
from hubferry.pull.results import Absent, BlobResult, ListResult, ManifestResult, Outcome
from hubferry.remote.lists import ListContent
from tests.gateway.fakes import FakeBody, blob_request

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
HIT = Outcome("hit")
RECORD = AccessRecord("docker.io", "library/nginx", "1")
ROUTE = Route("docker.io", "library/nginx", "nginx")
MISSING = OciError(404, Code.MANIFEST_UNKNOWN, "there is none", headers=(("retry-after", "7"),))
STALE = '110 hubferry "Response is Stale"'
GUESS = "it is not known what refers to it"


def found_manifest(
    content: bytes | None = b"{}", size_bytes: int = 2, outcome: Outcome = HIT, reusable_s: float = 0.0
) -> ManifestResult:
    return ManifestResult(ManifestInfo(DIGEST, OCI_IMAGE, size_bytes), content, outcome, reusable_s)


def found_tags(*tags: str, following: str = "", outcome: Outcome = HIT) -> ListResult:
    body = json.dumps({"name": "library/nginx", "tags": tags}).encode()
    return ListResult(ListContent(body, "application/json", next_last=following), outcome)


def tags(page: Page, found: ListResult, route: Route = ROUTE) -> Answer:
    return asyncio.run(tags_answer(route, page, found, RECORD))


def body_of(answer: Answer) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


# --- manifests -------------------------------------------------------------------------------------------

MANIFESTS: dict[str, tuple[str, bytes | None, int, str, bytes | None]] = {
    # name: method, content, size in the descriptor -> content-length, body
    "a GET gives the content": ("GET", b"{}", 2, "2", b"{}"),
    "a HEAD gives none": ("HEAD", b"{}", 2, "2", None),
    "the length is that of the content, whatever its descriptor says": ("GET", b"{}", 999, "2", b"{}"),
    "also of one that a HEAD is not given": ("HEAD", b"{}", 999, "2", None),
    "the length of what is not here is what its descriptor says": ("HEAD", None, 999, "999", None),
    "empty content has no length": ("HEAD", b"", 999, "0", None),
}


@pytest.mark.parametrize(("method", "content", "size", "length", "body"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_manifest_comes_with_its_type_length_and_digest(
    method: str, content: bytes | None, size: int, length: str, body: bytes | None
) -> None:
    answer = manifest_answer(blob_request(DIGEST, method=method), found_manifest(content, size), RECORD)
    assert (answer.status, answer.body) == (200, body)
    assert dict(answer.headers) == {
        "content-type": OCI_IMAGE,
        "content-length": length,
        "docker-content-digest": DIGEST,
        "etag": f'"{DIGEST}"',
    }
    assert len(answer.headers) == 4
    assert answer.record == replace(RECORD, outcome=HIT)


CONDITIONS: dict[str, tuple[str | None, int]] = {
    "none": (None, 200),
    "an empty one": ("", 200),
    "its digest as an ETag": (f'"{DIGEST}"', 304),
    "its digest as it is": (DIGEST, 304),
    "its weak ETag": (f'W/"{DIGEST}"', 304),
    "one of several": (f'"{OTHER}", "{DIGEST}"', 304),
    "whatever it is": ("*", 304),
    "another digest": (f'"{OTHER}"', 200),
    "a part of its digest": (f'"{DIGEST[:-1]}"', 200),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("condition", "status"), CONDITIONS.values(), ids=CONDITIONS.keys())
def test_if_none_match_that_names_the_digest_is_a_304(condition: str | None, status: int, method: str) -> None:
    lines = () if condition is None else (("if-none-match", condition),)
    answer = manifest_answer(blob_request(DIGEST, *lines, method=method), found_manifest(), RECORD)
    assert answer.status == status


def test_a_304_has_the_identity_and_the_warnings_but_no_content() -> None:
    request = blob_request(DIGEST, ("if-none-match", DIGEST))
    stale = Outcome("stale", age_s=5.0)
    answer = manifest_answer(request, found_manifest(outcome=stale, reusable_s=0.5), RECORD)
    names = [name for name, _ in answer.headers]
    assert names == ["docker-content-digest", "etag", "age", "warning", "warning"]
    assert (answer.body, answer.record, answer.reusable_s) == (None, replace(RECORD, outcome=stale), 0.5)


@pytest.mark.parametrize(("age_s", "age"), [(None, None), (0.0, "0"), (61.9, "61"), (-3.0, "0")])
def test_a_manifest_is_marked_as_stale_if_it_has_an_age(age_s: float | None, age: str | None) -> None:
    answer = manifest_answer(blob_request(DIGEST), found_manifest(outcome=Outcome("stale", age_s=age_s)), RECORD)
    assert get(answer.headers, "age") == age
    assert get_all(answer.headers, "warning")[:1] == ([] if age is None else [STALE])
    assert all("docker.io" in text for text in get_all(answer.headers, "warning")[1:])


@pytest.mark.parametrize("reusable_s", [0.0, 0.75])
def test_for_how_long_it_may_be_given_again_is_passed_on(reusable_s: float) -> None:
    answer = manifest_answer(blob_request(DIGEST), found_manifest(reusable_s=reusable_s), RECORD)
    assert answer.reusable_s == reusable_s


# --- blobs -----------------------------------------------------------------------------------------------

BLOBS: dict[str, tuple[int | None, ContentRange | None, int, str | None, str | None]] = {
    # name: size of the blob, part -> status, content-length, content-range
    "all of it": (9, None, 200, "9", None),
    "all of an empty one": (0, None, 200, "0", None),
    "all of one of unknown size": (None, None, 200, None, None),
    "a part": (9, ContentRange(2, 5, 9), 206, "4", "bytes 2-5/9"),
    "a part that is all of it is still a part": (9, ContentRange(0, 8, 9), 206, "9", "bytes 0-8/9"),
    "a part of one of unknown size": (None, ContentRange(2, 2, None), 206, "1", "bytes 2-2/*"),
}


@pytest.mark.parametrize(("size", "part", "status", "length", "content_range"), BLOBS.values(), ids=BLOBS.keys())
def test_a_blob_or_a_part_of_it(
    size: int | None, part: ContentRange | None, status: int, length: str | None, content_range: str | None
) -> None:
    body = FakeBody(b"")
    outcome = Outcome("hit")
    answer = blob_answer(DIGEST, BlobResult(size, outcome, body, part), RECORD)
    assert (answer.status, answer.body) == (status, body)
    assert answer.record.outcome is outcome, "what becomes of the body is logged"
    assert get(answer.headers, "content-length") == length
    assert get(answer.headers, "content-range") == content_range
    assert body.closed == 0, "the shell closes what it sends"


def test_a_blob_is_never_shown_as_a_page_and_says_what_it_is() -> None:
    answer = blob_answer(DIGEST, BlobResult(9, Outcome("hit")), RECORD)
    assert dict(answer.headers) == {
        "content-type": BINARY,
        "content-length": "9",
        "docker-content-digest": DIGEST,
        "etag": f'"{DIGEST}"',
        "accept-ranges": "bytes",
    }
    assert BINARY == "application/octet-stream"
    assert (answer.body, answer.reusable_s) == (None, 0.0)


# --- tags ------------------------------------------------------------------------------------------------

PAGES: dict[str, tuple[Page, ListResult, list[str], str | None]] = {
    # name: asked, found -> tags, query of the next page
    "as many as there are": (Page(None, ""), found_tags("c", "a", "b"), ["a", "b", "c"], None),
    "each once": (Page(None, ""), found_tags("a", "a"), ["a"], None),
    "none": (Page(None, ""), found_tags(), [], None),
    "no more than asked for": (Page(2, ""), found_tags("c", "a", "b"), ["a", "b"], "last=b&n=2"),
    "exactly as many": (Page(3, ""), found_tags("c", "a", "b"), ["a", "b", "c"], None),
    "what comes after the last one": (Page(2, "b"), found_tags("c", "a", "b"), ["c"], None),
    "an empty page": (Page(0, ""), found_tags("a"), [], None),
    "a page that the upstream cut": (Page(2, ""), found_tags("b", "a", following="b"), ["a", "b"], "last=b&n=2"),
    "one that it cut by itself": (Page(None, ""), found_tags("a", following="a"), ["a"], "last=a"),
    "the upstream's own marker": (Page(2, "~x=1"), found_tags("a", following="~x=2"), ["a"], "last=~x%3D2&n=2"),
    "the most there are on a page": (Page(MAX_PAGE, ""), found_tags("a"), ["a"], None),
}


@pytest.mark.parametrize(("page", "found", "given", "following"), PAGES.values(), ids=PAGES.keys())
def test_a_page_of_tags_in_order_with_a_relative_link_to_the_next(
    page: Page, found: ListResult, given: list[str], following: str | None
) -> None:
    answer = tags(page, found)
    body = body_of(answer)
    assert json.loads(body) == {"name": "nginx", "tags": given}
    link = None if following is None else f'</v2/nginx/tags/list?{following}>; rel="next"'
    assert (answer.status, get(answer.headers, "link"), answer.record.outcome) == (200, link, HIT)
    assert get(answer.headers, "content-type") == "application/json"
    assert get(answer.headers, "content-length") == str(len(body))


def test_the_next_page_is_asked_of_the_same_registry() -> None:
    route = Route("docker.io", "library/nginx", "docker.io/nginx", "docker.io")
    answer = tags(Page(1, ""), found_tags("a", "b"), route)
    assert get(answer.headers, "link") == '</v2/docker.io/nginx/tags/list?last=a&n=1&ns=docker.io>; rel="next"'
    assert json.loads(body_of(answer))["name"] == "docker.io/nginx"


BAD_BODIES = [b"<html>", b"[]", b"{}", b'{"tags":[1]}', b'{"tags":["a b"]}', b'{"tags":["\\ud800"]}']


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_tag_list_that_cannot_be_read_raises(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what parsing raises is of no interest
        tags(Page(None, ""), ListResult(ListContent(body), Outcome("hit")))


def test_a_stale_tag_list_says_so_and_a_fresh_one_does_not() -> None:
    assert get_all(tags(Page(None, ""), found_tags("a")).headers, "warning") == []
    stale = tags(Page(1, ""), found_tags("a", "b", outcome=Outcome("stale", age_s=60.0)))
    assert get_all(stale.headers, "warning")[0] == STALE
    assert get(stale.headers, "age") == "60"
    assert get(stale.headers, "link") is not None


# --- what refers to a digest -----------------------------------------------------------------------------


def referrers(page: ReferrersPage, content: ListContent, route: Route = ROUTE, guess: str = "") -> Answer:
    return referrers_answer(route, page, ListResult(content, Outcome("hit", guess=guess)), RECORD)


def test_referrers_are_given_as_they_came() -> None:
    content = ListContent(b'{"manifests":[]}', OCI_INDEX)
    answer = referrers(ReferrersPage(DIGEST, "", Page(None, "")), content)
    assert (answer.status, answer.body, answer.record.outcome) == (200, content.body, HIT)
    assert answer.headers == (("content-type", OCI_INDEX), ("content-length", "16"))


@pytest.mark.parametrize(("filters", "said"), [("", None), ("artifactType", "artifactType")])
def test_what_was_filtered_is_said_if_it_was(filters: str, said: str | None) -> None:
    answer = referrers(ReferrersPage(DIGEST, "", Page(None, "")), ListContent(b"{}", OCI_INDEX, filters))
    assert get(answer.headers, "oci-filters-applied") == said


FOLLOWING: dict[str, tuple[ReferrersPage, str, str, dict[str, list[str]] | None]] = {
    # name: asked, next_last, namespace -> the parameters of the next page
    "there is none": (ReferrersPage(DIGEST, "a/b", Page(2, "")), "", "", None),
    "nothing was asked for": (ReferrersPage(DIGEST, "", Page(None, "")), "x", "", {"last": ["x"]}),
    "the same type": (
        ReferrersPage(DIGEST, "a/b+c", Page(None, "")), "x", "", {"artifactType": ["a/b+c"], "last": ["x"]},
    ),
    "as many": (ReferrersPage(DIGEST, "", Page(2, "w")), "x", "", {"n": ["2"], "last": ["x"]}),
    "of an empty page the number is left out": (ReferrersPage(DIGEST, "", Page(0, "")), "x", "", {"last": ["x"]}),
    "of the same registry": (
        ReferrersPage(DIGEST, "", Page(None, "")), "x", "docker.io", {"last": ["x"], "ns": ["docker.io"]},
    ),
    "nothing of it is unquoted": (
        ReferrersPage(DIGEST, '"<>', Page(None, "")), 'a&n=9>; "\r\n', "",
        {"artifactType": ['"<>'], "last": ['a&n=9>; "\r\n']},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("page", "last", "namespace", "parameters"), FOLLOWING.values(), ids=FOLLOWING.keys())
def test_the_next_page_of_referrers_asks_for_the_same(
    page: ReferrersPage, last: str, namespace: str, parameters: dict[str, list[str]] | None
) -> None:
    content = ListContent(b"{}", OCI_INDEX, next_last=last)
    link = get(referrers(page, content, replace(ROUTE, namespace=namespace)).headers, "link")
    if parameters is None:
        assert link is None
        return
    assert link is not None
    before, after = f"</v2/nginx/referrers/{DIGEST}?", '>; rel="next"'
    assert link.startswith(before)
    assert link.endswith(after)
    query = link[len(before) : -len(after)]
    assert parse_qs(query, strict_parsing=True) == parameters
    assert not set(query) & set('<>" \r\n')


# --- absences --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tags", "referrers", "manifest"])
@pytest.mark.parametrize(
    ("age_s", "guess", "warned"),
    [
        (None, "", []),
        (60.0, "", [STALE]),
        (None, GUESS, [f'299 - "{GUESS}, because docker.io cannot be asked now"']),
        (60.0, GUESS, [f'299 - "{GUESS}, because docker.io cannot be asked now"']),
    ],
    ids=["known", "stale", "assumed", "what is assumed has no age"],
)
def test_an_absence_is_its_404_with_what_is_to_be_known_of_it(
    kind: str, age_s: float | None, guess: str, warned: list[str]
) -> None:
    outcome = Outcome("stale", age_s=age_s, guess=guess)
    absence = ListResult(ListContent(absence=MISSING), outcome)
    if kind == "tags":
        answer = tags(Page(None, ""), absence)
    elif kind == "referrers":
        answer = referrers_answer(ROUTE, ReferrersPage(DIGEST, "", Page(None, "")), absence, RECORD)
    else:
        answer = absent_answer(Absent(MISSING, outcome), RECORD)
    assert (answer.status, answer.record) == (404, replace(RECORD, outcome=outcome))
    body = body_of(answer)
    assert json.loads(body) == {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "there is none"}]}
    assert get(answer.headers, "content-length") == str(len(body))
    assert get(answer.headers, "retry-after") == "7"
    assert get_all(answer.headers, "warning")[: len(warned) or 1] == warned
    assert (get(answer.headers, "age") is None) is (age_s is None or bool(guess))


def test_a_guess_about_a_list_that_is_there_is_said() -> None:
    content = ListContent(b'{"manifests":[]}', OCI_INDEX)
    answer = referrers(ReferrersPage(DIGEST, "", Page(None, "")), content, guess=GUESS)
    assert (answer.status, len(get_all(answer.headers, "warning"))) == (200, 1)
