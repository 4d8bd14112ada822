"""What a gateway says of itself -> a mark, and what to do."""

import pytest

from hubferry.core.diagnosis import Seen
from hubferry.core.diagnosis_gateway import judge_gateway_names, judge_health, judge_realm

HUB = "https://hub.example.com"
REALMS: dict[str, tuple[str, str, str, str]] = {
    "the same": (HUB, f"{HUB}/token", "ok", ""),
    "the same, with its port": (HUB, "https://HUB.example.com:443/token", "ok", ""),
    "no TLS": (HUB, "http://hub.example.com/token", "failed", "X-Forwarded-Proto"),
    "no TLS and no Host": (HUB, "http://127.0.0.1:5000/token", "failed", "X-Forwarded-Proto"),
    "no Host": ("http://hub.example.com", "http://127.0.0.1:5000/token", "failed", "Host"),
    "the name of a container": ("http://hub.example.com", "http://hubferry:5000/token", "failed", "Host"),
    "without the port": ("https://hub.example.com:8443", f"{HUB}/token", "failed", "Host"),
    "another public name": (HUB, "https://mirror.example.com/token", "warning", "--gateway https://mirror.example.com"),
    "seen from beside it": ("http://127.0.0.1:5000", f"{HUB}/token", "warning", f"--gateway {HUB}"),
    "TLS that was not used": ("http://hub.example.com", f"{HUB}/token", "warning", HUB),
    "no URL": (HUB, "http://[", "failed", "public_url"),
    "nonsense": (HUB, "https://hub.example.com:port/token", "failed", "public_url"),
}


@pytest.mark.parametrize(("gateway", "realm", "mark", "remedy"), REALMS.values(), ids=REALMS.keys())
def test_realm(gateway: str, realm: str, mark: str, remedy: str) -> None:
    found = judge_realm(gateway, realm)
    assert found.mark == mark
    assert remedy in found.remedy
    if mark != "ok":
        assert f'public_url = "{gateway}"' in found.remedy


HEALTH: dict[str, tuple[int, bytes, str]] = {
    "up": (200, b"ok\n", "ok"),
    "another page": (200, b"<html>", "warning"),
    "not passed on": (404, b"", "warning"),
    "not reached": (502, b"<html>", "failed"),
}


@pytest.mark.parametrize(("status", "body", "mark"), HEALTH.values(), ids=HEALTH.keys())
def test_health(status: int, body: bytes, mark: str) -> None:
    found = judge_health(Seen(f"{HUB}/healthz", status, (), body))
    assert (found.mark, bool(found.remedy)) == (mark, mark != "ok")


def test_names() -> None:
    assert judge_gateway_names("hub.test", ["192.168.1.5"]).mark == "ok"
    assert judge_gateway_names("hub.test", ["198.18.3.4"]).mark == "warning"
