"""Tokens of upstreams: fetched when challenged, kept no longer than they live, renewed once for all waiters."""

import asyncio
import json

import pytest

from hubferry.core.access import Credential
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.gateway.fakes import BEARER, HUB, REALM, FakeResponse, Stage, basic, challenged, ok, play, token
from tests.support.waiting import turns

DIGEST = "sha256:" + "a" * 64
BLOB = f"/v2/nginx/blobs/{DIGEST}"
URL = f"{HUB}/v2/library/nginx/blobs/{DIGEST}"


def test_a_token_is_asked_for_pull_on_the_one_repository_and_kept() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(), ok(b"x"), ok(b"x"))
        stage.upstream.on("GET", REALM, token())
        assert (await stage.ask(BLOB)).status == 200
        assert (await stage.ask(BLOB)).status == 200

    play(stage, scene())
    assert stage.upstream.authorizations(URL) == [None, "Bearer T1", "Bearer T1"]
    assert stage.upstream.token_queries() == [
        {"service": ["registry.docker.io"], "scope": ["repository:library/nginx:pull"]}
    ]


def test_a_known_challenge_costs_another_repository_no_second_401() -> None:
    stage = Stage()
    other = f"{HUB}/v2/a/b/blobs/{DIGEST}"

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(), ok(b"x"))
        stage.upstream.on("GET", other, ok(b"y"))
        stage.upstream.on("GET", REALM, token("T1"), token("T2"))
        await stage.ask(BLOB)
        await stage.ask(f"/v2/a/b/blobs/{DIGEST}")

    play(stage, scene())
    assert stage.upstream.authorizations(other) == ["Bearer T2"]
    assert [query["scope"] for query in stage.upstream.token_queries()] == [
        ["repository:library/nginx:pull"],
        ["repository:a/b:pull"],
    ]


def test_fifty_waiters_share_one_token() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, *(challenged() for _ in range(50)), *(ok(b"x") for _ in range(50)))
        stage.upstream.on("GET", REALM, token())
        heard = await asyncio.gather(*(stage.ask(BLOB) for _ in range(50)))
        assert {one.status for one in heard} == {200}

    play(stage, scene())
    assert len(stage.upstream.token_queries()) == 1


def test_fifty_waiters_whose_kept_token_is_refused_share_one_renewal() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(), ok(b"x"))
        stage.upstream.on("GET", REALM, token("OLD"), token("NEW"))
        await stage.ask(BLOB)
        stage.upstream.on("GET", URL, *(challenged() for _ in range(50)), *(ok(b"x") for _ in range(50)))
        heard = await asyncio.gather(*(stage.ask(BLOB) for _ in range(50)))
        assert {one.status for one in heard} == {200}

    play(stage, scene())
    assert len(stage.upstream.token_queries()) == 2
    assert stage.upstream.authorizations(URL).count("Bearer NEW") == 50


def test_a_waiter_that_leaves_does_not_take_the_token_along() -> None:
    stage = Stage()
    gate = asyncio.Event()

    async def slow_token() -> FakeResponse:
        await gate.wait()
        return token()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(), challenged(), ok(b"x"))
        stage.upstream.on_call("GET", REALM, slow_token)
        first = asyncio.create_task(stage.ask(BLOB))
        second = asyncio.create_task(stage.ask(BLOB))
        await turns(10)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.set()
        assert (await second).status == 200

    play(stage, scene())


@pytest.mark.parametrize(("passed_s", "fetched"), [(0.5, 1), (0.89, 1), (0.91, 2), (5.0, 2)])
def test_a_token_of_one_second_is_not_used_after_it(passed_s: float, fetched: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(), ok(b"x"), ok(b"x"))
        stage.upstream.on("GET", REALM, *(token(f"T{i}", expires_in=1) for i in range(fetched)))
        await stage.ask(BLOB)
        stage.clock.pass_s(passed_s)
        assert (await stage.ask(BLOB)).status == 200

    play(stage, scene())


@pytest.mark.parametrize("jump_s", [86400.0, -86400.0])
def test_a_jump_of_the_wall_clock_by_a_day_changes_nothing(jump_s: float) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(), ok(b"x"), ok(b"x"))
        stage.upstream.on("GET", REALM, token())
        await stage.ask(BLOB)
        stage.clock.now_wall += jump_s
        assert (await stage.ask(BLOB)).status == 200

    play(stage, scene())


def test_a_slow_answer_shortens_the_life_of_a_token() -> None:
    stage = Stage()

    async def slow_token() -> FakeResponse:
        stage.clock.pass_s(50)
        return token(expires_in=60)

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(), ok(b"x"), ok(b"x"))
        stage.upstream.on_call("GET", REALM, slow_token)
        stage.upstream.on("GET", REALM, token("T2"))
        await stage.ask(BLOB)
        stage.clock.pass_s(5)
        await stage.ask(BLOB)

    play(stage, scene())


SHORT_LIVED = [
    -5,
    -1e300,
    pytest.param(0),
]


@pytest.mark.parametrize("expires_in", SHORT_LIVED)
def test_a_token_that_is_over_already_is_used_once_and_not_kept(expires_in: float) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(), ok(b"x"), ok(b"x"))
        stage.upstream.on("GET", REALM, token("T1", expires_in=expires_in), token("T2", expires_in=expires_in))
        assert (await stage.ask(BLOB)).status == 200
        assert (await stage.ask(BLOB)).status == 200

    play(stage, scene())


@pytest.mark.parametrize("fields", [{}, {"expires_in": None}, {"expires_in": "60"}])
def test_a_token_that_does_not_say_lives_a_minute(fields: dict[str, object]) -> None:
    stage = Stage()

    async def scene() -> None:
        body = json.dumps({"access_token": "A", **fields}).encode()
        stage.upstream.on("GET", URL, challenged(), ok(b"x"), ok(b"x"), ok(b"x"))
        stage.upstream.on("GET", REALM, FakeResponse(200, (), body), token("T2"))
        await stage.ask(BLOB)
        stage.clock.pass_s(50)
        await stage.ask(BLOB)
        stage.clock.pass_s(10)
        await stage.ask(BLOB)

    play(stage, scene())
    assert stage.upstream.authorizations(URL) == [None, "Bearer A", "Bearer A", "Bearer T2"]


NO_TOKENS: dict[str, bytes] = {
    "too large": b'{"token": "' + b"x" * 65536 + b'"}',
    "not JSON": b"<html>blocked</html>",
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "no token": b"{}",
    "an empty token": b'{"token": ""}',
    "a token that is a number": b'{"token": 5}',
    "a token with a line break": b'{"token": "a\\r\\nx: y"}',
    "a token with a space": b'{"token": "a b"}',
    "a token beyond ASCII": b'{"token": "\\u00e4"}',
    "a lifetime that is no number": b'{"token": "T", "expires_in": "soon"}',
    "a lifetime that is a list": b'{"token": "T", "expires_in": [1]}',
    "nested without end": b"[" * 60000,
    "not UTF-8": b"\xff\xfe\xff",
}
BROKEN_TOKENS = {
    "an empty access token": (b'{"access_token": ""}', "an empty access_token passes as a token"),
    "a lifetime without end": (
        b'{"token": "T", "expires_in": 1' + b"0" * 400 + b"}",
        "float() of a huge whole number raises OverflowError",
    ),
}


@pytest.mark.parametrize(
    "body",
    [
        *(pytest.param(body, id=name) for name, body in NO_TOKENS.items()),
        *(pytest.param(body, id=name) for name, (body, why) in BROKEN_TOKENS.items()),
    ],
)
def test_an_answer_that_is_no_token_is_502(body: bytes) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged())
        stage.upstream.on("GET", REALM, FakeResponse(200, (), body))
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.code) == (502, "UNKNOWN")

    play(stage, scene())


REFUSALS = [
    (401, 401, "UNAUTHORIZED"),
    (403, 403, "DENIED"),
    (429, 429, "TOOMANYREQUESTS"),
    (503, 503, "UNAVAILABLE"),
    (500, 502, "UNKNOWN"),
    (302, 502, "UNKNOWN"),
]


@pytest.mark.parametrize(
    ("status", "ours", "code", "body"),
    [
        *(pytest.param(*case, b"{}", id=f"{case[0]}") for case in REFUSALS),
        *(pytest.param(*case, b"x" * 70000, id=f"{case[0]} with a large body") for case in REFUSALS if case[1] != 502),
    ],
)
def test_a_refusal_of_the_token_service_stays_what_it_is(status: int, ours: int, code: str, body: bytes) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged())
        stage.upstream.on("GET", REALM, FakeResponse(status, (("retry-after", "9"),), body))
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.code) == (ours, code)
        if ours != 401:
            assert heard.header("retry-after") == "9"

    play(stage, scene())


def test_fifty_waiters_that_are_refused_get_one_challenge_each() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, *(challenged() for _ in range(50)))
        stage.upstream.on("GET", REALM, FakeResponse(401))
        hosts = [f"h{i}.example" for i in range(50)]
        heard = await asyncio.gather(*(stage.ask(BLOB, host=host) for host in hosts))
        for host, one in zip(hosts, heard, strict=True):
            assert one.status == 401
            assert host in (one.header("www-authenticate") or "")

    play(stage, scene())


@pytest.mark.parametrize("failure", ["send", "read"])
def test_a_token_service_that_cannot_be_reached_is_503_and_named(failure: str) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged())
        error = UpstreamFailure(Cause.TIMEOUT, "auth.docker.io")
        stage.upstream.on("GET", REALM, error if failure == "send" else FakeResponse(200, (), b"", cut=error))
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.code) == (503, "UNAVAILABLE")
        assert "auth.docker.io" in heard.message
        assert heard.header("retry-after")

    play(stage, scene())


REALMS = [
    "https://evil.example/token",
    "http://auth.docker.io/token",
    "https://127.0.0.1/",
    "https://a@auth.docker.io/",
]


@pytest.mark.parametrize("realm", REALMS)
def test_a_realm_that_is_not_believed_is_never_asked(realm: str) -> None:
    stage = Stage(account=Credential("bot", "hunter2"))

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(f'Bearer realm="{realm}"'))
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.code) == (502, "UNKNOWN")

    play(stage, scene())
    assert stage.log.events[0][0] == "realm_refused"
    assert stage.upstream.urls() == [URL]


def test_the_credential_of_one_user_never_serves_another() -> None:
    stage = Stage()
    alice, bob = basic("alice", "a"), basic("bob", "b")

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged())
        stage.upstream.on("GET", URL, *(ok(b"x") for _ in range(5)))
        stage.upstream.on("GET", REALM, token("ALICE"), token("BOB"), token("NOBODY"))
        await stage.ask(BLOB, ("authorization", alice))
        await stage.ask(BLOB, ("authorization", bob))
        await stage.ask(BLOB)
        await stage.ask(BLOB, ("authorization", alice))
        await stage.ask(BLOB, ("authorization", bob))

    play(stage, scene())
    assert stage.upstream.authorizations(URL) == [
        "Bearer ALICE", "Bearer BOB", "Bearer NOBODY", "Bearer ALICE", "Bearer BOB",
    ]  # fmt: skip
    assert stage.upstream.authorizations(REALM) == [alice, bob, None]
    assert [query.get("account") for query in stage.upstream.token_queries()] == [["alice"], ["bob"], None]


def test_another_password_of_the_same_user_is_another_credential() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged())
        stage.upstream.on("GET", URL, ok(b"x"))
        stage.upstream.on("GET", REALM, token("GOOD"), FakeResponse(401))
        assert (await stage.ask(BLOB, ("authorization", basic("alice", "good")))).status == 200
        heard = await stage.ask(BLOB, ("authorization", basic("alice", "bad")))
        assert heard.status == 401
        assert "alice" in heard.message

    play(stage, scene())


def test_a_redirect_elsewhere_that_challenges_gets_nobodys_credential() -> None:
    stage = Stage(account=Credential("bot", "hunter2"))
    cdn = "https://cdn.docker.com/x"

    async def scene() -> None:
        stage.upstream.on("GET", URL, FakeResponse(307, (("location", cdn),)))
        stage.upstream.on("GET", cdn, challenged('Bearer realm="https://cdn.docker.com/token"'), ok(b"x"))
        stage.upstream.on(
            "GET", "https://cdn.docker.com/token?scope=repository%3Alibrary%2Fnginx%3Apull", token("ANON")
        )
        assert (await stage.ask(BLOB)).status == 200

    play(stage, scene())
    assert stage.upstream.authorizations("https://cdn.docker.com/token") == [None]
    assert stage.upstream.authorizations(cdn) == [None, "Bearer ANON"]


def test_basic_is_answered_with_the_account() -> None:
    stage = Stage(account=Credential("bot", "pw"))

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged('Basic realm="x"'), ok(b"x"))
        assert (await stage.ask(BLOB)).status == 200

    play(stage, scene())
    assert stage.upstream.authorizations(URL) == [None, basic("bot", "pw")]


def test_a_basic_challenge_that_nobody_can_answer_is_401() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged('Basic realm="x"'))
        assert (await stage.ask(BLOB)).status == 401

    play(stage, scene())


def test_a_scope_that_is_hidden_in_the_realm_is_not_asked_for() -> None:
    stage = Stage()
    realm = f"{REALM}?scope=repository:secret/x:pull,push"

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(f'Bearer realm="{realm}"'), ok(b"x"))
        stage.upstream.on("GET", REALM, token())
        await stage.ask(BLOB)

    play(stage, scene())
    assert stage.upstream.token_queries()[0]["scope"] == ["repository:library/nginx:pull"]


def test_secrets_are_in_no_log_and_no_message() -> None:
    stage = Stage(account=Credential("bot", "hunter2"))

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(BEARER))
        stage.upstream.on("GET", REALM, UpstreamFailure(Cause.TLS, "auth.docker.io", "expired"))
        heard = await stage.ask(BLOB)
        assert b"hunter2" not in (heard.data or b"")

    play(stage, scene())
    assert "hunter2" not in repr(stage.log.events)
