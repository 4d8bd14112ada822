"""`hubferry doctor --gateway`: a healthy gateway, and what is wrong on the way to one."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.doctor.command import examine, fake_names
from tests.support import faults
from tests.support.gateway import upstream
from tests.support.hub import Hub
from tests.support.processes import free_port
from tests.support.raw_server import RawServer
from tests.support.reverse_proxies import nginx
from tests.support.users import UserBook

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.conftest import StartGateway
    from tests.support.gateway import Gateway
    from tests.support.images import Index
    from tests.support.tls import Authority

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
CHECKS = ["names", "connection", "health", "registry", "realm", "pull", "clock"]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No client is on this machine, and nobody is logged in."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


def config(url: str, **more: Any) -> dict[str, Any]:
    return {"upstreams": {"only": True, "docker.io": upstream(url, default=True, library=True)}, **more}


@pytest.fixture
def gateway(filled: Hub, start_gateway: StartGateway, alone: None) -> Gateway:
    return start_gateway(config(filled.url))


def test_a_healthy_gateway(gateway: Gateway) -> None:
    report = examine("--gateway", gateway.url + "/")
    assert list(report.checks) == [*CHECKS, "clients"]
    assert report.bad() == []
    assert {name: report.mark(name) for name in CHECKS} == dict.fromkeys(CHECKS, "ok"), report.checks
    assert "manifest, config and first layer of docker.io/library/hello-world:latest" in report.text("pull")


def test_another_image_is_named(filled: Hub, gateway: Gateway, image: Index) -> None:
    filled.add("team/app", "1", image)
    assert "docker.io/team/app:1 came" in examine("--gateway", gateway.url, "--image", "team/app:1").text("pull")
    report = examine("--gateway", gateway.url, "--image", "reg.test/app:1")
    assert report.bad() == ["pull"]
    assert "docs/errors.md" in report.text("pull")


def test_nobody_there(dead: str, alone: None) -> None:
    report = examine("--gateway", f"http://{dead}")
    assert report.bad() == ["connection"]
    assert "listen in [server]" in report.text("connection")


def test_a_name_that_is_none(alone: None) -> None:
    assert examine("--gateway", "https://hub.invalid").bad() == ["names"]


def test_a_name_that_leads_through_a_proxy_program(monkeypatch: pytest.MonkeyPatch, alone: None) -> None:
    fake_names(monkeypatch, {"hub.test": "198.18.0.1"})
    monkeypatch.setattr("hubferry.transport.connect.dial", _refuse)
    report = examine("--gateway", "https://hub.test")
    assert report.bad() == ["names", "connection"]


async def _refuse(*_: object) -> None:
    raise ConnectionRefusedError(111, "Connection refused")


def test_another_server(alone: None) -> None:
    with RawServer([PAGE], close=True) as portal:
        report = examine("--gateway", portal.url)
    assert report.bad() == ["health", "registry"]
    assert report.mark("pull") == "skipped"


def test_a_realm_that_is_none(filled: Hub, alone: None) -> None:
    filled.script(faults.answer(200, b"ok\n"), path="^/healthz$")
    filled.script(faults.challenge('Bearer realm="http://[:x/token",service="r"'), path="^/v2/$")
    assert examine("--gateway", filled.url).bad() == ["realm"]


def nginx_before(gateway: Gateway, port: int, *lines: str) -> str:
    settings = " ".join(lines)
    return f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {gateway.url}; {settings} }} }}\n"


PROXIES: dict[str, tuple[list[str], bool]] = {
    "Host passed on": (["proxy_set_header Host $http_host;"], True),
    "no Host": ([], False),
    "Host without its port": (["proxy_set_header Host $host;"], False),
}


@pytest.mark.real
@pytest.mark.parametrize(("lines", "is_fine"), PROXIES.values(), ids=PROXIES.keys())
def test_behind_nginx(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], *, is_fine: bool
) -> None:
    port = free_port()
    monkeypatch.undo()
    monkeypatch.setenv("DOCKER_HOST", "ssh://elsewhere")
    with nginx(tmp_path, port, nginx_before(gateway, port, *lines)):
        monkeypatch.setenv("PATH", str(tmp_path))
        report = examine("--gateway", f"http://127.0.0.1:{port}")
    if is_fine:
        assert report.bad() == []
        return
    assert report.bad() == ["realm"]
    assert "proxy_set_header Host $http_host" in report.text("realm")
    assert f'public_url = "http://127.0.0.1:{port}"' in report.text("realm")


@pytest.mark.real
def test_tls_that_ends_before_the_gateway(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    """nginx has TLS, and does not say so to the gateway."""
    port, own = free_port(), authority.issue()
    monkeypatch.undo()
    monkeypatch.setenv("DOCKER_HOST", "ssh://elsewhere")
    site = nginx_before(gateway, port, "proxy_set_header Host $http_host;").replace(
        f"{port};", f"{port} ssl; ssl_certificate {own.cert_file}; ssl_certificate_key {own.key_file};"
    )
    with nginx(tmp_path, port, site):
        monkeypatch.setenv("PATH", str(tmp_path))
        report = examine("--gateway", f"https://127.0.0.1:{port}", "--ca-file", authority.ca_file)
        assert report.bad() == ["realm"]
        assert "without TLS" in report.text("realm")
        assert "trusted_proxies" in report.text("realm")
        report = examine("--gateway", f"https://127.0.0.1:{port}")
        assert report.bad() == ["connection"]
        assert "--ca-file" in report.text("connection")


def test_a_certificate_for_another_name(authority: Authority, alone: None) -> None:
    with RawServer([PAGE], certificate=authority.issue(["other.test"])) as server:
        report = examine("--gateway", server.url, "--ca-file", authority.ca_file)
    assert report.bad() == ["connection"]
    assert "for other names" in report.text("connection")


def test_a_gateway_that_is_down_behind_its_proxy(alone: None) -> None:
    answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    with RawServer([answer], close=True) as proxy:
        report = examine("--gateway", proxy.url)
    assert report.bad() == ["health"]
    assert "does not reach hubferry" in report.text("health")


def test_an_upstream_that_is_away(dead: str, start_gateway: StartGateway, alone: None) -> None:
    gateway = start_gateway(config(f"http://{dead}"))
    report = examine("--gateway", gateway.url)
    assert report.bad() == ["pull"]
    assert "cannot be connected to" in report.text("pull")


def test_a_clock_that_is_wrong(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubferry.clock.SystemClock.time", lambda _: 4e9)
    report = examine("--gateway", gateway.url)
    assert report.bad() == ["clock"]


def log_in(folder: Path, host: str, password: str) -> dict[str, str]:
    """What `docker login` leaves, and the environment in which it is found."""
    auth = base64.b64encode(f"me:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(folder)}


def test_a_gateway_with_users(filled: Hub, start_gateway: StartGateway, alone: None, tmp_path: Path) -> None:
    book = UserBook(tmp_path)
    book.add("me", "geheim")
    gateway = start_gateway(config(filled.url, access=book.access))
    report = examine("--gateway", gateway.url)
    assert report.bad() == ["pull"]
    assert f"docker login {gateway.host}" in report.text("pull")
    assert examine("--gateway", gateway.url, env=log_in(tmp_path, gateway.host, "geheim")).bad() == []
    report = examine("--gateway", gateway.url, env=log_in(tmp_path, gateway.host, "falsch"))
    assert report.bad() == ["pull"]
    assert "does not take the login of me" in report.text("pull")
    assert "falsch" not in str(report.checks)


def test_a_url_with_a_secret(
    filled: Hub, start_gateway: StartGateway, alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = UserBook(tmp_path)
    book.add("me", "geheim")
    with monkeypatch.context() as patched:
        patched.undo()
        patched.setenv("PATH", os.defpath)
        secret = book.mirror("node1")
    gateway = start_gateway(config(filled.url, access=book.access))
    report = examine("--gateway", f"{gateway.url}/{secret}")
    assert report.bad() == []
    assert secret not in str(report.checks)
