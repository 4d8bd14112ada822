"""The operator's rules, over both shells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import upstream
from tests.support.http import fetch
from tests.support.images import build_image

if TYPE_CHECKING:
    from tests.conftest import StartGateway
    from tests.support.hub import Hub

pytestmark = pytest.mark.shells


def config(hub: Hub, **access: Any) -> dict[str, Any]:
    docker = upstream(hub.url, default=True, library=True)
    return {"access": {"login": "open", **access}, "upstreams": {"only": True, "docker.io": docker}}


@pytest.mark.parametrize(
    "access",
    [
        {"deny": ["docker.io/evil/**"]},
        {"allow": ["docker.io/library/*"]},
        {"rules": [{"who": ["anyone"], "what": ["docker.io/evil/*"], "allow": False}]},
    ],
    ids=["a blocklist", "an allowlist", "a rule"],
)
def test_what_is_denied_is_not_asked_for(hub: Hub, start_gateway: StartGateway, access: dict[str, Any]) -> None:
    image = build_image("rules")
    for name in ("library/app", "evil/app"):
        hub.add(name, "1", image)
    gateway = start_gateway(config(hub, **access))
    assert fetch(f"{gateway.url}/v2/app/manifests/1").body == image.manifest
    for path in ("manifests/1", f"manifests/{image.digest}", f"blobs/{image.config.digest}", "tags/list"):
        answer = fetch(f"{gateway.url}/v2/evil/app/{path}")
        assert (answer.status, answer.error_code) == (403, "DENIED")
    assert hub.count(path="/evil/") == 0


def test_an_address_that_is_not_admitted_gets_nothing_but_a_health_check(hub: Hub, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, networks=["192.0.2.0/24"]))
    for path in ("/", "/v2/", "/v2/app/manifests/1", "/token", "/nothing"):
        assert fetch(gateway.url + path).status == 403, path
    assert fetch(f"{gateway.url}/healthz").status == 200
