"""Whose right counts for a request, and the challenge when nobody's does: tables over a scripted login."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from hubferry.core.access import Credential, Grant
from hubferry.core.challenge import parse_challenges
from hubferry.core.errors import Code, OciError, TokenNeeded
from hubferry.core.http import Headers, get_all
from hubferry.core.redirect import Trust
from hubferry.core.routing import Endpoint, EndpointKind, Route
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.gateway.callers import Callers
from hubferry.gateway.request import RegistryRequest
from hubferry.remote.target import Upstream
from tests.gateway.fakes import GATEWAY, blob_request

ALICE = Credential("alice", "s3cret")
ACCOUNT = Credential("gateway", "own")
HUB_ROUTE = Route("docker.io", "library/nginx", "nginx")
GHCR_ROUTE = Route("ghcr.io", "a/b", "ghcr.io/a/b")
REFUSED = OciError(401, Code.UNAUTHORIZED, "log in again")


def grant(*names: str, upstream: str = "", credential: Credential | None = None) -> Grant:
    return Grant(names, GATEWAY, 0.0, upstream, credential)


class ScriptedLogin:
    """What was shown, and what becomes of a credential; notes what it is asked."""

    def __init__(self, shown: Grant | Credential | OciError | None, becomes: Credential | OciError | None) -> None:
        self._shown = shown
        self._becomes = becomes
        self.asked: list[str] = []

    async def identify(self, request: RegistryRequest) -> Grant | Credential | None:  # noqa: ARG002
        if isinstance(self._shown, OciError):
            raise self._shown
        return self._shown

    async def credential_for(
        self,
        credential: Credential,
        route: Route,
        request: RegistryRequest,  # noqa: ARG002
    ) -> Credential | None:
        assert credential == self._shown
        self.asked.append(f"for {route.upstream}")
        if isinstance(self._becomes, OciError):
            raise self._becomes
        return self._becomes

    async def check_at_api_root(self, credential: Credential, request: RegistryRequest) -> None:  # noqa: ARG002
        assert credential == self._shown
        self.asked.append("ping")
        if isinstance(self._becomes, OciError):
            raise self._becomes


class ScriptedPull:
    """Upstreams with or without an account, and whether repositories are open to everybody."""

    def __init__(self, account: Credential | None, *, is_open_to_all: bool) -> None:
        settings = resolve([SettingsSource("test", {"upstreams": {"only": True, "docker.io": {}, "ghcr.io": {}}})])
        accounts = () if account is None else (account,)
        self.upstreams: Mapping[str, Upstream] = {
            name: Upstream(name, up, Trust(), accounts) for name, up in settings.upstreams.items()
        }
        self._is_open_to_all = is_open_to_all
        self.asked: list[tuple[str, str]] = []

    async def is_open_to_all(self, upstream: str, repository: str) -> bool:
        self.asked.append((upstream, repository))
        return self._is_open_to_all


class Stage:
    def __init__(
        self,
        shown: Grant | Credential | OciError | None = None,
        *,
        becomes: Credential | OciError | None = None,
        is_open: bool = False,
        account: Credential | None = None,
        is_open_to_all: bool = False,
    ) -> None:
        self.login = ScriptedLogin(shown, becomes)
        self.pull = ScriptedPull(account, is_open_to_all=is_open_to_all)
        self.callers = Callers(cast("Any", self.login), cast("Any", self.pull), cast("Any", None), is_open=is_open)

    def credential(self, route: Route, kind: EndpointKind = EndpointKind.MANIFEST) -> Credential | None:
        return asyncio.run(self._credential(request_of(kind, route), route))

    async def _credential(self, request: RegistryRequest, route: Route) -> Credential | None:
        return await self.callers.credential(await self.callers.identify(request), request, route)

    def check_api_root(self) -> None:
        async def check() -> None:
            request = request_of(EndpointKind.API_ROOT)
            await self.callers.check_api_root(await self.callers.identify(request), request)

        asyncio.run(check())


def request_of(kind: EndpointKind, route: Route | None = None, *lines: tuple[str, str]) -> RegistryRequest:
    return replace(blob_request("1", *lines), endpoint=Endpoint(kind, "", "1"), route=route)


def challenge_of(headers: Headers) -> dict[str, str]:
    """The parameters of the one challenge that there is."""
    lines = get_all(headers, "www-authenticate")
    assert len(lines) == 1
    (challenge,) = parse_challenges(lines)
    assert challenge.scheme == "bearer"
    return dict(challenge.params)


BY_NAME = {"realm": f"https://{GATEWAY}/token", "service": GATEWAY}


# --- which credential is used upstream -------------------------------------------------------------------

USED: dict[str, tuple[Stage, Route, Credential | None]] = {
    "a grant to anybody: nobody's": (Stage(grant("nginx")), HUB_ROUTE, None),
    "a grant to anybody: the gateway's account": (Stage(grant("nginx"), account=ACCOUNT), HUB_ROUTE, ACCOUNT),
    "a grant to a login": (
        Stage(grant("nginx", upstream="docker.io", credential=ALICE), account=ACCOUNT), HUB_ROUTE, ALICE,
    ),
    "a grant under the name with library/": (Stage(grant("library/nginx")), HUB_ROUTE, None),
    "a grant with the registry in front": (Stage(grant("docker.io/nginx")), HUB_ROUTE, None),
    "a grant for several": (Stage(grant("redis", "nginx")), HUB_ROUTE, None),
    "a password that its upstream took": (Stage(ALICE, becomes=ALICE, account=ACCOUNT), HUB_ROUTE, ALICE),
    "a password of another upstream: the gateway's account": (
        Stage(ALICE, becomes=None, account=ACCOUNT), GHCR_ROUTE, ACCOUNT,
    ),
    "a password of another upstream: nobody's": (Stage(ALICE, becomes=None), GHCR_ROUTE, None),
    "open login: nothing was shown": (Stage(is_open=True), HUB_ROUTE, None),
    "open login: the gateway's account": (Stage(is_open=True, account=ACCOUNT), HUB_ROUTE, ACCOUNT),
    "open login: a grant to a login all the same": (
        Stage(grant("nginx", upstream="docker.io", credential=ALICE), is_open=True, account=ACCOUNT), HUB_ROUTE, ALICE,
    ),
    "open login: a grant for something else": (
        Stage(grant("redis"), is_open=True, account=ACCOUNT), HUB_ROUTE, ACCOUNT,
    ),
    "open login: a grant to a login elsewhere is not used": (
        Stage(grant("ghcr.io/a/b", upstream="docker.io", credential=ALICE), is_open=True), GHCR_ROUTE, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", [EndpointKind.MANIFEST, EndpointKind.BLOB])
@pytest.mark.parametrize(("stage", "route", "used"), USED.values(), ids=USED.keys())
def test_what_was_shown_says_which_credential_is_used_upstream(
    stage: Stage, route: Route, used: Credential | None, kind: EndpointKind
) -> None:
    assert stage.credential(route, kind) == used
    assert stage.pull.asked == [], "who may is not asked whether everybody may"


UNCOVERED: dict[str, tuple[Grant | None, Route]] = {
    "nothing": (None, HUB_ROUTE),
    "a grant for another repository": (grant("redis"), HUB_ROUTE),
    "a grant for none": (grant(), HUB_ROUTE),
    "a grant for the repository of a user of that name": (grant("nginx/nginx"), HUB_ROUTE),
    "a grant that another upstream's login is behind": (
        grant("ghcr.io/a/b", upstream="docker.io", credential=ALICE), GHCR_ROUTE,
    ),
    "a name that only Docker Hub completes": (grant("ghcr.io/b"), Route("ghcr.io", "library/b", "ghcr.io/library/b")),
}  # fmt: skip


@pytest.mark.parametrize("kind", [EndpointKind.MANIFEST, EndpointKind.TAGS, EndpointKind.REFERRERS, EndpointKind.BLOB])
@pytest.mark.parametrize(("shown", "route"), UNCOVERED.values(), ids=UNCOVERED.keys())
def test_who_shows_nothing_that_covers_it_is_challenged(shown: Grant | None, route: Route, kind: EndpointKind) -> None:
    with pytest.raises(OciError) as caught:
        Stage(shown, account=ACCOUNT).credential(route, kind)
    assert caught.value.status == 401
    # every pull begins with a challenge, which is no failure; one for more than a token opens is
    assert isinstance(caught.value, TokenNeeded) is (shown is None)
    assert route.named in caught.value.message
    error = {} if shown is None else {"error": "insufficient_scope"}
    assert challenge_of(caught.value.headers) == {**BY_NAME, "scope": f"repository:{route.named}:pull", **error}


OPEN_TO_ALL = [
    (EndpointKind.BLOB, None, True),
    (EndpointKind.MANIFEST, None, False),
    (EndpointKind.TAGS, None, False),
    (EndpointKind.REFERRERS, None, False),
    (EndpointKind.BLOB, grant("redis"), False),
]


@pytest.mark.parametrize(("kind", "shown", "may"), OPEN_TO_ALL)
@pytest.mark.parametrize("account", [None, ACCOUNT])
def test_without_any_token_blobs_of_what_is_open_to_everybody_are_given(
    kind: EndpointKind, shown: Grant | None, may: bool, account: Credential | None
) -> None:
    stage = Stage(shown, account=account, is_open_to_all=True)
    if may:
        assert stage.credential(HUB_ROUTE, kind) == account
        assert stage.pull.asked == [("docker.io", "library/nginx")]
        return
    with pytest.raises(OciError) as caught:
        stage.credential(HUB_ROUTE, kind)
    assert (caught.value.status, stage.pull.asked) == (401, [])


@pytest.mark.parametrize("is_open", [False, True])
def test_a_token_that_is_none_and_a_wrong_password_are_refused(is_open: bool) -> None:
    for stage in (Stage(REFUSED, is_open=is_open), Stage(ALICE, becomes=REFUSED, is_open=is_open)):
        with pytest.raises(OciError) as caught:
            stage.credential(HUB_ROUTE)
        assert caught.value is REFUSED


# --- the ping of a client --------------------------------------------------------------------------------

PINGS: dict[str, tuple[Stage, int | None, list[str]]] = {
    # name: -> status of the refusal, what the login is asked
    "nothing": (Stage(), 401, []),
    "nothing, with open login": (Stage(is_open=True), None, []),
    "a grant for anything": (Stage(grant()), None, []),
    "a password": (Stage(ALICE), None, ["ping"]),
    "a password, with open login": (Stage(ALICE, is_open=True), None, ["ping"]),
    "a wrong password": (Stage(ALICE, becomes=REFUSED), 401, ["ping"]),
    "a wrong password, with open login": (Stage(ALICE, becomes=REFUSED, is_open=True), 401, ["ping"]),
    "a token that is none": (Stage(REFUSED), 401, []),
}


@pytest.mark.parametrize(("stage", "status", "asked"), PINGS.values(), ids=PINGS.keys())
def test_what_comes_with_a_ping_is_checked(stage: Stage, status: int | None, asked: list[str]) -> None:
    if status is None:
        stage.check_api_root()
    else:
        with pytest.raises(OciError) as caught:
            stage.check_api_root()
        assert caught.value.status == status
        assert isinstance(caught.value, TokenNeeded) is (caught.value is not REFUSED)
    assert stage.login.asked == asked


# --- the challenge that is added to a 401 ----------------------------------------------------------------

INVALID = OciError(401, Code.UNAUTHORIZED, "it has expired", detail={"error": "invalid_token"})
NO_SCOPE = dict(BY_NAME)
PULL_SCOPE = {**BY_NAME, "scope": "repository:nginx:pull"}
ADDED: dict[str, tuple[OciError, Route | None, str, dict[str, str]]] = {
    # name: error, route, Authorization -> parameters of the challenge
    "no token was shown": (REFUSED, None, "", NO_SCOPE),
    "a password was shown": (REFUSED, None, "Basic eDp5", NO_SCOPE),
    "a token was shown": (REFUSED, None, "bearer x", {**NO_SCOPE, "error": "invalid_token"}),
    "a token was shown, in other letters": (REFUSED, None, "BEARER x", {**NO_SCOPE, "error": "invalid_token"}),
    "a token was needed": (TokenNeeded("a token is needed"), None, "", NO_SCOPE),
    "a token for a repository that is none": (INVALID, HUB_ROUTE, "bearer x", {**PULL_SCOPE, "error": "invalid_token"}),
    "the upstream refused": (REFUSED, HUB_ROUTE, "bearer x", {**PULL_SCOPE, "error": "insufficient_scope"}),
    "the upstream refused, and said why": (
        OciError(401, Code.UNAUTHORIZED, "", detail={"upstream": "docker.io", "status": 401}), HUB_ROUTE, "",
        {**PULL_SCOPE, "error": "insufficient_scope"},
    ),
    "the detail is no object": (
        OciError(401, Code.UNAUTHORIZED, "", detail="error"), HUB_ROUTE, "",
        {**PULL_SCOPE, "error": "insufficient_scope"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("error", "route", "authorization", "parameters"), ADDED.values(), ids=ADDED.keys())
def test_a_401_without_a_challenge_gets_the_gateways_own(
    error: OciError, route: Route | None, authorization: str, parameters: dict[str, str]
) -> None:
    lines = [("authorization", authorization)] if authorization else []
    request = request_of(EndpointKind.MANIFEST if route else EndpointKind.API_ROOT, route, *lines)
    challenged = Stage().callers.with_challenge(error, request)
    assert challenge_of(challenged.headers) == parameters
    assert (challenged.status, challenged.message, challenged.detail) == (401, error.message, error.detail)
    assert type(challenged) is type(error), "what is no failure stays none"
    assert error.headers == (), "everybody who waited for the same may share it"


KEPT = [
    OciError(403, Code.DENIED, ""),
    OciError(404, Code.UNKNOWN, ""),
    OciError(503, Code.UNAVAILABLE, ""),
    TokenNeeded("", headers=(("www-authenticate", 'Bearer realm="x"'),)),
]


@pytest.mark.parametrize("error", KEPT, ids=["403", "404", "503", "401 that has one"])
def test_any_other_error_stays_as_it_is(error: OciError) -> None:
    assert Stage().callers.with_challenge(error, request_of(EndpointKind.MANIFEST, HUB_ROUTE)) is error
