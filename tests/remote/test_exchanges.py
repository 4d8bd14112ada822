"""One base, asked with one credential: tokens and redirects on the way, what ends it, and that every body is closed."""

import asyncio
from dataclasses import replace

import pytest

from hubferry.core.access import Credential
from hubferry.core.challenge import Challenge
from hubferry.core.http import get, get_all
from hubferry.ports.upstream import UpstreamFailure
from hubferry.remote.exchanges import USER_AGENT, AccountRefused, Obtained
from hubferry.remote.target import Target
from tests.gateway.fakes import BEARER, HUB, MIRROR, REALM, FakeResponse, basic, challenged, ok, token
from tests.remote.fakes import ALICE, BOB, DOWN, NAME, REPOSITORY, Remote, cancelled_at, never, redirected, refusal

PATH = f"/v2/{REPOSITORY}/manifests/1"
URL = HUB + PATH
OTHER = Target(Remote().upstream, "a/b")
CDN = "https://cdn.example/signed?x=1"
CDN2 = "https://cdn.example/signed?x=2"
HEADERS = (("accept", "application/json"), ("accept", "text/plain"))
BASIC = 'Basic realm="x"'


async def run(remote: Remote, target: Target | None = None, base: str = HUB, path: str = PATH) -> Obtained:
    return await remote.exchanges.run(target or remote.target(), base, "GET", path, HEADERS)


async def status_of(remote: Remote, target: Target | None = None, base: str = HUB, path: str = PATH) -> int:
    """Ask, close what comes, and return its status."""
    obtained = await run(remote, target, base, path)
    await obtained.response.body.close()
    return obtained.response.status


@pytest.mark.parametrize("status", [200, 206, 304, 400, 401, 403, 404, 416, 429, 500, 503])
def test_whatever_the_status_is_the_final_response_comes_with_its_body_open(status: int) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, FakeResponse(status))
        obtained = await run(remote)
        answer = remote.script.responses[-1]
        assert obtained == Obtained(answer, HUB)
        assert answer.body.closed == 0
        await answer.body.close()

    remote.play(scene)


def test_every_request_says_what_was_asked_and_who_asks() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(), redirected(CDN))
        remote.script.on("GET", REALM, token())
        remote.script.on("GET", CDN, ok())
        await status_of(remote)

    remote.play(scene)
    asked = [request for request in remote.script.sent if not request.url.startswith(REALM)]
    assert [request.url for request in asked] == [URL, URL, CDN]
    for request in asked:
        assert get_all(request.headers, "user-agent") == [USER_AGENT]
        assert get_all(request.headers, "accept") == ["application/json", "text/plain"]


def test_an_answer_of_another_origin_says_where_it_came_from() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, redirected(CDN), redirected(f"{HUB}/there"))
        remote.script.on("GET", CDN, ok())
        remote.script.on("GET", f"{HUB}/there", ok())
        for direct_url in (CDN, ""):
            obtained = await run(remote)
            assert (obtained.base, obtained.direct_url) == (HUB, direct_url)
            await obtained.response.body.close()

    remote.play(scene)


def test_a_known_challenge_brings_the_token_first_and_each_base_has_its_own() -> None:
    remote = Remote(MIRROR)
    of_mirror = 'Bearer realm="https://mirror.example/token"'

    async def scene() -> None:
        assert remote.exchanges.known(HUB) is None
        remote.script.on("GET", URL, challenged(), ok())
        remote.script.on("GET", f"{HUB}/v2/a/b/manifests/1", ok())
        remote.script.on("GET", REALM, token("T1"), token("T2"))
        await status_of(remote)
        await status_of(remote, OTHER, path="/v2/a/b/manifests/1")
        assert remote.exchanges.known(MIRROR) is None
        remote.script.on("GET", MIRROR + PATH, challenged(of_mirror), ok())
        scope = "scope=repository%3Alibrary%2Fnginx%3Apull"
        remote.script.on("GET", f"https://mirror.example/token?{scope}", token("T3"))
        await status_of(remote, base=MIRROR)
        assert remote.exchanges.known(MIRROR) == Challenge("bearer", (("realm", "https://mirror.example/token"),))

    remote.play(scene)
    assert remote.script.authorizations(URL) == [None, "Bearer T1"]
    assert remote.script.authorizations(f"{HUB}/v2/a/b") == ["Bearer T2"]
    assert remote.script.authorizations(MIRROR + PATH) == [None, "Bearer T3"]


def test_a_question_about_no_repository_waits_for_its_challenge() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.exchanges.remember(HUB, Challenge("bearer", (("realm", REALM),)))
        remote.script.on("GET", f"{HUB}/search", ok())
        assert await status_of(remote, Target(remote.upstream), path="/search") == 200

    remote.play(scene)
    assert remote.script.urls() == [f"{HUB}/search"]


@pytest.mark.parametrize("credential", [None, BOB])
def test_a_basic_challenge_is_answered_with_the_credential_or_is_the_answer(credential: Credential | None) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(BASIC), *([ok()] if credential else []))
        assert await status_of(remote, remote.target(credential)) == (200 if credential else 401)
        assert remote.exchanges.known(HUB) is None, "Basic sends a password: not before it is asked for"

    remote.play(scene)
    assert remote.script.authorizations(URL) == ([None, basic("bob", "b")] if credential else [None])


def test_a_challenge_on_another_origin_gets_no_credential_and_is_not_remembered() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, redirected(CDN))
        remote.script.on("GET", CDN, challenged('Bearer realm="https://cdn.example/token"'), ok())
        scope = "scope=repository%3Alibrary%2Fnginx%3Apull"
        remote.script.on("GET", f"https://cdn.example/token?{scope}", token("ELSEWHERE"))
        assert await status_of(remote, remote.target(ALICE)) == 200
        assert remote.exchanges.known(HUB) is None

    remote.play(scene)
    assert remote.script.authorizations("https://cdn.example/") == [None, None, "Bearer ELSEWHERE"]


@pytest.mark.parametrize(("second", "status"), [(200, 200), (403, 403), (404, 404)])
def test_a_signed_url_that_is_refused_is_signed_anew_once(second: int, status: int) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, redirected(CDN), redirected(CDN2))
        remote.script.on("GET", CDN, FakeResponse(403))
        remote.script.on("GET", CDN2, FakeResponse(second))
        obtained = await run(remote)
        assert (obtained.response.status, obtained.direct_url) == (status, CDN2)
        await obtained.response.body.close()

    remote.play(scene)


def test_a_403_of_the_upstream_itself_is_its_answer() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, FakeResponse(403))
        assert await status_of(remote) == 403

    remote.play(scene)
    assert len(remote.script.sent) == 1


ENCODINGS = {"gzip": False, "br, zstd": False, "identity": True, " Identity ": True, "": True}


@pytest.mark.parametrize(("encoding", "is_good"), ENCODINGS.items())
def test_an_encoded_body_is_not_delivered(encoding: str, *, is_good: bool) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, ok(b"x", ("content-encoding", encoding)))
        if is_good:
            assert await status_of(remote) == 200
        else:
            error = await refusal(run(remote))
            assert error.status == 502
            assert encoding in error.message

    remote.play(scene)


@pytest.mark.parametrize(
    "location", [None, "http://cdn.example/", "https://127.0.0.1/", "ftp://a.example/", "https://a@b.example/"]
)
def test_a_redirect_that_is_not_followed_ends_it_and_is_logged(location: str | None) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, redirected(location) if location else FakeResponse(302))
        error = await refusal(run(remote))
        assert error.status == 502
        assert f"{NAME} answered with a redirect" in error.message
        assert "not followed" in error.message

    remote.play(scene)
    assert remote.events() == ["redirect_refused"]


# what the upstream answers when it is asked, and what its token service answers then
TOKENLESS: dict[str, tuple[FakeResponse, FakeResponse | UpstreamFailure, int]] = {
    "a token service that refuses": (challenged(), FakeResponse(403), 403),
    "a token service that is broken": (challenged(), FakeResponse(500), 502),
    "a token service that gives none": (challenged(), ok(b"{}"), 502),
    "a token service that is not reached": (challenged(), DOWN, 0),
}


@pytest.mark.parametrize(("first", "answer", "status"), TOKENLESS.values(), ids=TOKENLESS.keys())
@pytest.mark.parametrize("is_known", [False, True], ids=["challenged", "known"])
def test_what_the_token_service_answers_ends_it_and_the_challenge_is_closed(
    first: FakeResponse, answer: FakeResponse | UpstreamFailure, status: int, *, is_known: bool
) -> None:
    remote = Remote()

    async def scene() -> None:
        if is_known:
            remote.exchanges.remember(HUB, Challenge("bearer", (("realm", REALM),)))
        else:
            remote.script.on("GET", URL, FakeResponse(first.status, first.headers))
        fails = answer if isinstance(answer, UpstreamFailure) else FakeResponse(answer.status, (), answer.data)
        remote.script.on("GET", REALM, fails)
        if isinstance(answer, UpstreamFailure):
            with pytest.raises(UpstreamFailure):
                await run(remote)
        else:
            assert (await refusal(run(remote))).status == status

    remote.play(scene)


def test_a_realm_elsewhere_is_not_asked_for_a_token() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, challenged('Bearer realm="https://evil.example/token"'))
        error = await refusal(run(remote, remote.target(ALICE)))
        assert error.status == 502
        assert "evil.example" in error.message

    remote.play(scene)
    assert remote.events() == ["realm_refused"]


# whether the credential is the gateway's own, whether it is refused by the token service or, as Basic, by the upstream
REFUSED = {
    "its own, by the token service": (True, "bearer"),
    "its own, by the upstream": (True, "basic"),
    "a client's, by the token service": (False, "bearer"),
    "a client's, by the upstream": (False, "basic"),
}


@pytest.mark.parametrize(("is_own", "scheme"), REFUSED.values(), ids=REFUSED.keys())
def test_only_an_account_of_the_gateways_own_is_refused_as_such_and_never_named(scheme: str, *, is_own: bool) -> None:
    remote = Remote(accounts=(ALICE,) if is_own else ())

    async def scene() -> None:
        line = BEARER if scheme == "bearer" else BASIC
        remote.script.on("GET", URL, challenged(line))
        if scheme == "bearer":
            remote.script.on("GET", REALM, FakeResponse(401))
        else:
            remote.script.on("GET", URL, challenged(line))
        target = remote.target(ALICE)
        if is_own:
            with pytest.raises(AccountRefused) as raised:
                await run(remote, target)
            refused = raised.value
            assert (refused.account, refused.refusal.status) == (ALICE, 401)
            assert str(refused) == refused.refusal.message
            assert "alice" not in str(refused)
            assert "the gateway's own account" in str(refused)
        elif scheme == "bearer":
            error = await refusal(run(remote, target))
            assert error.status == 401
            assert "alice" in error.message, "whose account it is may know"
        else:
            assert await status_of(remote, target) == 401, "the 401 itself is the answer"

    remote.play(scene)


def test_a_refusal_of_a_token_is_the_answer_also_for_the_gateways_own_account() -> None:
    remote = Remote(accounts=(ALICE,))

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(), challenged())
        remote.script.on("GET", REALM, token())
        assert await status_of(remote, remote.target(ALICE)) == 401

    remote.play(scene)


def test_an_account_that_was_not_used_elsewhere_is_not_refused_there() -> None:
    remote = Remote(accounts=(ALICE,))

    async def scene() -> None:
        remote.script.on("GET", URL, redirected(CDN))
        remote.script.on("GET", CDN, challenged('Bearer realm="https://cdn.example/token"'))
        scope = "scope=repository%3Alibrary%2Fnginx%3Apull"
        remote.script.on("GET", f"https://cdn.example/token?{scope}", FakeResponse(401))
        assert (await refusal(run(remote, remote.target(ALICE)))).status == 401

    remote.play(scene)


@pytest.mark.parametrize("at", ["first", "token", "after the token", "redirected"])
def test_an_upstream_that_is_lost_on_the_way_leaves_no_body_open(at: str) -> None:
    remote = Remote()

    async def scene() -> None:
        if at == "redirected":
            remote.script.on("GET", URL, redirected(CDN))
            remote.script.on("GET", CDN, DOWN)
        elif at == "first":
            remote.script.on("GET", URL, DOWN)
        else:
            remote.script.on("GET", URL, challenged(), *([DOWN] if at == "after the token" else []))
            remote.script.on("GET", REALM, DOWN if at == "token" else token())
        with pytest.raises(UpstreamFailure):
            await run(remote)

    remote.play(scene)


@pytest.mark.parametrize("at", ["first", "token", "after the token", "redirected", "signed anew"])
def test_who_leaves_on_the_way_leaves_no_body_open(at: str) -> None:
    remote = Remote()

    async def scene() -> None:
        begun = asyncio.Event()
        if at == "redirected":
            remote.script.on("GET", URL, redirected(CDN))
            remote.script.on_call("GET", CDN, never(begun))
        elif at == "signed anew":
            remote.script.on("GET", URL, redirected(CDN))
            remote.script.on("GET", CDN, FakeResponse(403))
            remote.script.on_call("GET", URL, never(begun))
        elif at == "first":
            remote.script.on_call("GET", URL, never(begun))
        else:
            remote.script.on("GET", URL, challenged())
            remote.script.on_call("GET", REALM, never(begun)) if at == "token" else remote.script.on(
                "GET", REALM, token()
            )
            if at == "after the token":
                remote.script.on_call("GET", URL, never(begun))
        await cancelled_at(run(remote), begun)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()  # the token is for all who wait, and is asked for without the one who left

    remote.play(scene)


def test_equal_targets_with_other_credentials_have_tokens_of_their_own() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(), *(ok() for _ in range(4)))
        remote.script.on("GET", REALM, token("ANYBODY"), token("ALICE"), token("BOB"))
        for credential in (None, ALICE, BOB, ALICE):
            await status_of(remote, replace(remote.target(), credential=credential))

    remote.play(scene)
    used = [get(request.headers, "authorization") for request in remote.script.sent if request.url == URL]
    assert used == [None, "Bearer ANYBODY", "Bearer ALICE", "Bearer BOB", "Bearer ALICE"]
