"""One base of an upstream: as whom it is asked, when not at all, and what proves a login."""

import asyncio

import pytest

from hubferry.core.access import MIN_LIFETIME_S, Credential
from hubferry.core.challenge import Challenge
from hubferry.core.errors import Asked, Code
from hubferry.core.headers import UNENCODED
from hubferry.core.http import Headers, get
from hubferry.ports.upstream import UpstreamFailure
from hubferry.remote.base import LoginCheck
from hubferry.remote.exchanges import Obtained
from hubferry.remote.target import Question, RequestKind
from tests.gateway.fakes import HUB, MIRROR, REALM, FakeResponse, basic, challenged, ok, token
from tests.remote.fakes import ALICE, BOB, DOWN, NAME, REPOSITORY, Remote, cancelled_at, never, redirected, refusal

PATH = f"/v2/{REPOSITORY}/manifests/1"
URL = HUB + PATH
LOGIN = f"{HUB}/v2/"
CDN = "https://cdn.example/signed"
BASIC = 'Basic realm="x"'
CAROL = Credential("carol", "c")


def question(remote: Remote, credential: Credential | None = None, kind: RequestKind = "manifests") -> Question:
    asked = Asked(NAME, REPOSITORY, "1")
    return Question(remote.target(credential), asked, "GET", PATH, UNENCODED, kind)


async def status_of(remote: Remote, credential: Credential | None = None, number: int = 0) -> int:
    """Ask, close what comes, and return its status."""
    obtained = await remote.base.ask(question(remote, credential), number)
    await obtained.response.body.close()
    return obtained.response.status


def limited(retry_after: str) -> FakeResponse:
    return FakeResponse(429, (("retry-after", retry_after),))


def quota(remaining: int) -> Headers:
    return (("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", f"{remaining};w=21600"))


def passwords(remote: Remote) -> list[str | None]:
    """The Authorization of each request, in their order."""
    return [get(request.headers, "authorization") for request in remote.script.sent]


A, B, C = basic("alice", "a"), basic("bob", "b"), basic("carol", "c")


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500])
def test_the_answer_of_the_upstream_comes_with_its_body_open(status: int) -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        remote.script.on("GET", URL, FakeResponse(status))
        obtained = await remote.base.ask(question(remote), 0)
        answer = remote.script.responses[-1]
        assert obtained == Obtained(answer, HUB, answered_by="upstream")
        assert answer.body.closed == 0
        await answer.body.close()

    remote.play(scene)


@pytest.mark.parametrize("credential", [None, ALICE, BOB], ids=["nobody", "the gateway's own", "a client's"])
def test_a_mirror_is_asked_as_nobody(credential: Credential | None) -> None:
    remote = Remote(MIRROR, accounts=(ALICE,))

    async def scene() -> None:
        remote.script.on("GET", MIRROR + PATH, challenged(BASIC))
        obtained = await remote.base.ask(question(remote, credential), 1)
        assert (obtained.base, obtained.answered_by, obtained.response.status) == (MIRROR, "mirror", 401)
        await obtained.response.body.close()

    remote.play(scene)
    assert passwords(remote) == [None]


@pytest.mark.parametrize(("credential", "sent"), [(None, None), (ALICE, A), (BOB, B)])
def test_the_upstream_is_asked_as_whoever_asks(credential: Credential | None, sent: str | None) -> None:
    remote = Remote(accounts=(ALICE,))

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(BASIC), *([ok()] if sent else []))
        assert await status_of(remote, credential) == (200 if sent else 401)

    remote.play(scene)
    assert passwords(remote) == ([None, sent] if sent else [None])


def test_of_the_gateways_own_accounts_the_one_with_most_left_is_used() -> None:
    remote = Remote(accounts=(ALICE, BOB))

    async def scene() -> None:
        remote.limits.heard(NAME, ALICE, "manifests", 200, quota(10))
        remote.limits.heard(NAME, BOB, "manifests", 200, quota(90))
        remote.script.on("GET", URL, challenged(BASIC), FakeResponse(200, quota(5)), challenged(BASIC), ok())
        assert await status_of(remote, ALICE) == 200
        assert await status_of(remote, ALICE) == 200

    remote.play(scene)
    assert passwords(remote) == [None, B, None, A]


def test_a_limit_is_learned_obeyed_and_told() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", URL, limited("90"))
        for left in ("90", "60"):
            error = await refusal(remote.base.ask(question(remote), 0))
            assert (error.status, get(error.headers, "retry-after")) == (429, left)
            assert "limits the pulls of this gateway's address" in error.message
            remote.clock.pass_s(30)
        remote.clock.pass_s(31)
        remote.script.on("GET", URL, ok())
        assert await status_of(remote) == 200

    remote.play(scene)
    assert len(remote.script.sent) == 2


def test_a_limited_account_gives_way_to_another_and_when_all_are_limited_the_shortest_wait_is_told() -> None:
    remote = Remote(accounts=(ALICE, BOB))

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(BASIC), limited("90"), challenged(BASIC), ok())
        assert await status_of(remote, ALICE) == 200
        remote.script.on("GET", URL, challenged(BASIC), limited("30"))
        error = await refusal(remote.base.ask(question(remote, ALICE), 0))
        assert (error.status, get(error.headers, "retry-after")) == (429, "30")
        assert "an account of this gateway's" in error.message

    remote.play(scene)
    assert passwords(remote) == [None, A, None, B, None, B]


def test_a_limit_of_a_client_is_no_limit_of_others() -> None:
    remote = Remote(accounts=(ALICE,))

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(BASIC), limited("90"))
        error = await refusal(remote.base.ask(question(remote, CAROL), 0))
        assert "the account carol" in error.message
        for credential in (None, ALICE, BOB):
            remote.script.on("GET", URL, ok())
            assert await status_of(remote, credential) == 200

    remote.play(scene)


@pytest.mark.parametrize("number", [0, 1])
def test_a_429_of_where_it_redirects_to_is_the_answer_and_no_limit_of_the_base(number: int) -> None:
    remote = Remote(MIRROR)
    url = (HUB, MIRROR)[number] + PATH

    async def scene() -> None:
        remote.script.on("GET", url, redirected(CDN), ok())
        remote.script.on("GET", CDN, limited("90"))
        assert await status_of(remote, number=number) == 429
        assert await status_of(remote, number=number) == 200

    remote.play(scene)


def test_a_limit_of_a_mirror_is_its_own() -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        remote.script.on("GET", MIRROR + PATH, limited("90"))
        for _ in range(2):
            error = await refusal(remote.base.ask(question(remote), 1))
            assert (error.status, get(error.headers, "retry-after")) == (429, "90")
            assert "https://mirror.example:443 limits" in error.message
        remote.script.on("GET", URL, ok())
        assert await status_of(remote) == 200

    remote.play(scene)
    assert remote.script.urls() == [MIRROR + PATH, URL]


def test_an_account_that_is_refused_altogether_is_set_aside_and_the_next_one_asked() -> None:
    remote = Remote(accounts=(ALICE, BOB))

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(BASIC), challenged(BASIC), challenged(BASIC), ok())
        remote.script.on("GET", LOGIN, challenged(BASIC), challenged(BASIC))
        assert await status_of(remote, ALICE) == 200
        remote.script.on("GET", URL, challenged(BASIC), ok())
        assert await status_of(remote, ALICE) == 200

    remote.play(scene)
    assert passwords(remote) == [None, A, None, A, None, B, None, B]
    assert remote.events() == ["account_refused"]


def test_when_every_account_is_refused_nobody_asks() -> None:
    remote = Remote(accounts=(ALICE, BOB))

    async def scene() -> None:
        for _ in range(2):
            remote.script.on("GET", URL, challenged(BASIC), challenged(BASIC))
            remote.script.on("GET", LOGIN, challenged(BASIC), challenged(BASIC))
        remote.script.on("GET", URL, ok())
        assert await status_of(remote, ALICE) == 200

    remote.play(scene)
    assert passwords(remote)[-1] is None


def test_an_account_that_only_this_repository_refuses_stays_and_is_not_named() -> None:
    remote = Remote(accounts=(ALICE,))

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(BASIC), challenged(BASIC))
        remote.script.on("GET", LOGIN, challenged(BASIC), ok())
        error = await refusal(remote.base.ask(question(remote, ALICE), 0))
        assert (error.status, error.code) == (401, Code.UNAUTHORIZED)
        assert "the gateway's own account" in error.message
        assert "alice" not in error.message

    remote.play(scene)
    assert remote.events() == []


@pytest.mark.parametrize("answer", [FakeResponse(403), FakeResponse(500)], ids=["denied", "broken"])
def test_an_account_of_which_nobody_can_say_whether_it_is_refused_stays(answer: FakeResponse) -> None:
    remote = Remote(accounts=(ALICE,))

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(BASIC), challenged(BASIC))
        remote.script.on("GET", LOGIN, FakeResponse(answer.status))
        assert (await refusal(remote.base.ask(question(remote, ALICE), 0))).status == 401

    remote.play(scene)
    assert remote.events() == []


def test_an_account_that_the_token_service_limits_gives_way_to_another() -> None:
    remote = Remote(accounts=(ALICE, BOB))

    async def scene() -> None:
        remote.script.on("GET", URL, challenged(), challenged(), ok())
        remote.script.on("GET", REALM, limited("40"), token())
        assert await status_of(remote, ALICE) == 200

    remote.play(scene)
    assert [query["account"] for query in remote.script.token_queries()] == [["alice"], ["bob"]]


def test_the_limit_of_the_token_service_is_told_when_nobody_else_may_ask() -> None:
    remote = Remote(accounts=(ALICE,))

    async def scene() -> None:
        remote.script.on("GET", URL, challenged())
        remote.script.on("GET", REALM, limited("40"))
        error = await refusal(remote.base.ask(question(remote, ALICE), 0))
        assert (error.status, get(error.headers, "retry-after")) == (429, "40")

    remote.play(scene)


@pytest.mark.parametrize("number", [0, 1])
def test_a_base_that_is_not_reached_is_a_failure(number: int) -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        remote.script.on("GET", (HUB, MIRROR)[number] + PATH, DOWN)
        with pytest.raises(UpstreamFailure):
            await remote.base.ask(question(remote), number)

    remote.play(scene)


@pytest.mark.parametrize("number", [0, 1])
def test_who_leaves_while_a_base_thinks_leaves_nothing_open(number: int) -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        begun = asyncio.Event()
        remote.script.on_call("GET", (HUB, MIRROR)[number] + PATH, never(begun))
        await cancelled_at(remote.base.ask(question(remote), number), begun)

    remote.play(scene)


# what a URL that gave content once answers the next time; whether that may be used
REPEATED: dict[str, tuple[FakeResponse | UpstreamFailure, bool]] = {
    "all of it": (ok(b"x"), True),
    "a part": (FakeResponse(206), True),
    "said to be as it is": (ok(b"x", ("content-encoding", "identity")), True),
    "encoded": (ok(b"x", ("content-encoding", "gzip")), False),
    "expired": (FakeResponse(403), False),
    "gone": (FakeResponse(404), False),
    "elsewhere": (redirected("https://cdn.example/2"), False),
    "challenged": (challenged(), False),
    "not reached": (DOWN, False),
}


@pytest.mark.parametrize(("answer", "is_good"), REPEATED.values(), ids=REPEATED.keys())
def test_a_url_that_gave_content_is_asked_again_as_nobody_and_without_following_it(
    answer: FakeResponse | UpstreamFailure, *, is_good: bool
) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", CDN, answer if isinstance(answer, UpstreamFailure) else _again(answer))
        response = await remote.base.repeat(remote.upstream, CDN, (("range", "bytes=1-"),))
        assert (response is not None) == is_good
        if response is not None:
            assert remote.closed() == [0]
            await response.body.close()

    remote.play(scene)
    assert remote.sent_headers() == (("range", "bytes=1-"),)


def _again(answer: FakeResponse) -> FakeResponse:
    return FakeResponse(answer.status, answer.headers, answer.data)


# what the upstream answers to /v2/, one after the other, and its token service; whether the credential is proven
PROVEN: dict[str, tuple[list[FakeResponse], list[FakeResponse], LoginCheck]] = {
    "it asks nobody": ([FakeResponse(200)], [], LoginCheck(accepted=True, was_asked=False)),
    "a token is made": ([challenged()], [token()], LoginCheck(accepted=True, lifetime_s=300.0)),
    "a password is taken": ([challenged(BASIC), FakeResponse(200)], [], LoginCheck(accepted=True)),
    "a password is refused": ([challenged(BASIC), challenged(BASIC)], [], LoginCheck(accepted=False)),
    "a 401 that asks for nothing": ([FakeResponse(401)], [], LoginCheck(accepted=False, was_asked=False)),
}


@pytest.mark.parametrize(("answers", "tokens", "proof"), PROVEN.values(), ids=PROVEN.keys())
def test_a_login_is_proven_by_what_the_upstream_makes_of_it(
    answers: list[FakeResponse], tokens: list[FakeResponse], proof: LoginCheck
) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", LOGIN, *map(_again, answers))
        remote.script.on("GET", REALM, *map(_again, tokens))
        assert await remote.base.check_login(remote.target(ALICE)) == proof

    remote.play(scene)


def test_who_shows_the_credential_elsewhere_only_has_proven_nothing() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", LOGIN, redirected("https://login.example/"))
        remote.script.on("GET", "https://login.example/", challenged('Bearer realm="https://login.example/t"'), ok())
        scope = "scope=repository%3Alibrary%2Fnginx%3Apull"
        remote.script.on("GET", f"https://login.example/t?{scope}", token())
        assert await remote.base.check_login(remote.target(ALICE)) == LoginCheck(accepted=False)

    remote.play(scene)
    assert A not in passwords(remote), "it is not the upstream's to know there"


def test_a_token_that_is_kept_proves_without_asking_while_it_lives_long_enough() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", LOGIN, challenged())
        remote.script.on("GET", REALM, token("T1", expires_in=300))
        assert (await remote.base.check_login(remote.target(ALICE))).lifetime_s == 300.0
        assert remote.exchanges.known(HUB) == Challenge(
            "bearer",
            (("realm", REALM), ("service", "registry.docker.io"), ("scope", "repository:library/nginx:pull")),
        )
        remote.clock.pass_s(100)
        assert await remote.base.check_login(remote.target(ALICE)) == LoginCheck(accepted=True, lifetime_s=190.0)
        remote.clock.pass_s(190 - MIN_LIFETIME_S)
        remote.script.on("GET", REALM, token("T2", expires_in=300))
        assert (await remote.base.check_login(remote.target(ALICE))).lifetime_s == 300.0

    remote.play(scene)
    assert remote.script.urls().count(LOGIN) == 1


def test_a_login_that_names_no_repository_asks_the_upstream_every_time() -> None:
    remote = Remote()

    async def scene() -> None:
        for _ in range(2):
            remote.script.on("GET", LOGIN, challenged())
        remote.script.on("GET", REALM, token())
        for _ in range(2):
            assert (await remote.base.check_login(remote.target(ALICE, ""))).accepted

    remote.play(scene)
    assert remote.script.urls().count(LOGIN) == 2


# what /v2/ answers, and its token service; the status of the refusal, and words of it
UNPROVEN: dict[str, tuple[FakeResponse, FakeResponse | None, int, str]] = {
    "the token service refuses": (challenged(), FakeResponse(401), 401, "user name or password of alice"),
    "denied": (FakeResponse(403), None, 403, "denies access to docker.io/its login"),
    "broken": (FakeResponse(500), None, 502, "answered 500"),
    "unavailable": (FakeResponse(503), None, 503, "is unavailable"),
    "limited": (limited("7"), None, 429, "retry after 7"),
    "a redirect inside": (redirected("https://127.0.0.1/"), None, 502, "not followed"),
}


@pytest.mark.parametrize(("answer", "of_tokens", "status", "words"), UNPROVEN.values(), ids=UNPROVEN.keys())
def test_a_login_that_cannot_be_tried_is_told_apart_from_one_that_is_refused(
    answer: FakeResponse, of_tokens: FakeResponse | None, status: int, words: str
) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", LOGIN, _again(answer))
        if of_tokens is not None:
            remote.script.on("GET", REALM, _again(of_tokens))
        error = await refusal(remote.base.check_login(remote.target(ALICE)))
        assert error.status == status
        assert words in error.message

    remote.play(scene)


def test_an_upstream_that_is_not_reached_proves_nothing() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", LOGIN, DOWN)
        with pytest.raises(UpstreamFailure):
            await remote.base.check_login(remote.target(ALICE))

    remote.play(scene)
