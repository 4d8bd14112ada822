"""Addresses of gateways, registries and versions, as people and programs write them."""

import pytest

from hubferry.core.client_files import parse_gateway, parse_registries, parse_version
from hubferry.core.settings import BUILT_IN

SECRET = "hubferry_" + "0123456789" * 4


@pytest.mark.parametrize(
    ("text", "url", "host", "is_plain", "is_loopback"),
    [
        ("https://hub.example.com", "https://hub.example.com", "hub.example.com", False, False),
        ("https://Hub.Example.com/", "https://hub.example.com", "hub.example.com", False, False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000", "127.0.0.1:5000", True, True),
        ("http://localhost:5000", "http://localhost:5000", "localhost:5000", True, True),
        ("http://[::1]:5000", "http://[::1]:5000", "[::1]:5000", True, True),
        ("http://192.0.2.1", "http://192.0.2.1", "192.0.2.1", True, False),
        (f"https://hub.example.com/{SECRET}", f"https://hub.example.com/{SECRET}", "hub.example.com", False, False),
    ],
)
def test_addresses(text: str, url: str, host: str, *, is_plain: bool, is_loopback: bool) -> None:
    gateway = parse_gateway(text)
    assert (gateway.url, gateway.host) == (url, host)
    assert (gateway.is_plain, gateway.is_loopback) == (is_plain, is_loopback)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hub.example.com",
        "ftp://hub.example.com",
        "https://",
        "https://hub.example.com?x=1",
        "https://hub.example.com#x",
        "https://me:word@hub.example.com",
        'https://hub.example.com/"',
        "https://hub.example.com/a\nb",
        "https://hub.example.com/../x",
        "https://hub.example.com:0",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="gateway"):
        parse_gateway(text)


def test_a_secret_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="gateway") as refused:
        parse_gateway(f"hub.example.com/{SECRET}")
    assert SECRET not in str(refused.value)


def test_registries() -> None:
    assert parse_registries(()) == tuple(BUILT_IN)
    assert parse_registries(("GHCR.io", "ghcr.io", "index.docker.io", "*")) == ("ghcr.io", "docker.io", "*")
    assert parse_registries(("registry.internal:5000",)) == ("registry.internal:5000",)


@pytest.mark.parametrize(
    "name", ["", "../../etc", "a/b", "ghcr.io/owner", 'a"b', "a b", "..", "a..b", "https://ghcr.io"]
)
def test_what_is_no_registry(name: str) -> None:
    with pytest.raises(ValueError, match="registry"):
        parse_registries((name,))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Docker version 29.1.3, build f52814d", (29, 1)),
        ("Docker version 20.10.24+dfsg1, build 5d6db84", (20, 10)),
        ("Docker version 27.5.1-rd, build 0c97515", (27, 5)),
        ("Docker version library-import, build library-import", None),
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", (1, 6)),
        ("containerd github.com/containerd/containerd/v2 2.4.2+unknown ", (2, 4)),
        ("containerd github.com/containerd/containerd/v2 v2.1.0 061792f0ecf3684fb30a3a0eb006799b8c6638a7", (2, 1)),
        ("containerd containerd.io 1.7.24 88bf19b2105c8b17560993bee28a01ddc2f97182", (1, 7)),
        ("29.1", (29, 1)),
        ("", None),
        ("29", None),
    ],
)
def test_versions(text: str, version: tuple[int, int] | None) -> None:
    assert parse_version(text) == version
