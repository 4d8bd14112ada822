"""Outbound proxies: names are theirs to resolve, credentials arrive, and what they refuse is said."""

import base64
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.images import build_image
from tests.support.proxy import ConnectProxy
from tests.support.registry import Registry
from tests.support.socks import SocksProxy

NAME = "registry.blocked.test"  # nobody here can resolve it


def through(state: Path, proxy: str) -> Gateway:
    settings: dict[str, Any] = {"url": f"http://{NAME}", "default": True, "library": True, "proxy": proxy}
    config = {
        "upstreams": {"only": True, "docker.io": settings},
        "cache": {"dir": str(state / "data")},
        "access": {"login": "open"},
    }
    return Gateway.start(state / "gateway", config)


@pytest.fixture
def manifest(registry: Registry) -> bytes:
    image = build_image("proxied")
    registry.push("library/app", "latest", image)
    return image.manifest


def test_an_http_proxy_gets_the_name_and_the_credentials(tmp_path: Path, registry: Registry, manifest: bytes) -> None:
    with ConnectProxy(registry.port) as proxy:
        url = proxy.url.replace("//", "//me:p%40ss@")
        with through(tmp_path, url) as gateway:
            assert fetch(f"{gateway.url}/v2/app/manifests/latest").body == manifest
            assert "p%40ss" not in gateway.output()
        assert set(proxy.asked) == {f"{NAME}:80"}
        assert set(proxy.authorizations) == {"Basic " + base64.b64encode(b"me:p@ss").decode()}


def test_a_socks_proxy_gets_the_name_and_the_credentials(tmp_path: Path, registry: Registry, manifest: bytes) -> None:
    with SocksProxy(registry.port, ("me", "p@ss")) as proxy:
        with through(tmp_path, proxy.url.replace("//", "//me:p%40ss@")) as gateway:
            assert fetch(f"{gateway.url}/v2/app/manifests/latest").body == manifest
        assert set(proxy.asked) == {f"{NAME}:80"}


def test_a_proxy_that_refuses_is_named_as_the_cause(tmp_path: Path, registry: Registry) -> None:
    with SocksProxy(registry.port, ("me", "right")) as proxy:
        with through(tmp_path, proxy.url.replace("//", "//me:wrong@")) as gateway:
            answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
        assert answer.status == 503
        assert answer.json()["errors"][0]["detail"]["cause"] == "proxy"
        assert "wrong" not in answer.body.decode()


def test_a_proxy_that_is_not_there_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with through(tmp_path, f"socks5://127.0.0.1:{port}") as gateway:
        answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
    assert answer.status == 503
    assert answer.json()["errors"][0]["detail"]["cause"] in ("proxy", "tcp")
