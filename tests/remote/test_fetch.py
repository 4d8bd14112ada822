"""Mirrors, redirects and failures: who is asked, in which order, and what a client is told."""

import asyncio
import contextlib

import pytest

from hubferry.core.access import Credential
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.gateway.fakes import HUB, MIRROR, MIRROR2, REALM, FakeResponse, Stage, basic, challenged, ok, play, token
from tests.support.waiting import turns

DIGEST = "sha256:" + "a" * 64
BLOB = f"/v2/nginx/blobs/{DIGEST}"
PATH = f"/v2/library/nginx/blobs/{DIGEST}"
URL = HUB + PATH
MIRRORED = {"access": {"login": "open"}, "upstreams": {"docker.io": {"mirrors": [MIRROR, MIRROR2 + "/prefix/"]}}}
DOWN = UpstreamFailure(Cause.TCP, "registry-1.docker.io", "refused")


def test_mirrors_are_tried_in_order_and_without_credentials() -> None:
    stage = Stage(MIRRORED, account=Credential("bot", "hunter2"))

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", DOWN)  # and so it is asked last from here on
        stage.upstream.on("GET", MIRROR + PATH, UpstreamFailure(Cause.DNS, "mirror.example"))
        stage.upstream.on(
            "GET", MIRROR2 + "/prefix" + PATH, challenged('Bearer realm="https://mirror2.example/token"'), ok(b"x")
        )
        stage.upstream.on(
            "GET", "https://mirror2.example/token?scope=repository%3Alibrary%2Fnginx%3Apull", token("MIRROR")
        )
        heard = await stage.ask(BLOB, ("authorization", basic("alice", "s3cret")))
        assert (heard.status, heard.data) == (200, b"x")

    play(stage, scene())
    assert [url.partition("?")[0] for url in stage.upstream.urls()] == [
        f"{HUB}/v2/", MIRROR + PATH,
        MIRROR2 + "/prefix" + PATH, "https://mirror2.example/token", MIRROR2 + "/prefix" + PATH,
    ]  # fmt: skip
    assert stage.upstream.authorizations(MIRROR2) == [None, None, "Bearer MIRROR"]
    assert [event for event, _ in stage.log.events] == ["upstream_failed"]


def test_a_mirror_that_challenges_with_basic_gets_nothing() -> None:
    stage = Stage(MIRRORED, account=Credential("bot", "hunter2"))

    async def scene() -> None:
        stage.upstream.on("GET", URL, DOWN)
        stage.upstream.on("GET", MIRROR + PATH, DOWN)
        stage.upstream.on("GET", MIRROR2 + "/prefix" + PATH, challenged('Basic realm="x"'))
        # known: test_upstream_tokens.py, a Basic challenge that nobody can answer
        with contextlib.suppress(AssertionError):
            await stage.ask(BLOB)

    play(stage, scene())
    assert set(stage.upstream.authorizations("https://mirror")) == {None}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_is_tried_at_the_next_mirror_and_its_body_closed(status: int) -> None:
    stage = Stage(MIRRORED)

    async def scene() -> None:
        stage.upstream.on("GET", URL, FakeResponse(status))
        stage.upstream.on("GET", MIRROR + PATH, ok(b"x"))
        assert (await stage.ask(BLOB)).status == 200

    play(stage, scene())


def test_the_5xx_of_the_upstream_itself_is_told() -> None:
    stage = Stage(MIRRORED)

    async def scene() -> None:
        stage.upstream.on("GET", URL, FakeResponse(503, (("retry-after", "3"),)))
        stage.upstream.on("GET", MIRROR + PATH, FakeResponse(503))
        stage.upstream.on("GET", MIRROR2 + "/prefix" + PATH, FakeResponse(503, (("retry-after", "5"),)))
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.header("retry-after")) == (503, "3")

    play(stage, scene())


@pytest.mark.parametrize("status", [401, 403, 404, 416])
def test_an_answer_of_the_upstream_itself_never_leads_to_a_mirror(status: int) -> None:
    stage = Stage(MIRRORED)

    async def scene() -> None:
        stage.upstream.on("GET", URL, FakeResponse(status))
        assert (await stage.ask(BLOB)).status == status

    play(stage, scene())


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_a_mirror_that_refuses_is_passed_over(status: int) -> None:
    stage = Stage(MIRRORED)

    async def scene() -> None:
        stage.upstream.on("GET", URL, DOWN)
        stage.upstream.on("GET", MIRROR + PATH, FakeResponse(status))
        stage.upstream.on("GET", MIRROR2 + "/prefix" + PATH, ok(b"x"))
        assert (await stage.ask(BLOB)).status == 200

    play(stage, scene())


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.WRONG])
def test_an_upstream_that_cannot_be_reached_is_503_and_says_who_and_why(cause: Cause) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, UpstreamFailure(cause, "registry-1.docker.io", "detail"))
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.code) == (503, "UNAVAILABLE")
        assert "docker.io" in heard.message
        assert cause.value in heard.message
        assert heard.header("retry-after") == "5"
        assert heard.json["errors"][0]["detail"]["cause"] == cause.name.lower()

    play(stage, scene())


def test_the_first_failure_is_told_when_every_mirror_fails() -> None:
    stage = Stage(MIRRORED)

    async def scene() -> None:
        stage.upstream.on("GET", URL, DOWN)
        stage.upstream.on("GET", MIRROR + PATH, UpstreamFailure(Cause.DNS, "mirror.example"))
        stage.upstream.on("GET", MIRROR2 + "/prefix" + PATH, UpstreamFailure(Cause.TLS, "mirror2.example"))
        heard = await stage.ask(BLOB)
        assert "TCP" in heard.message

    play(stage, scene())


def test_a_redirect_is_followed_here_without_authorization_and_every_body_on_the_way_is_closed() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(), FakeResponse(307, (("location", "https://cdn.example/1"),)))
        stage.upstream.on("GET", REALM, token())
        stage.upstream.on("GET", "https://cdn.example/1", FakeResponse(302, (("location", "/2"),)))
        stage.upstream.on("GET", "https://cdn.example/2", ok(b"x"))
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.header("location")) == (200, None)

    play(stage, scene())
    assert stage.upstream.authorizations("https://cdn.example") == [None, None]


@pytest.mark.parametrize("location", ["http://cdn.example/", "https://169.254.169.254/", None, "https://[::1]/"])
def test_a_redirect_that_is_refused_is_502_and_never_dialled(location: str | None) -> None:
    stage = Stage()

    async def scene() -> None:
        headers = () if location is None else (("location", location),)
        stage.upstream.on("GET", URL, FakeResponse(307, headers))
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.code) == (502, "UNKNOWN")
        assert "not followed" in heard.message

    play(stage, scene())
    assert stage.log.events[0][0] == "redirect_refused"


def test_six_redirects_are_one_too_many() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, *(FakeResponse(307, (("location", URL),)) for _ in range(6)))
        assert (await stage.ask(BLOB)).status == 502

    play(stage, scene())


@pytest.mark.parametrize(("second", "status"), [(200, 200), (403, 403)])
def test_a_signed_url_that_expired_is_resolved_anew_once(second: int, status: int) -> None:
    stage = Stage()

    async def scene() -> None:
        to_cdn = [FakeResponse(307, (("location", f"https://cdn.example/{i}"),)) for i in range(2)]
        stage.upstream.on("GET", URL, *to_cdn)
        stage.upstream.on("GET", "https://cdn.example/0", FakeResponse(403))
        stage.upstream.on("GET", "https://cdn.example/1", FakeResponse(second))
        assert (await stage.ask(BLOB)).status == status

    play(stage, scene())


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 502), ("zstd, br", 502), ("identity", 200), ("", 200)])
def test_a_content_encoding_that_nobody_asked_for_is_502(encoding: str, status: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, ok(b"x", ("content-encoding", encoding)))
        heard = await stage.ask(BLOB)
        assert heard.status == status
        assert heard.header("content-encoding") is None

    play(stage, scene())


def test_a_client_that_leaves_while_the_upstream_is_asked_leaves_nothing_open() -> None:
    stage = Stage()
    gate = asyncio.Event()

    async def never() -> FakeResponse:
        await gate.wait()
        return ok()

    async def scene() -> None:
        stage.upstream.on_call("GET", URL, never)
        task = asyncio.create_task(stage.ask(BLOB))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(stage, scene())
