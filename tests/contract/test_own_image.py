"""The image that only a gateway has, over both shells: nobody is asked for it, and the rules are about it too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hubferry.core.manifest import has_digest, parts_of
from tests.support.gateway import upstream
from tests.support.http import fetch

if TYPE_CHECKING:
    from tests.conftest import StartGateway
    from tests.support.hub import Hub

pytestmark = pytest.mark.shells


def config(hub: Hub, **access: Any) -> dict[str, Any]:
    docker = upstream(hub.url, default=True, library=True)
    other = upstream(hub.url)
    return {
        "access": {"login": "open", **access},
        "upstreams": {"only": True, "docker.io": docker, "ghcr.io": other},
    }


def test_it_is_pulled_without_an_upstream(hub: Hub, start_gateway: StartGateway) -> None:
    base = f"{start_gateway(config(hub)).url}/v2/hubferry/doctor"
    manifest = fetch(f"{base}/manifests/amd64-1?ns=docker.io")
    digest = manifest.header("docker-content-digest") or ""
    assert has_digest(manifest.body, digest)
    assert fetch(f"{base}/manifests/{digest}").body == manifest.body
    head = fetch(f"{base}/manifests/amd64-1", method="HEAD")
    assert (head.status, head.body, head.header("content-length")) == (200, b"", str(len(manifest.body)))
    for part in parts_of(manifest.body):
        assert has_digest(fetch(f"{base}/blobs/{part}").body, part)
    assert fetch(f"{base}/referrers/{digest}").json()["manifests"] == []
    assert hub.count() == 0


def test_what_it_does_not_have_is_asked_for(hub: Hub, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub))
    for path in ("hubferry/doctor/manifests/latest", "ghcr.io/hubferry/doctor/manifests/amd64-1"):
        before = hub.count("hub")
        assert fetch(f"{gateway.url}/v2/{path}").status >= 400
        assert hub.count("hub") > before


def test_the_rules_are_about_it(hub: Hub, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, allow=["docker.io/library/*"]))
    assert fetch(f"{gateway.url}/v2/hubferry/doctor/manifests/amd64-1").status == 403
