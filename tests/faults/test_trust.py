"""Realms, redirects and credentials: who is asked, who is told what, and what the log knows.

On both shells, but for what only one of them has: a proxy, a text log.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.conftest import REPOSITORY, Stage, config
from tests.support import faults
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_image, build_index
from tests.support.proxy import ConnectProxy
from tests.support.registry_client import basic
from tests.support.sink import Sink
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import Deploy, StartGateway
    from tests.support.worker import Deployment

SECRET = "canary-Zp7-never-to-be-seen"


@pytest.mark.shells
@pytest.mark.parametrize(
    "realm",
    [
        "http://{sink}/token",  # another host than the upstream's: localhost is not 127.0.0.1
        "https://evil.example/token",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:127.0.0.1]:{port}/token",
        "http://user:pass@127.0.0.1/token",
        "file:///etc/passwd",
        "//evil.example/token",
    ],
)
def test_a_realm_elsewhere_is_not_asked_and_gets_no_credentials(stage: Stage, realm: str) -> None:
    with Sink(host="127.0.0.2") as sink:
        named = realm.format(sink=f"127.0.0.2:{sink.port}", port=sink.port)
        hostile = faults.challenge(f'Bearer realm="{named}",service="x",scope="repository:x:push"')
        stage.hub.script(hostile, role="hub", times=None)
        answer = fetch(stage.manifest_url, headers=[basic("me", SECRET)])
        assert answer.status == 502
        assert "realm" in answer.json()["errors"][0]["message"]
        assert not sink.connections


@pytest.mark.shells
def test_the_upstream_is_asked_for_pull_on_the_one_repository_whatever_it_demands(stage: Stage) -> None:
    scope = "repository:other/secret:push,pull repository:*:*"
    greedy = f'Bearer realm="{stage.hub.realm}",service="registry.docker.io",scope="{scope}"'
    stage.hub.script(faults.challenge(greedy), role="hub")
    assert fetch(stage.manifest_url).body == stage.image.manifest
    asked = [exchange.request.target for exchange in stage.hub.find("auth")]
    assert all("scope=repository%3Alibrary%2Fapp%3Apull" in target for target in asked)
    assert not any("secret" in target or "push" in target for target in asked)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://localhost/",
        "http://metadata.internal/",
        "ftp://cdn.example/blob",
        "http://user:pass@cdn.example/blob",
        "https://",
    ],
)
def test_a_redirect_inside_is_refused_unless_the_operator_allows_private_addresses(
    tmp_path: Path, hub: Hub, location: str
) -> None:
    """The upstream is on loopback: it is reached through a proxy, which the policy does not see through.

    Not on the Worker, which has no proxy; tests/core/test_redirect.py has the same list for the decision itself.
    """
    hub.script(faults.redirect(location), role="hub", times=None)
    with ConnectProxy(int(hub.host.rpartition(":")[2])) as proxy:
        settings = {
            "upstreams": {
                "only": True,
                "docker.io": {
                    "url": "http://registry.example.test",
                    "default": True,
                    "library": True,
                    "proxy": proxy.url,
                },
            },
            "cache": {"dir": str(tmp_path / "data")},
            "access": {"login": "open"},
        }
        with Gateway.start(tmp_path / "gateway", settings) as gateway:
            answer = fetch(f"{gateway.url}/v2/app/blobs/sha256:{'a' * 64}")
        assert answer.status == 502
        assert "redirect" in answer.json()["errors"][0]["message"]
        assert proxy.asked == ["registry.example.test:80"]


@pytest.mark.shells
def test_redirects_are_followed_five_times_and_not_for_ever(stage: Stage) -> None:
    stage.hub.script(faults.redirect_loop(), role="cdn", times=None)
    answer = fetch(stage.big_url)
    assert answer.status == 502
    assert len(stage.hub.find("cdn")) == 5


@pytest.mark.shells
def test_a_relative_redirect_is_followed_and_keeps_the_authorization(stage: Stage) -> None:
    target = f"/v2/{REPOSITORY}/blobs/{stage.big.digest}?again"
    stage.hub.script(faults.redirect(target), role="hub", path=stage.big.digest)
    assert fetch(stage.big_url).body == stage.big.data
    assert any("again" in exchange.request.target for exchange in stage.hub.find("hub"))


@pytest.mark.shells
def test_authorization_never_reaches_another_origin(stage: Stage) -> None:
    with Sink(status=200, body=b"x") as sink:
        stage.hub.script(faults.redirect(f"{sink.url}/blob"), role="hub", path="blobs", times=None)
        headers = [basic("me", SECRET), ("Cookie", SECRET), ("X-Secret", SECRET)]
        stage.hub.state.users["me"] = SECRET
        fetch(stage.big_url, headers=headers)
        assert sink.requests
        assert not sink.heard(SECRET)
        assert all(request.header("authorization") is None for request in sink.requests)


@pytest.mark.shells
def test_a_clients_own_headers_do_not_reach_the_upstream(stage: Stage) -> None:
    headers = [
        ("X-Forwarded-Host", "evil"),
        ("Cookie", "a=b"),
        ("User-Agent", "evil"),
        ("Accept-Encoding", "gzip"),
    ]
    assert fetch(stage.manifest_url, headers=headers).status == 200
    for exchange in stage.hub.find():
        request = exchange.request
        assert b"evil" not in request.raw_head
        assert b"a=b" not in request.raw_head
        assert request.header("accept-encoding") == "identity"


@pytest.mark.shells
def test_credentials_of_one_upstream_are_not_shown_to_another(tmp_path: Path, start_gateway: StartGateway) -> None:
    with Hub() as first, Hub() as second:
        first.state.users["me"] = SECRET
        first.add("library/app", "latest", build_image("first"), readers={"me"})
        second.add("library/app", "latest", build_image("second"))
        settings = config(tmp_path, first, login="upstream")
        settings["upstreams"]["ghcr.io"] = upstream(second.url)
        with start_gateway(settings) as gateway:
            scope = f"{gateway.url}/token?service={gateway.host}&scope=repository:app:pull"
            token = fetch(scope, headers=[basic("me", SECRET)]).json()["token"]
            bearer = [("Authorization", f"Bearer {token}")]
            assert fetch(f"{gateway.url}/v2/app/manifests/latest", headers=bearer).status == 200
            elsewhere = fetch(f"{gateway.url}/v2/library/app/manifests/latest?ns=ghcr.io", headers=bearer)
            assert elsewhere.status == 401
        assert not second.find()


@pytest.mark.shells
@pytest.mark.parametrize("log_level", ["debug", "info", "warning"])
def test_what_every_pull_begins_with_is_a_challenge_and_no_error(
    tmp_path: Path, hub: Hub, start_gateway: StartGateway, log_level: str
) -> None:
    hub.add(REPOSITORY, "latest", build_index("challenged"))
    hub.state.users["me"] = SECRET
    settings = config(tmp_path, hub, login="upstream")
    settings["server"] = {"log_level": log_level}
    gateway = start_gateway(settings)
    tag = f"{gateway.url}/v2/app/manifests/latest"
    for url in (f"{gateway.url}/v2/", tag):
        assert fetch(url).status == 401
    assert fetch(tag, headers=[("Authorization", "Bearer made-up")]).status == 401
    assert fetch(f"{gateway.url}/v2/", headers=[basic("me", "wrong")]).status == 401
    token = fetch(f"{gateway.url}/token?scope=repository:app:pull").json()["token"]
    hub.script(faults.answer(500), role="hub", times=None)
    assert fetch(tag, headers=[("Authorization", f"Bearer {token}")]).status == 502
    expected = [
        ("debug", 401, "challenge"),
        ("debug", 401, "challenge"),
        ("info", 401, "error"),
        ("info", 401, "error"),
        ("info", 200, "local"),
        ("warning", 502, "error"),
    ]
    levels = ["debug", "info", "warning"]
    wanted = [line for line in expected if levels.index(line[0]) >= levels.index(log_level)]

    def lines() -> list[tuple[str, int, str]]:
        found = [r for r in gateway.log_records() if r["event"] == "request" and r["path"] != "/healthz"]
        assert all(("problem" in record) == (record["outcome"] == "error") for record in found)
        return [(record["level"], record["status"], record["outcome"]) for record in found]

    wait_until(lambda: expected[-1] in lines(), "that the last one is logged")
    assert lines() == wanted
    hub.clear()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_secret_is_in_the_log(tmp_path: Path, hub: Hub, start_gateway: StartGateway, log_format: str) -> None:
    password = tmp_path / "password"
    password.write_text(SECRET)
    settings = config(tmp_path, hub, login="upstream", username="me", password_file=str(password))
    settings["server"] = {"log_format": log_format}
    with start_gateway(settings) as gateway:
        check_that_no_secret_is_logged(hub, gateway)


def test_no_secret_is_in_the_log_of_the_worker(tmp_path: Path, hub: Hub, deploy: Deploy) -> None:
    """It has one format, and no files."""
    settings = config(tmp_path, hub, login="upstream", username="me", password=SECRET)
    with deploy(settings) as worker:
        check_that_no_secret_is_logged(hub, worker)


def check_that_no_secret_is_logged(hub: Hub, gateway: Gateway | Deployment) -> None:
    hub.state.users["me"] = SECRET
    hub.add(REPOSITORY, "latest", build_image("secret"), readers={"me"})
    token_url = f"{gateway.url}/token?scope=repository:app:pull&account=me"
    token = fetch(token_url, headers=[basic("me", SECRET)]).json()["token"]
    bearer = ("Authorization", f"Bearer {token}")
    url = f"{gateway.url}/v2/app/manifests/latest?password={SECRET}"
    fetch(url, headers=[bearer, ("Cookie", SECRET)])
    fetch(f"{gateway.url}/token?scope={SECRET}", headers=[basic("me", "wrong" + SECRET)])
    form = f"grant_type=password&username=me&password={SECRET}".encode()
    fetch(f"{gateway.url}/token", "POST", body=form)
    hub.script(faults.answer(500), role="hub", times=None)
    fetch(url, headers=[bearer])
    hub.script(faults.hang_up(), role="auth", times=None)
    fetch(f"{gateway.url}/v2/?password={SECRET}", headers=[basic("other", SECRET)])
    wait_until(lambda: re.search(r"""/v2/["\s]""", gateway.output()) is not None, "the last request is logged")
    log = gateway.output()
    hub.clear()
    assert "request" in log
    encoded = base64.b64encode(f"me:{SECRET}".encode()).decode()
    for secret in (SECRET, encoded, token):
        assert secret not in log
