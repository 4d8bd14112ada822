"""What the two scripts that hubferry grew from can do: one test for each line of their table.

Host names are spoken in the Host header only; the docker half of the first line is in tests/e2e.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import faults
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_index
from tests.support.registry_client import ACCEPT_MANIFESTS, RegistryClient, basic, parse_bearer

if TYPE_CHECKING:
    from tests.conftest import StartGateway
    from tests.support.http import Answer

pytestmark = pytest.mark.shells

HUB_HOST = "hub.example.com"
GHCR_HOST = "ghcr.example.com"
ORIGIN = "https://ui.example.com"


@pytest.fixture
def ghcr() -> Hub:
    """A second upstream, for the host table; closed by `gateway`."""
    return Hub()


@pytest.fixture
def gateway(hub: Hub, start_gateway: StartGateway) -> Gateway:
    return start_gateway(table(hub))


def table(hub: Hub, **server: Any) -> dict[str, Any]:
    docker = upstream(hub.url, default=True, library=True, hosts=[HUB_HOST])
    # the scripts fetch nothing but what is asked for, and requests are counted here
    return {"server": server, "cache": {"complete": False}, "upstreams": {"only": True, "docker.io": docker}}


def preflight(gateway: Gateway) -> Answer:
    wanted = [("Origin", ORIGIN), ("Access-Control-Request-Method", "GET")]
    return fetch(gateway.url + "/v2/", "OPTIONS", wanted, host=HUB_HOST)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("library/nginx", "library/nginx"),
        ("gitlab/gitlab-ce", "gitlab/gitlab-ce"),
        ("nginx", "library/nginx"),
    ],
)
def test_pull_of_official_and_other_images(hub: Hub, gateway: Gateway, written: str, meant: str) -> None:
    digest = hub.add(meant, "latest", build_index(meant))
    assert RegistryClient(gateway.url, host=HUB_HOST).pull(written, "latest") == digest


def test_authorization_of_a_logged_in_user_reaches_the_upstream(hub: Hub, gateway: Gateway) -> None:
    hub.state.users["alice"] = "secret"
    digest = hub.add("alice/app", "1", build_index("private"), readers={"alice"})
    alice = RegistryClient(gateway.url, host=HUB_HOST, credentials=("alice", "secret"))
    assert alice.pull("alice/app", "1") == digest
    name, value = basic("alice", "secret")
    assert value in {exchange.request.header(name) for exchange in hub.find("auth")}
    assert RegistryClient(gateway.url, host=HUB_HOST).manifest("alice/app", "1").status == 401


def test_blob_redirects_to_the_cdn_are_followed_on_the_server(hub: Hub, gateway: Gateway) -> None:
    index = build_index("nginx")
    hub.add("library/nginx", "1", index)
    layer = index.images[0].layers[0]
    client = RegistryClient(gateway.url, host=HUB_HOST)
    answer = client.blob("library/nginx", layer.digest)
    assert (answer.status, answer.header("Location"), answer.body) == (200, None, layer.data)
    assert hub.count("cdn") == 1
    cdn_port = hub.cdn_url.rpartition(":")[2]
    assert not any(cdn_port in value for _, value in answer.headers), "the client never sees the CDN"


def test_token_endpoint_and_a_challenge_that_names_the_gateway(hub: Hub, gateway: Gateway) -> None:
    hub.add("library/nginx", "1", build_index("nginx"))
    refused = fetch(gateway.url + "/v2/library/nginx/manifests/1", host=HUB_HOST)
    assert refused.status == 401
    challenge = parse_bearer(refused.header("WWW-Authenticate") or "")
    assert re.match(rf"http://{re.escape(HUB_HOST)}/", challenge["realm"])
    auth_port = hub.realm.rpartition(":")[2]
    assert not any(auth_port in value for _, value in refused.headers)
    client = RegistryClient(gateway.url, host=HUB_HOST)
    issued = client.token("/token", challenge["service"], "repository:library/nginx:pull")
    assert issued.status == 200
    assert issued.json()["expires_in"] >= 60
    bearer = ("Authorization", f"Bearer {issued.json()['token']}")
    manifest = fetch(gateway.url + "/v2/library/nginx/manifests/1", headers=[bearer, ACCEPT_MANIFESTS], host=HUB_HOST)
    assert manifest.status == 200


def test_cors_for_the_configured_origins(hub: Hub, start_gateway: StartGateway) -> None:
    gateway = start_gateway(table(hub, cors_origins=[ORIGIN]))
    allowed = preflight(gateway)
    assert (allowed.status, allowed.header("Access-Control-Allow-Origin")) == (204, ORIGIN)
    assert "GET" in (allowed.header("Access-Control-Allow-Methods") or "")
    answer = fetch(gateway.url + "/v2/", headers=[("Origin", ORIGIN)], host=HUB_HOST)
    assert answer.header("Access-Control-Allow-Origin") == ORIGIN
    stranger = fetch(gateway.url + "/v2/", headers=[("Origin", "https://evil.example")], host=HUB_HOST)
    assert stranger.header("Access-Control-Allow-Origin") is None


def test_no_cors_by_default(gateway: Gateway) -> None:
    assert preflight(gateway).header("Access-Control-Allow-Origin") is None
    answer = fetch(gateway.url + "/v2/", headers=[("Origin", ORIGIN)], host=HUB_HOST)
    assert answer.header("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize(
    "fault",
    [faults.redirect_loop(), faults.other_bytes(b"{}"), faults.redirect("http://[::bad/")],
    ids=["redirect loop", "other bytes than the digest", "unusable redirect"],
)
def test_an_internal_failure_is_a_502_and_no_stack_trace(hub: Hub, gateway: Gateway, fault: faults.Action) -> None:
    hub.add("library/nginx", "1", build_index("nginx"))
    hub.script(fault, role="hub", path="/manifests/", times=None)
    answer = RegistryClient(gateway.url, host=HUB_HOST).manifest("library/nginx", "1")
    assert answer.status == 502
    assert answer.header("Content-Type") == "application/json"
    assert answer.error_code
    assert b"Traceback" not in answer.body
    assert b".py" not in answer.body


def test_host_table(hub: Hub, ghcr: Hub, start_gateway: StartGateway) -> None:
    with ghcr:
        config = table(hub)
        config["upstreams"]["ghcr.io"] = upstream(ghcr.url, hosts=[GHCR_HOST])
        gateway = start_gateway(config)
        for stand_in, host in ((hub, HUB_HOST), (ghcr, GHCR_HOST)):
            digest = stand_in.add("team/app", "1", build_index(host))
            assert RegistryClient(gateway.url, host=host).pull("team/app", "1") == digest
        before = hub.count() + ghcr.count()
        unknown = fetch(gateway.url + "/v2/team/app/manifests/1", host="unknown.example.com")
        assert unknown.status == 404
        assert unknown.header("Content-Type") == "application/json"
        assert {HUB_HOST, GHCR_HOST} <= set(re.findall(r"[\w.]+", unknown.body.decode()))
        assert hub.count() + ghcr.count() == before, "no upstream was asked"
        # Kept connections end before the stand-in does.
        gateway.stop()


def test_challenge_of_v2_and_v2_auth_with_the_scope_completed(hub: Hub, gateway: Gateway) -> None:
    hub.add("library/nginx", "1", build_index("nginx"))
    base = fetch(gateway.url + "/v2/", host=HUB_HOST)
    assert base.status == 401
    challenge = parse_bearer(base.header("WWW-Authenticate") or "")
    client = RegistryClient(gateway.url, host=HUB_HOST)
    issued = client.token("/v2/auth", challenge["service"], "repository:nginx:pull")
    assert issued.status == 200
    bearer = ("Authorization", f"Bearer {issued.json()['token']}")
    for written in ("nginx", "library/nginx"):
        path = f"/v2/{written}/manifests/1"
        answer = fetch(gateway.url + path, headers=[bearer, ACCEPT_MANIFESTS], host=HUB_HOST)
        assert answer.status == 200, written
    scopes = {exchange.request.first("scope") for exchange in hub.find("auth")}
    assert scopes == {"repository:library/nginx:pull"}


def test_the_front_page_shows_both_ways_with_the_visitors_host_name(gateway: Gateway) -> None:
    page = fetch(gateway.url + "/", host=HUB_HOST)
    assert page.status == 200
    assert (page.header("Content-Type") or "").startswith("text/html")
    text = page.body.decode()
    assert f"docker pull {HUB_HOST}/" in re.sub(r"<[^>]*>", "", text), "the gateway in the reference"
    assert "registry-mirrors" in text, "and as docker's mirror"
    assert HUB_HOST in text.partition("registry-mirrors")[2]


def test_the_front_page_escapes_the_host_name(gateway: Gateway) -> None:
    page = fetch(gateway.url + "/", host='x"><script>alert(1)</script>')
    assert b"<script>alert" not in page.body
