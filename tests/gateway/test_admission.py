"""The operator's rules at every endpoint: what they deny causes no question to an upstream."""

import json
from typing import Any

import pytest

from tests.gateway.fakes import HUB, FakeResponse, Stage, basic, challenged, ok, play, token
from tests.gateway.fakes import REALM as HUB_REALM

DIGEST = "sha256:" + "a" * 64
SEARCH = "https://index.docker.io/v1/search"
OPEN = {"login": "open"}


def stage_of(**access: Any) -> Stage:
    return Stage({"access": {**OPEN, **access}})


DENIED = [
    ("HEAD", "/v2/evil/app/manifests/1", ""),
    ("GET", "/v2/evil/app/manifests/1", ""),
    ("GET", f"/v2/evil/app/manifests/{DIGEST}", ""),
    ("GET", f"/v2/evil/app/blobs/{DIGEST}", ""),
    ("HEAD", f"/v2/evil/app/blobs/{DIGEST}", ""),
    ("GET", "/v2/evil/app/tags/list", ""),
    ("GET", f"/v2/evil/app/referrers/{DIGEST}", ""),
    ("GET", "/v2/evil/app/manifests/1", "ns=docker.io"),
    ("GET", "/v2/docker.io/evil/app/manifests/1", ""),
    ("GET", "/v2/index.docker.io/evil/app/manifests/1", ""),
]


@pytest.mark.parametrize(("method", "path", "query"), DENIED)
@pytest.mark.parametrize("login", ["open", "upstream"])
def test_a_denied_image_is_denied_at_every_endpoint(login: str, method: str, path: str, query: str) -> None:
    stage = stage_of(deny=["docker.io/evil/**"], login=login)

    async def scene() -> None:
        heard = await stage.ask(path, method=method, query=query)
        assert heard.status == 403
        if method == "GET":
            error = json.loads(heard.data or b"")["errors"][0]
            assert (error["code"], error["detail"]) == ("DENIED", {"rule": "access.deny"})
            assert "evil/app" in error["message"]
            assert "may not be pulled" in error["message"]

    play(stage, scene())
    assert stage.upstream.urls() == []


def test_the_operators_own_words_are_said() -> None:
    stage = stage_of(rules=[{"what": ["ghcr.io/**"], "allow": False, "message": "ask for it: it@example.com"}])

    async def scene() -> None:
        heard = await stage.ask("/v2/ghcr.io/o/app/manifests/1")
        assert heard.status == 403
        assert json.loads(heard.data or b"")["errors"][0]["message"] == "ask for it: it@example.com"

    play(stage, scene())


def test_what_is_allowed_goes_on() -> None:
    stage = stage_of(allow=["docker.io/library/*"])

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/library/nginx/blobs/{DIGEST}", ok(b"blob"))
        assert (await stage.ask(f"/v2/nginx/blobs/{DIGEST}")).data == b"blob"
        assert (await stage.ask(f"/v2/user/app/blobs/{DIGEST}")).status == 403

    play(stage, scene())


def test_a_token_names_only_what_may_be_pulled_and_no_login_is_shown_to_a_denied_upstream() -> None:
    stage = Stage({"access": {"login": "upstream", "deny": ["ghcr.io/**"]}})

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/", challenged())
        stage.upstream.on("GET", HUB_REALM, token())
        query = "scope=repository:ghcr.io/o/app:pull&scope=repository:nginx:pull"
        heard = await stage.ask("/token", ("authorization", basic("alice", "pw")), query=query)
        assert heard.status == 200

    play(stage, scene())
    assert stage.sealer.grants["sealed-0"].names == ("nginx",)
    assert not any("ghcr.io" in url for url in stage.upstream.urls())


def test_a_list_has_the_tags_that_may_be_pulled() -> None:
    stage = stage_of(deny=["*/**:latest"])

    async def scene() -> None:
        tags = FakeResponse(200, (("content-type", "application/json"),), b'{"name":"a","tags":["1","2","latest"]}')
        stage.upstream.on("GET", f"{HUB}/v2/o/app/tags/list", tags)
        heard = await stage.ask("/v2/o/app/tags/list")
        assert heard.json == {"name": "o/app", "tags": ["1", "2"]}

    play(stage, scene())


FOUND = {"num_results": 3, "results": [{"name": "nginx"}, {"name": "evil/app"}, {"name": "o/app", "star_count": 1}]}


def test_a_search_finds_what_may_be_pulled() -> None:
    stage = stage_of(deny=["docker.io/evil/**", "docker.io/library/nginx"])

    async def scene() -> None:
        stage.upstream.on("GET", f"{SEARCH}?q=a", ok(json.dumps(FOUND).encode()))
        heard = await stage.ask("/v1/search", query="q=a")
        assert heard.json == {"num_results": 3, "results": [{"name": "o/app", "star_count": 1}]}

    play(stage, scene())


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"results": 5}', b"[" * 100_000])
def test_a_search_result_that_cannot_be_filtered_is_not_given(content: bytes) -> None:
    stage = stage_of(deny=["docker.io/evil/**"])

    async def scene() -> None:
        stage.upstream.on("GET", f"{SEARCH}?q=a", ok(content))
        assert (await stage.ask("/v1/search", query="q=a")).status == 502

    play(stage, scene())


@pytest.mark.parametrize("path", ["/", "/v2/", "/token", "/v1/search", "/v2/nginx/manifests/1", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_an_address_that_is_not_admitted_gets_nothing(method: str, path: str) -> None:
    stage = Stage({"access": {"networks": ["10.0.0.0/8"]}})

    async def scene() -> None:
        heard = await stage.ask(path, method=method)
        assert heard.status == 403
        assert b"127.0.0.1 may not use this gateway" in (heard.data or b"")

    play(stage, scene())


@pytest.mark.parametrize("path", ["/healthz", "/robots.txt", "/metrics"])
def test_whoever_watches_the_gateway_is_no_client(path: str) -> None:
    stage = Stage({"access": {"networks": ["10.0.0.0/8"]}})

    async def scene() -> None:
        with pytest.raises(AssertionError, match="not a path of the registry protocol"):
            await stage.ask(path)

    play(stage, scene())
