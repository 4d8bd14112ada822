"""The token endpoint, and who a request comes from: what is granted, to whom, and for which upstream."""

import contextlib
import json
from urllib.parse import urlencode

import pytest

from hubferry.core.access import Credential, Grant
from hubferry.core.guesses import FREE
from hubferry.core.http import Request, get
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.gateway.fakes import (
    GATEWAY,
    GHCR,
    HUB,
    REALM,
    FakeResponse,
    Heard,
    Stage,
    basic,
    challenged,
    ok,
    play,
    token,
)

DIGEST = "sha256:" + "a" * 64
LOGIN = {"access": {"login": "upstream"}}
HOSTS = {**LOGIN, "upstreams": {"ghcr.io": {"hosts": ["ghcr.example"]}, "docker.io": {"hosts": ["hub.example"]}}}
ALICE = basic("alice", "pw")
GHCR_BEARER = 'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:x:pull"'
GHCR_TOKEN = "https://ghcr.io/token?service=ghcr.io"


def blob(name: str) -> str:
    return f"/v2/{name}/blobs/{DIGEST}"


def bearer(heard: Heard) -> tuple[str, str]:
    return ("authorization", f"Bearer {heard.json['token']}")


# --- challenges ------------------------------------------------------------------------------------------


def test_v2_challenges_with_our_own_realm_and_asks_nobody() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        for path in ("/v2/", "/v2"):
            heard = await stage.ask(path)
            assert (heard.status, heard.code) == (401, "UNAUTHORIZED")
            assert heard.header("www-authenticate") == f'Bearer realm="https://{GATEWAY}/token",service="{GATEWAY}"'

    play(stage, scene())


def test_a_pull_without_a_token_is_told_the_scope_as_the_client_names_it() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        heard = await stage.ask(blob("ghcr.io/o/app"))
        assert heard.status == 401
        assert heard.header("www-authenticate") == (
            f'Bearer realm="https://{GATEWAY}/token",service="{GATEWAY}",scope="repository:ghcr.io/o/app:pull"'
        )

    play(stage, scene())


def test_open_means_that_nobody_is_asked_for_anything() -> None:
    stage = Stage()

    async def scene() -> None:
        assert (await stage.ask("/v2/")).status == 200
        stage.upstream.on("GET", HUB + blob("library/nginx"), ok(b"x"))
        assert (await stage.ask(blob("nginx"))).status == 200

    play(stage, scene())


def test_each_host_name_has_its_own_realm_and_service() -> None:
    stage = Stage({**HOSTS, "server": {"public_url": "https://gw.example"}})

    async def scene() -> None:
        for host in ("hub.example", "ghcr.example", "gw.example"):
            challenge = (await stage.ask("/v2/", host=host)).header("www-authenticate")
            assert challenge == f'Bearer realm="https://{host}/token",service="{host}"'

    play(stage, scene())


# --- anonymous grants ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/token", "/v2/auth"])
def test_anybody_gets_a_token_for_pulling_and_no_upstream_is_asked(path: str) -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        heard = await stage.ask(path, query="service=gw&scope=repository:nginx:pull,push&client_id=docker")
        assert heard.status == 200
        assert heard.json["token"] == heard.json["access_token"]
        assert heard.json["expires_in"] >= 60
        assert heard.json["issued_at"] == "2023-11-14T22:13:20Z"
        assert heard.header("cache-control") == "no-store"

    play(stage, scene())
    grant = stage.sealer.grants["sealed-0"]
    assert (grant.names, grant.service, grant.upstream, grant.credential) == (("nginx",), GATEWAY, "", None)
    assert grant.expires_at <= stage.clock.time() + 300


GRANTED: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "pull": (["repository:a/b:pull"], ("a/b",)),
    "everything": (["repository:a/b:*"], ("a/b",)),
    "pull and push": (["repository:a/b:pull,push"], ("a/b",)),
    "only push": (["repository:a/b:push"], ()),
    "only delete": (["repository:a/b:delete"], ()),
    "the catalog": (["registry:catalog:*"], ()),
    "an unknown registry": (["repository:evil.example/a:pull"], ()),
    "no name": (["repository:A/../b:pull"], ()),
    "some that can be pulled": (
        ["repository:a/b:pull repository:evil.example/x:pull", "repository:c:pull"],
        ("a/b", "c"),
    ),
    "a registry in front": (["repository:ghcr.io/o/app:pull"], ("ghcr.io/o/app",)),
    "nothing": ([], ()),
}


@pytest.mark.parametrize(("scopes", "names"), GRANTED.values(), ids=GRANTED.keys())
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_intersection_of_what_is_asked_and_what_can_be_pulled_is_granted(
    method: str, scopes: list[str], names: tuple[str, ...]
) -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        pairs = urlencode([("scope", scope) for scope in scopes])
        if method == "GET":
            heard = await stage.ask("/token", query=pairs)
        else:
            heard = await stage.ask("/token", method="POST", body=f"grant_type=password&{pairs}".encode())
        assert heard.status == 200

    play(stage, scene())
    assert stage.sealer.grants["sealed-0"].names == names


def test_an_anonymous_grant_holds_for_its_name_on_whichever_upstream_ns_names() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        heard = await stage.ask("/token", query="scope=repository:o/app:pull")
        for namespace, base in (("docker.io", HUB), ("ghcr.io", GHCR)):
            stage.upstream.on("GET", base + blob("o/app"), ok(b"x"))
            answer = await stage.ask(blob("o/app"), bearer(heard), query=f"ns={namespace}")
            assert (answer.status, answer.header("oci-namespace")) == (200, namespace)

    play(stage, scene())


def test_a_grant_holds_for_no_other_name() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        heard = await stage.ask("/token", query="scope=repository:o/app:pull")
        refused = await stage.ask(blob("o/other"), bearer(heard))
        assert refused.status == 401
        assert 'error="insufficient_scope"' in (refused.header("www-authenticate") or "")
        assert 'scope="repository:o/other:pull"' in (refused.header("www-authenticate") or "")

    play(stage, scene())


# --- grants with credentials -----------------------------------------------------------------------------


def test_a_login_proves_the_credential_to_the_upstream_and_the_token_makes_private_images_pullable() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged())
        stage.upstream.on("GET", REALM, token("LOGIN"), token("PULL"))
        query = "account=alice&client_id=docker&offline_token=true"
        heard = await stage.ask("/token", ("authorization", ALICE), query=query)
        assert heard.status == 200
        assert (await stage.ask("/v2/", bearer(heard))).status == 200
        assert (await stage.ask(blob("alice/private"), bearer(heard))).status == 401
        heard = await stage.ask("/token", ("authorization", ALICE), query="scope=repository:alice/private:pull")
        stage.upstream.on("GET", HUB + blob("alice/private"), ok(b"x"))
        assert (await stage.ask(blob("alice/private"), bearer(heard))).status == 200

    play(stage, scene())
    assert stage.upstream.authorizations(REALM) == [ALICE, ALICE]
    assert stage.upstream.authorizations(HUB + blob("alice/private")) == ["Bearer PULL"]


def test_while_its_token_lives_a_login_is_proven_without_asking_and_another_password_is_not() -> None:
    stage = Stage(LOGIN)
    query = "scope=repository:alice/private:pull"
    other = basic("alice", "other")

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged())
        stage.upstream.on("GET", REALM, token("ONE"), FakeResponse(401), token("TWO"))
        for _ in range(3):
            assert (await stage.ask("/token", ("authorization", ALICE), query=query)).status == 200
        assert (await stage.ask("/token", ("authorization", other), query=query)).status == 401
        stage.clock.pass_s(300)
        assert (await stage.ask("/token", ("authorization", ALICE), query=query)).status == 200

    play(stage, scene())
    assert stage.upstream.authorizations(REALM) == [ALICE, other, ALICE]


def test_a_grant_with_credentials_holds_only_where_they_were_checked() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{GHCR}/v2/", challenged(GHCR_BEARER))
        stage.upstream.on("GET", f"{GHCR_TOKEN}&scope=repository%3Ao%2Fapp%3Apull&account=alice", token("GH"))
        heard = await stage.ask("/token", ("authorization", ALICE), query="scope=repository:ghcr.io/o/app:pull")
        assert heard.status == 200
        assert (await stage.ask(blob("o/app"), bearer(heard))).status == 401
        assert (await stage.ask(blob("o/app"), bearer(heard), query="ns=docker.io")).status == 401
        stage.upstream.on("GET", GHCR + blob("o/app"), ok(b"x"))
        assert (await stage.ask(blob("o/app"), bearer(heard), query="ns=ghcr.io")).status == 200

    play(stage, scene())
    assert stage.sealer.grants["sealed-0"].upstream == "ghcr.io"
    assert not any(url.startswith(HUB) for url in stage.upstream.urls())


def test_scopes_of_another_upstream_are_left_out_of_a_grant_with_credentials() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged())
        stage.upstream.on("GET", REALM, token())
        query = "scope=repository:a/b:pull&scope=repository:ghcr.io/o/app:pull&scope=repository:nginx:pull"
        await stage.ask("/token", ("authorization", ALICE), query=query)

    play(stage, scene())
    assert stage.sealer.grants["sealed-0"].names == ("a/b", "nginx")


WRONG_PASSWORD = [FakeResponse(401), FakeResponse(401, (("www-authenticate", GHCR_BEARER),))]


@pytest.mark.parametrize("answer", WRONG_PASSWORD, ids=["plain", "with a challenge"])
def test_a_wrong_password_is_401_with_our_challenge(answer: FakeResponse) -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged())
        stage.upstream.on("GET", REALM, FakeResponse(answer.status, answer.headers))
        heard = await stage.ask("/token", ("authorization", ALICE))
        assert heard.status == 401
        assert f'realm="https://{GATEWAY}/token"' in (heard.header("www-authenticate") or "")
        assert b"ghcr.io" not in (heard.data or b"")

    play(stage, scene())


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        (200, 200),
        (401, 401),
        *(pytest.param(status, ours) for status, ours in ((429, 429), (403, 403), (500, 502), (503, 503))),
    ],
)
def test_a_login_at_an_upstream_with_basic_stays_what_the_upstream_says(status: int, ours: int) -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on(
            "GET", f"{HUB}/v2/", challenged('Basic realm="x"'), FakeResponse(status, (("retry-after", "7"),))
        )
        heard = await stage.ask("/token", ("authorization", ALICE))
        assert heard.status == ours

    play(stage, scene())
    assert stage.upstream.authorizations(f"{HUB}/v2/") == [None, ALICE]


def test_a_login_at_an_unreachable_upstream_is_503() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", UpstreamFailure(Cause.DNS, "registry-1.docker.io"))
        assert (await stage.ask("/token", ("authorization", ALICE))).status == 503

    play(stage, scene())


def test_a_login_that_is_led_astray_is_502() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", FakeResponse(302, (("location", "https://10.0.0.1/"),)))
        assert (await stage.ask("/token", ("authorization", ALICE))).status == 502

    play(stage, scene())


def test_a_credential_that_was_never_shown_is_not_proven() -> None:
    stage = Stage(LOGIN)
    away = "https://login.docker.io/v2/"

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", FakeResponse(307, (("location", away),)))
        stage.upstream.on("GET", away, challenged('Bearer realm="https://login.docker.io/t"'), ok(b"{}"))
        stage.upstream.on("GET", "https://login.docker.io/t", token("ANON"))
        assert (await stage.ask("/token", ("authorization", ALICE))).status == 401

    play(stage, scene())
    assert stage.upstream.authorizations("https://login.docker.io/t") == [None]


def test_our_token_expires_no_later_than_the_kept_one_that_it_stands_for() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged(), challenged())
        stage.upstream.on("GET", REALM, token())
        await stage.ask("/token", ("authorization", ALICE))
        stage.clock.pass_s(200)
        await stage.ask("/token", ("authorization", ALICE))

    play(stage, scene())
    assert stage.sealer.grants["sealed-1"].expires_at <= stage.sealer.grants["sealed-0"].expires_at


@pytest.mark.parametrize("lifetime", [b"NaN", b'"nan"'])
def test_a_lifetime_that_is_no_number_at_login_is_an_answer(lifetime: bytes) -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged())
        stage.upstream.on("GET", REALM, FakeResponse(200, (), b'{"token": "T", "expires_in": ' + lifetime + b"}"))
        assert (await stage.ask("/token", ("authorization", ALICE))).status in (200, 502)

    play(stage, scene())


LOGIN_PLACES = [
    (GATEWAY, "", HUB),
    ("ghcr.example", "", GHCR),
    ("hub.example", "", HUB),
    ("127.0.0.1:5000", "ns=ghcr.io", GHCR),
]


@pytest.mark.parametrize(("host", "query", "base"), LOGIN_PLACES)
@pytest.mark.parametrize("path", ["/token", "/v2/"])
def test_a_login_without_scope_goes_to_the_upstream_that_host_or_ns_name(
    path: str, host: str, query: str, base: str
) -> None:
    stage = Stage({**HOSTS, "server": {"public_url": f"https://{GATEWAY}"}})

    async def scene() -> None:
        stage.upstream.on("GET", f"{base}/v2/", ok(b"{}"))
        assert (await stage.ask(path, ("authorization", ALICE), host=host, query=query)).status == 200

    play(stage, scene())


def test_a_hub_login_that_comes_along_for_another_registry_is_not_shown_there() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged())
        stage.upstream.on("GET", REALM, token())
        await stage.ask("/token", ("authorization", ALICE))
        heard = await stage.ask("/token", ("authorization", ALICE), query="scope=repository:ghcr.io/o/app:pull")
        assert heard.status == 200

    play(stage, scene())
    grant = stage.sealer.grants["sealed-1"]
    assert (grant.names, grant.upstream, grant.credential) == (("ghcr.io/o/app",), "", None)
    assert not any(url.startswith(GHCR) for url in stage.upstream.urls())


def test_a_credential_that_another_registry_refused_is_tried_at_home() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{GHCR}/v2/", FakeResponse(401))
        stage.upstream.on("GET", f"{HUB}/v2/", ok(b"{}"))
        heard = await stage.ask("/token", ("authorization", ALICE), query="scope=repository:ghcr.io/o/app:pull")
        assert heard.status == 200

    play(stage, scene())
    assert stage.sealer.grants["sealed-0"].credential is None


def test_a_credential_that_nobody_takes_is_401() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{GHCR}/v2/", FakeResponse(401))
        stage.upstream.on("GET", f"{HUB}/v2/", FakeResponse(401))
        heard = await stage.ask("/token", ("authorization", ALICE), query="scope=repository:ghcr.io/o/app:pull")
        assert heard.status == 401

    play(stage, scene())
    assert stage.sealer.grants == {}


@pytest.mark.parametrize("second", [200, 401])
def test_a_login_at_a_second_host_name_is_checked_there(second: int) -> None:
    stage = Stage(HOSTS)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", ok(b"{}"))
        assert (await stage.ask("/token", ("authorization", ALICE), host="hub.example")).status == 200
        stage.upstream.on("GET", f"{GHCR}/v2/", FakeResponse(second))
        heard = await stage.ask("/token", ("authorization", ALICE), host="ghcr.example")
        assert heard.status == second

    play(stage, scene())
    assert len(stage.sealer.grants) == (2 if second == 200 else 1)


def test_basic_credentials_on_a_pull_do_not_go_to_an_upstream_they_were_not_checked_at() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        heard = await stage.ask("/token", query="scope=repository:o/app:pull")
        assert heard.status == 200
        stage.upstream.on("GET", GHCR + blob("o/app"), challenged(GHCR_BEARER))
        for account in ("", "&account=alice"):
            stage.upstream.on("GET", f"{GHCR_TOKEN}&scope=repository%3Ao%2Fapp%3Apull{account}", FakeResponse(401))
        await stage.ask(blob("ghcr.io/o/app"), ("authorization", ALICE))

    with contextlib.suppress(AssertionError):  # one of the two token scripts is left over
        play(stage, scene())
    assert stage.upstream.authorizations("https://ghcr.io/token") in ([], [None])


# --- guesses ---------------------------------------------------------------------------------------------


def test_what_an_upstream_takes_unasked_is_a_guess_at_another_one() -> None:
    stage = Stage(LOGIN)
    statuses = []

    async def scene() -> None:
        stage.upstream.on("GET", f"{GHCR}/v2/", *(ok(b"{}") for _ in range(FREE + 3)))
        stage.upstream.on("GET", f"{HUB}/v2/", *(FakeResponse(401) for _ in range(FREE)))
        for number in range(FREE + 3):
            shown = ("authorization", basic("alice", f"guess{number}"))
            for scope in ("ghcr.io/o/app", "nginx"):
                heard = await stage.ask("/token", shown, query=f"scope=repository:{scope}:pull")
                statuses.append(heard.status)

    with contextlib.suppress(AssertionError):  # whether the open one is asked while guesses have to wait
        play(stage, scene())
    assert statuses[1::2] == [401] * FREE + [429] * 3
    assert len(stage.upstream.authorizations(f"{HUB}/v2/")) == FREE


def test_a_refusal_counts_also_where_home_takes_everybody() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{GHCR}/v2/", *(FakeResponse(401) for _ in range(FREE)))
        stage.upstream.on("GET", f"{HUB}/v2/", *(ok(b"{}") for _ in range(FREE)))
        for number in range(FREE + 1):
            shown = ("authorization", basic("bob", f"guess{number}"))
            heard = await stage.ask("/token", shown, query="scope=repository:ghcr.io/o/a:pull")
            assert heard.status == (200 if number < FREE else 429)

    play(stage, scene())


@pytest.mark.parametrize("status", [400, 403])
def test_a_wrong_password_on_a_pull_is_counted_however_it_is_refused(status: int) -> None:
    stage = Stage(HOSTS)

    async def scene() -> None:
        stage.upstream.on("GET", f"{GHCR}/v2/", *(FakeResponse(status) for _ in range(FREE)))
        stage.upstream.on("GET", f"{GHCR}{blob('o/app')}", *(FakeResponse(404) for _ in range(FREE)))
        for number in range(FREE + 1):
            shown = ("authorization", basic("alice", f"guess{number}"))
            heard = await stage.ask(blob("o/app"), shown, host="ghcr.example")
            assert heard.status == (404 if number < FREE else 429)

    play(stage, scene())


def test_a_login_that_nobody_checked_clears_no_guesses() -> None:
    """An upstream that is down says nothing of a password."""
    stage = Stage(LOGIN)

    async def scene() -> None:
        answers = [FakeResponse(401)] * (FREE - 1) + [FakeResponse(503)] + [FakeResponse(401)]
        stage.upstream.on("GET", f"{HUB}/v2/", *(FakeResponse(one.status) for one in answers))
        heard = []
        for number in range(FREE + 2):
            shown = ("authorization", basic("alice", f"guess{number}"))
            heard.append((await stage.ask("/token", shown, query="scope=repository:nginx:pull")).status)
        assert heard == [401] * (FREE - 1) + [200, 401, 429]

    play(stage, scene())


def test_a_login_that_came_with_an_open_upstream_first_is_shown_where_it_belongs() -> None:
    stage = Stage({**LOGIN, "upstreams": {"quay.io": {}}})

    async def scene() -> None:
        stage.upstream.on("GET", f"{GHCR}/v2/", ok(b"{}"))
        stage.upstream.on("GET", "https://quay.io/v2/", challenged('Basic realm="quay"'), ok(b"{}"))
        for scope in ("ghcr.io/o/app", "quay.io/o/app"):
            heard = await stage.ask("/token", ("authorization", ALICE), query=f"scope=repository:{scope}:pull")
            assert heard.status == 200

    play(stage, scene())
    assert stage.sealer.grants["sealed-1"].upstream == "quay.io"


# --- tokens that come back -------------------------------------------------------------------------------


def grant(**changes: object) -> Grant:
    values = {"names": ("nginx",), "service": GATEWAY, "expires_at": 1_700_000_300.0, **changes}
    return Grant(**values)  # type: ignore[arg-type]


REJECTED: dict[str, Grant] = {
    "expired": grant(expires_at=1_699_999_999.0),
    "expiring now": grant(expires_at=1_700_000_000.0),
    "of another service": grant(service="other.example"),
    "of another port": grant(service="gw.example:5001"),
    "of no service": grant(service=""),
}


@pytest.mark.parametrize("made", REJECTED.values(), ids=REJECTED.keys())
@pytest.mark.parametrize("path", ["/v2/", blob("nginx")])
@pytest.mark.parametrize("login", ["upstream", "open"])
def test_an_expired_or_foreign_token_is_401(login: str, path: str, made: Grant) -> None:
    stage = Stage({"access": {"login": login}})
    stage.sealer.grants["t"] = made

    async def scene() -> None:
        heard = await stage.ask(path, ("authorization", "Bearer t"))
        assert heard.status == 401
        assert 'error="invalid_token"' in (heard.header("www-authenticate") or "")

    play(stage, scene())


def test_the_challenge_of_an_expired_token_names_the_scope() -> None:
    stage = Stage(LOGIN)
    stage.sealer.grants["t"] = grant(expires_at=0.0)

    async def scene() -> None:
        heard = await stage.ask(blob("nginx"), ("authorization", "Bearer t"))
        assert 'scope="repository:nginx:pull"' in (heard.header("www-authenticate") or "")

    play(stage, scene())


OUTCOMES: dict[str, tuple[str, str]] = {
    "no credential": ("", "challenge"),
    "an empty name and password": (basic("", ""), "challenge"),
    "a token that is not ours": ("Bearer nonsense", "error"),
    "an expired token": ("Bearer expired", "error"),
    "credentials that cannot be read": ("Basic !", "error"),
}


@pytest.mark.parametrize("path", ["/v2/", blob("nginx")])
@pytest.mark.parametrize(("authorization", "outcome"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_only_whoever_shows_no_credential_is_merely_challenged(path: str, authorization: str, outcome: str) -> None:
    stage = Stage(LOGIN)
    stage.sealer.grants["expired"] = grant(expires_at=0.0)

    async def scene() -> None:
        headers = (("authorization", authorization),) if authorization else ()
        answer = await stage.gateway.handle(Request("GET", path, "", headers, "https", GATEWAY, "127.0.0.1"))
        assert answer is not None
        assert (answer.status, answer.record.outcome_name) == (401, outcome)
        assert bool(answer.record.problem) == (outcome == "error")
        assert get(answer.headers, "www-authenticate") is not None

    play(stage, scene())


def test_a_token_for_another_repository_is_more_than_a_challenge() -> None:
    stage = Stage(LOGIN)
    stage.sealer.grants["t"] = grant(names=("other",))

    async def scene() -> None:
        headers = (("authorization", "Bearer t"),)
        answer = await stage.gateway.handle(Request("GET", blob("nginx"), "", headers, "https", GATEWAY, "::1"))
        assert answer is not None
        assert (answer.status, answer.record.outcome_name) == (401, "error")
        assert 'error="insufficient_scope"' in (get(answer.headers, "www-authenticate") or "")

    play(stage, scene())


@pytest.mark.parametrize("value", ["Bearer nonsense", "bearer", "Bearer ", "BEARER x y"])
def test_a_token_that_is_not_ours_is_401_and_no_upstream_sees_it(value: str) -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        assert (await stage.ask(blob("nginx"), ("authorization", value))).status == 401

    play(stage, scene())


def test_two_users_never_share_a_token_of_an_upstream() -> None:
    stage = Stage(LOGIN)
    for name in ("alice", "bob"):
        stage.sealer.grants[name] = grant(upstream="docker.io", credential=Credential(name, "pw"))
    stage.sealer.grants["nobody"] = grant()

    async def scene() -> None:
        stage.upstream.on("GET", HUB + blob("library/nginx"), challenged(), *(ok(b"x") for _ in range(4)))
        stage.upstream.on("GET", REALM, token("A"), token("B"), token("N"))
        for name in ("alice", "bob", "nobody", "alice"):
            assert (await stage.ask(blob("nginx"), ("authorization", f"Bearer {name}"))).status == 200

    play(stage, scene())
    assert stage.upstream.authorizations(HUB) == [None, "Bearer A", "Bearer B", "Bearer N", "Bearer A"]


def test_our_own_token_never_reaches_an_upstream() -> None:
    stage = Stage(LOGIN)
    stage.sealer.grants["ours"] = grant()

    async def scene() -> None:
        stage.upstream.on("GET", HUB + blob("library/nginx"), ok(b"x"))
        await stage.ask(blob("nginx"), ("authorization", "Bearer ours"))

    play(stage, scene())
    assert stage.upstream.authorizations(HUB) == [None]


def test_an_unsupported_post_is_404_and_a_post_with_a_password_logs_in() -> None:
    stage = Stage(LOGIN)

    async def scene() -> None:
        heard = await stage.ask("/token", method="POST", body=b"grant_type=refresh_token&refresh_token=x")
        assert heard.status == 404
        stage.upstream.on("GET", f"{HUB}/v2/", ok(b"{}"))
        form = {"grant_type": "password", "username": "alice", "password": "pw", "scope": "repository:a/b:pull"}
        assert (await stage.ask("/token", method="POST", body=urlencode(form).encode())).status == 200

    play(stage, scene())
    assert stage.sealer.grants["sealed-0"].credential == Credential("alice", "pw")
    assert "pw" not in json.dumps(repr(stage.sealer.grants["sealed-0"]))
