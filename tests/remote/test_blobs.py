"""Blobs of an upstream: what proves that it holds one, which answers are the bytes asked for, where more come from."""

import asyncio

import pytest

from hubferry.core.errors import Asked, Code, OciError
from hubferry.core.headers import UNENCODED
from hubferry.core.http import Headers, get
from hubferry.core.ranges import ByteRange, ContentRange
from hubferry.ports.fills import Fetched
from hubferry.remote.blobs import BlobInfo, Passing, RemoteBlob, check_partial
from tests.gateway.fakes import HUB, MIRROR, REALM, FakeResponse, challenged, ok, token
from tests.remote.fakes import DOWN, NAME, REPOSITORY, Remote, cancelled_at, never, redirected, refusal

DIGEST = "sha256:" + "a" * 64
PATH = f"/v2/{REPOSITORY}/blobs/{DIGEST}"
URL = HUB + PATH
CDN = "https://cdn.example/signed?x=1"
PAGE = ("content-type", "text/html; charset=utf-8")


def blob(remote: Remote, size_bytes: int | None = None) -> RemoteBlob:
    return RemoteBlob(remote.fetcher, remote.target(), DIGEST, size_bytes)


def whole(length: str | None, *lines: tuple[str, str]) -> FakeResponse:
    return FakeResponse(200, ((("content-length", length),) if length is not None else ()) + lines)


def part(content_range: str | None, *lines: tuple[str, str]) -> FakeResponse:
    return FakeResponse(206, ((("content-range", content_range),) if content_range is not None else ()) + lines)


def again(answer: FakeResponse) -> FakeResponse:
    """The same answer with a body of its own."""
    return FakeResponse(answer.status, answer.headers, answer.data)


SIZES: dict[str, tuple[str | None, int | None]] = {
    "said": ("512", 512),
    "nothing at all": ("0", 0),
    "not said": (None, None),
    "no number": ("12a", None),
    "empty": ("", None),
    "below nothing": ("-1", None),
    "as long as any may be": ("9" * 18, 10**18 - 1),
    "longer than any is": ("1" * 19, None),
}


@pytest.mark.parametrize(("length", "size_bytes"), SIZES.values(), ids=SIZES.keys())
def test_a_head_proves_that_a_blob_is_there_and_its_size_as_far_as_that_can_be_read(
    length: str | None, size_bytes: int | None
) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("HEAD", URL, whole(length))
        assert await blob(remote).describe() == BlobInfo(size_bytes, "upstream")

    remote.play(scene)
    assert remote.sent_headers() == UNENCODED


def test_an_upstream_without_head_is_asked_by_a_get_that_downloads_nothing() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("HEAD", URL, FakeResponse(405))
        remote.script.on("GET", URL, whole("7"))
        assert await blob(remote).describe() == BlobInfo(7)

    remote.play(scene)


def test_a_proof_by_a_mirror_is_marked() -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        remote.script.on("HEAD", URL, DOWN)
        remote.script.on("HEAD", MIRROR + PATH, whole("7"))
        assert await blob(remote).describe() == BlobInfo(7, "mirror")

    remote.play(scene)


REFUSED: dict[str, tuple[FakeResponse, int, Code, str]] = {
    "unknown": (FakeResponse(404), 404, Code.BLOB_UNKNOWN, f"does not know {NAME}/{REPOSITORY}@{DIGEST}"),
    "gone": (FakeResponse(410), 404, Code.BLOB_UNKNOWN, "is gone"),
    "private": (FakeResponse(401), 401, Code.UNAUTHORIZED, "docker login"),
    "denied": (FakeResponse(403), 403, Code.DENIED, "denies access"),
    "broken": (FakeResponse(500), 502, Code.UNKNOWN, "answered 500"),
    "a page": (whole("7", PAGE), 502, Code.UNKNOWN, "it is a web page"),
    "a part that nobody asked for": (part("bytes 0-6/7"), 502, Code.UNKNOWN, ""),
}


@pytest.mark.parametrize("way", ["describe", "describe without head", "fetch", "pass_on", "pass_on without body"])
@pytest.mark.parametrize(("answer", "status", "code", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_blob_is_refused_on_every_way(
    way: str, answer: FakeResponse, status: int, code: Code, words: str
) -> None:
    remote = Remote()

    async def scene() -> None:
        asked = blob(remote)
        is_head = way in ("describe", "pass_on without body")
        if way == "describe without head":
            remote.script.on("HEAD", URL, FakeResponse(405))
        remote.script.on("HEAD" if is_head else "GET", URL, again(answer))
        if way.startswith("describe"):
            error = await refusal(asked.describe())
        elif way == "fetch":
            error = await refusal(asked.fetch(0))
        else:
            error = await refusal(asked.pass_on(None, wants_body=not is_head))
        assert (error.status, error.code) == (status, code)
        assert words in error.message

    remote.play(scene)


# what is asked for (from, up to); the answer; then the Range that is sent, where the answer begins, the blob's size
FETCHED: dict[str, tuple[tuple[int, int | None], FakeResponse, str | None, tuple[int, int | None]]] = {
    "all of it": ((0, None), whole("10"), None, (0, 10)),
    "all of it, of an untold size": ((0, None), whole(None), None, (0, None)),
    "the rest": ((5, None), part("bytes 5-9/10"), "bytes=5-", (5, 10)),
    "the rest, of an untold size": ((5, None), part("bytes 5-9/*"), "bytes=5-", (5, 10)),
    "the beginning": ((0, 4), part("bytes 0-3/10"), "bytes=0-3", (0, 10)),
    "the middle": ((2, 6), part("bytes 2-5/10", ("content-length", "4")), "bytes=2-5", (2, 10)),
    "the middle, of an untold size": ((2, 6), part("bytes 2-5/*"), "bytes=2-5", (2, None)),
    "up to beyond its end": ((5, 20), part("bytes 5-9/10"), "bytes=5-19", (5, 10)),
    "the rest, of an upstream without ranges": ((5, None), whole("10"), "bytes=5-", (0, 10)),
    "the middle, of an upstream without ranges": ((2, 6), whole("10"), "bytes=2-5", (0, 10)),
}


@pytest.mark.parametrize("said", [None, 10], ids=["no descriptor", "a descriptor"])
@pytest.mark.parametrize(("wanted", "answer", "sent", "got"), FETCHED.values(), ids=FETCHED.keys())
def test_what_is_fetched_begins_where_the_answer_says_and_its_body_is_the_callers(
    wanted: tuple[int, int | None],
    answer: FakeResponse,
    sent: str | None,
    got: tuple[int, int | None],
    said: int | None,
) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, again(answer))
        fetched = await blob(remote, said).fetch(*wanted)
        start_bytes, size_bytes = got
        body = remote.script.responses[-1].body
        assert fetched == Fetched(start_bytes, said if size_bytes is None else size_bytes, fetched.body)
        assert id(fetched.body) == id(body)
        assert body.closed == 0
        await fetched.body.close()

    remote.play(scene)
    assert get(remote.sent_headers(), "range") == sent
    assert get(remote.sent_headers(), "accept-encoding") == "identity"


NOT_FETCHED: dict[str, tuple[tuple[int, int | None], FakeResponse, int | None, str]] = {
    "it begins before": ((5, None), part("bytes 4-9/10"), None, "a range that was not asked for"),
    "it begins behind": ((5, None), part("bytes 6-9/10"), None, "a range that was not asked for"),
    "it goes on too far": ((2, 6), part("bytes 2-6/10"), None, "a range that was not asked for"),
    "no Content-Range": ((5, None), part(None), None, "a range that was not asked for"),
    "a Content-Range that is none": ((5, None), part("bytes 5-"), None, "a range that was not asked for"),
    "another length": (
        (5, None),
        part("bytes 5-9/10", ("content-length", "6")),
        None,
        "a range that was not asked for",
    ),
    "it ends before the blob does": ((5, None), part("bytes 5-7/10"), None, "ended a range before"),
    "it ends before it was asked to": ((2, 6), part("bytes 2-4/10"), None, "ended a range before"),
    "it ends early in an untold size": ((2, 6), part("bytes 2-4/*"), None, "ended a range before"),
    "a page as a part": ((5, None), part("bytes 5-9/10", PAGE), None, "it is a web page"),
    "a whole of another size": ((0, None), whole("11"), 10, "it has 11 bytes, and its descriptor says 10"),
    "an empty one": ((0, None), whole("0"), 10, "it has 0 bytes, and its descriptor says 10"),
    "a part of another size": ((5, None), part("bytes 5-9/10"), 11, "it has 10 bytes, and its descriptor says 11"),
}


@pytest.mark.parametrize(("wanted", "answer", "said", "words"), NOT_FETCHED.values(), ids=NOT_FETCHED.keys())
def test_other_bytes_than_those_asked_for_are_refused_before_any_is_read(
    wanted: tuple[int, int | None], answer: FakeResponse, said: int | None, words: str
) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, again(answer))
        error = await refusal(blob(remote, said).fetch(*wanted))
        assert (error.status, error.code) == (502, Code.UNKNOWN)
        assert words in error.message

    remote.play(scene)


def test_a_range_outside_of_the_blob_is_told_as_such() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, FakeResponse(416, (("content-range", "bytes */10"),)))
        error = await refusal(blob(remote).fetch(20))
        assert error.status == 416
        assert get(error.headers, "content-range") == "bytes */10"

    remote.play(scene)


async def fetch(asked: RemoteBlob, start: int, end: int | None = None) -> bool:
    """Fetch and close; whether a mirror gave it."""
    fetched = await asked.fetch(start, end)
    await fetched.body.close()
    return fetched.by_mirror


def test_further_ranges_come_from_where_a_redirect_led_without_asking_the_upstream() -> None:
    remote = Remote()

    async def scene() -> None:
        asked = blob(remote)
        remote.script.on("GET", URL, challenged(), redirected(CDN))
        remote.script.on("GET", REALM, token())
        remote.script.on("GET", CDN, whole("10"), part("bytes 5-9/10"), part("bytes 2-4/10"))
        await fetch(asked, 0)
        await fetch(asked, 5)
        await fetch(asked, 2, 5)

    remote.play(scene)
    assert remote.script.authorizations(CDN) == [None, None, None]
    assert remote.sent_headers() == (("range", "bytes=2-4"), *UNENCODED)


@pytest.mark.parametrize("answer", [FakeResponse(403), FakeResponse(404), DOWN], ids=["403", "404", "not reached"])
def test_a_signed_url_that_gives_no_more_is_signed_anew(answer: FakeResponse | Exception) -> None:
    remote = Remote()
    second = "https://cdn.example/signed?x=2"

    async def scene() -> None:
        asked = blob(remote)
        remote.script.on("GET", URL, redirected(CDN), redirected(second))
        remote.script.on("GET", CDN, whole("10"), again(answer) if isinstance(answer, FakeResponse) else answer)
        remote.script.on("GET", second, part("bytes 5-9/10"), part("bytes 7-9/10"))
        for start in (0, 5, 7):
            await fetch(asked, start)

    remote.play(scene)
    assert remote.script.urls() == [URL, CDN, CDN, URL, second, second]


def test_who_got_nowhere_from_an_offset_asks_another_base_from_there() -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        asked = blob(remote)
        remote.script.on("GET", URL, whole("10"), part("bytes 5-9/10"))
        remote.script.on("GET", MIRROR + PATH, whole("10"))
        assert [await fetch(asked, start) for start in (0, 0, 5)] == [False, True, False]

    remote.play(scene)
    assert remote.script.urls() == [URL, MIRROR + PATH, URL]


def test_who_got_nowhere_from_where_a_redirect_led_asks_for_a_new_one() -> None:
    remote = Remote()

    async def scene() -> None:
        asked = blob(remote)
        remote.script.on("GET", URL, redirected(CDN), redirected(CDN))
        remote.script.on("GET", CDN, whole("10"), part("bytes 5-9/10"), part("bytes 5-9/10"))
        for start in (0, 5, 5):
            await fetch(asked, start)

    remote.play(scene)
    assert remote.script.urls() == [URL, CDN, CDN, URL, CDN]


def test_whose_answer_it_was_is_who_gave_it_first() -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        asked = blob(remote)
        told: list[str] = [asked.answered_by]  # nobody of whom a right could be learned has answered
        remote.script.on("GET", URL, FakeResponse(404))
        await refusal(asked.fetch(0))
        told.append(asked.answered_by)  # a refusal is nobody's word that it may be had
        remote.script.on("GET", URL, whole("10"), DOWN)
        await fetch(asked, 1)
        told.append(asked.answered_by)
        remote.script.on("GET", MIRROR + PATH, part("bytes 5-9/10"))
        assert await fetch(asked, 5)
        told.append(asked.answered_by)
        assert told == ["mirror", "mirror", "upstream", "upstream"]

    remote.play(scene)


def test_what_comes_from_where_a_mirror_led_is_the_mirrors() -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        asked = blob(remote)
        remote.script.on("GET", URL, DOWN)
        remote.script.on("GET", MIRROR + PATH, redirected(CDN))
        remote.script.on("GET", CDN, whole("10"), part("bytes 5-9/10"))
        assert [await fetch(asked, 0), await fetch(asked, 5)] == [True, True]
        assert asked.answered_by == "mirror"

    remote.play(scene)


# what the descriptor says, what the mirror said of the blob's size; whether the mirror is to blame for wrong bytes
BLAMED = {
    "nobody said a size": (None, None, True),
    "the mirror said the size": (10, "10", True),
    "it may only be longer than its descriptor says": (10, None, False),
}


@pytest.mark.parametrize(("said", "length", "is_left"), BLAMED.values(), ids=BLAMED.keys())
def test_a_mirror_that_gave_wrong_bytes_is_left_unless_the_descriptor_may_be_wrong(
    said: int | None, length: str | None, *, is_left: bool
) -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        asked = blob(remote, said)
        remote.script.on("GET", URL, DOWN)
        remote.script.on("GET", MIRROR + PATH, whole(length))
        assert await fetch(asked, 0)
        asked.gave_wrong()
        remote.clock.pass_s(60)
        remote.script.on("HEAD", URL, DOWN)
        if is_left:
            assert (await refusal(asked.describe())).status == 503
        else:
            remote.script.on("HEAD", MIRROR + PATH, whole("10"))
            assert (await asked.describe()).answered_by == "mirror"

    remote.play(scene)
    assert ("mirror_distrusted" in remote.events()) == is_left


def test_after_wrong_bytes_the_url_that_gave_them_is_not_asked_again() -> None:
    remote = Remote()

    async def scene() -> None:
        asked = blob(remote)
        remote.script.on("GET", URL, redirected(CDN), part("bytes 5-9/10"))
        remote.script.on("GET", CDN, whole("10"))
        await fetch(asked, 0)
        asked.gave_wrong()
        await fetch(asked, 5)

    remote.play(scene)
    assert remote.script.urls() == [URL, CDN, URL]
    assert remote.events() == [], "the upstream itself is never left out"


TAIL = ByteRange(None, 3)
PASSED: dict[str, tuple[ByteRange | None, FakeResponse, str | None, tuple[int | None, ContentRange | None]]] = {
    "all of it": (None, whole("10"), None, (10, None)),
    "all of it, of an untold size": (None, whole(None), None, (None, None)),
    "a part": (ByteRange(2, 5), part("bytes 2-5/10"), "bytes=2-5", (10, ContentRange(2, 5, 10))),
    "a part that ends early": (ByteRange(2, 5), part("bytes 2-4/10"), "bytes=2-5", (10, ContentRange(2, 4, 10))),
    "a part of an untold size": (ByteRange(2, 5), part("bytes 2-5/*"), "bytes=2-5", (None, ContentRange(2, 5, None))),
    "the end": (TAIL, part("bytes 7-9/10"), "bytes=-3", (10, ContentRange(7, 9, 10))),
    "all of it instead of a part": (ByteRange(2, 5), whole("10"), "bytes=2-5", (10, None)),
}


@pytest.mark.parametrize("wants_body", [True, False], ids=["GET", "HEAD"])
@pytest.mark.parametrize(("wanted", "answer", "sent", "got"), PASSED.values(), ids=PASSED.keys())
def test_a_body_that_is_passed_on_is_the_callers_and_a_head_has_none(
    wanted: ByteRange | None,
    answer: FakeResponse,
    sent: str | None,
    got: tuple[int | None, ContentRange | None],
    *,
    wants_body: bool,
) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET" if wants_body else "HEAD", URL, again(answer))
        passing = await blob(remote).pass_on(wanted, wants_body=wants_body)
        size_bytes, content_range = got
        body = remote.script.responses[-1].body
        assert passing == Passing(size_bytes, content_range, body if wants_body else None, "upstream")
        if passing.body is not None:
            assert body.closed == 0
            await passing.body.close()

    remote.play(scene)
    assert get(remote.sent_headers(), "range") == sent


def test_what_a_mirror_passes_on_is_marked() -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        remote.script.on("HEAD", URL, DOWN)
        remote.script.on("HEAD", MIRROR + PATH, whole("10"))
        passing = await blob(remote).pass_on(None, wants_body=False)
        assert passing.answered_by == "mirror"

    remote.play(scene)


def test_a_part_that_cannot_be_passed_on_is_refused_and_closed() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, part("bytes 0-9/10"), part("bytes 2-5/10", PAGE))
        for words in ("a range that was not asked for", "it is a web page"):
            error = await refusal(blob(remote).pass_on(ByteRange(2, 5), wants_body=True))
            assert error.status == 502
            assert words in error.message

    remote.play(scene)


@pytest.mark.parametrize("way", ["describe", "fetch", "fetch from where a redirect led", "pass_on"])
def test_who_leaves_while_the_upstream_thinks_leaves_nothing_open(way: str) -> None:
    remote = Remote()

    async def scene() -> None:
        begun = asyncio.Event()
        asked = blob(remote)
        if way == "fetch from where a redirect led":
            remote.script.on("GET", URL, redirected(CDN))
            remote.script.on("GET", CDN, whole("10"))
            await fetch(asked, 0)
        remote.script.on_call("HEAD" if way == "describe" else "GET", CDN if "led" in way else URL, never(begun))
        if way == "describe":
            await cancelled_at(asked.describe(), begun)
        elif way == "pass_on":
            await cancelled_at(asked.pass_on(None, wants_body=True), begun)
        else:
            await cancelled_at(asked.fetch(5), begun)

    remote.play(scene)


ASKED = Asked(NAME, REPOSITORY, DIGEST, Code.BLOB_UNKNOWN)
PARTS: dict[str, tuple[ByteRange | None, Headers, ContentRange | None]] = {
    "it": (ByteRange(2, 5), (("content-range", "bytes 2-5/10"),), ContentRange(2, 5, 10)),
    "it, with its length": (
        ByteRange(2, 5), (("content-range", "bytes 2-5/10"), ("content-length", "4")), ContentRange(2, 5, 10),
    ),
    "another length": (ByteRange(2, 5), (("content-range", "bytes 2-5/10"), ("content-length", "5")), None),
    "a length that is none": (ByteRange(2, 5), (("content-range", "bytes 2-5/10"), ("content-length", "")), None),
    "nothing said": (ByteRange(2, 5), (), None),
    "more than asked for": (ByteRange(2, 5), (("content-range", "bytes 2-6/10"),), None),
    "none was asked for": (None, (("content-range", "bytes 2-5/10"),), None),
}  # fmt: skip


@pytest.mark.parametrize(("wanted", "headers", "holds"), PARTS.values(), ids=PARTS.keys())
def test_a_206_holds_what_was_asked_for_or_nothing(
    wanted: ByteRange | None, headers: Headers, holds: ContentRange | None
) -> None:
    answer = FakeResponse(206, headers)
    if holds is not None:
        assert check_partial(ASKED, wanted, answer) == holds
        return
    with pytest.raises(OciError, match="a range that was not asked for") as raised:
        check_partial(ASKED, wanted, answer)
    assert raised.value.status == 502


def test_what_was_asked_is_named_for_messages() -> None:
    assert blob(Remote()).asked == ASKED


def test_a_redirect_by_an_answer_that_has_nothing_to_give_is_not_remembered() -> None:
    remote = Remote()

    async def scene() -> None:
        asked = blob(remote)
        remote.script.on("GET", URL, redirected(CDN), ok(b"0123456789"))
        remote.script.on("GET", CDN, FakeResponse(404))
        await refusal(asked.fetch(0))
        await fetch(asked, 5)

    remote.play(scene)
    assert remote.script.urls() == [URL, CDN, URL]
