"""Outbound proxies: names are theirs to resolve, credentials arrive, and what they refuse is said.

Messages say that it is the proxy and what to do, and never repeat a credential or what the proxy said.
"""

import base64
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY
from tests.support.gateway import Gateway, upstream
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.processes import free_port
from tests.support.proxy import CONNECTED, ConnectProxy, Endless
from tests.support.raw_server import RawServer
from tests.support.registry import Registry
from tests.support.socks import SocksProxy
from tests.support.tls import Authority

NAME = "registry.blocked.test"  # nobody here can resolve it
LOGIN = ("me", "p@ss:/w0rd")
ENCODED = "me:p%40ss%3A%2Fw0rd"


def through(
    state: Path, proxy: str, *, env: dict[str, str] | None = None, url: str = f"http://{NAME}", **more: Any
) -> Gateway:
    settings: dict[str, Any] = {"url": url, "default": True, "library": True, "proxy": proxy, **more}
    config = {
        "upstreams": {"only": True, "docker.io": settings},
        "cache": {"dir": str(state / "data")},
        "access": {"login": "open"},
    }
    return Gateway.start(state / "gateway", config, env=env)


def ask(gateway: Gateway) -> Answer:
    return fetch(f"{gateway.url}/v2/app/manifests/latest")


@pytest.fixture
def manifest(registry: Registry) -> bytes:
    image = build_image("proxied")
    registry.push("library/app", "latest", image)
    return image.manifest


def test_an_http_proxy_gets_the_name_and_the_credentials(tmp_path: Path, registry: Registry, manifest: bytes) -> None:
    with ConnectProxy(registry.port, LOGIN) as proxy:
        with through(tmp_path, proxy.url.replace("//", f"//{ENCODED}@")) as gateway:
            assert ask(gateway).body == manifest
            assert "w0rd" not in gateway.output()
        assert set(proxy.asked) == {f"{NAME}:80"}
        assert set(proxy.authorizations) == {"Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()}


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_gets_the_name_and_the_credentials(
    tmp_path: Path, registry: Registry, manifest: bytes, scheme: str
) -> None:
    with SocksProxy(registry.port, LOGIN) as proxy:
        with through(tmp_path, proxy.url.replace("socks5://", f"{scheme}://{ENCODED}@")) as gateway:
            assert ask(gateway).body == manifest
            assert "w0rd" not in gateway.output()
        assert set(proxy.asked) == {f"{NAME}:80"}


@pytest.mark.parametrize("kind", [ConnectProxy, SocksProxy])
def test_a_proxy_that_wants_nobody_named_is_used_without_credentials(
    tmp_path: Path, registry: Registry, manifest: bytes, kind: type[ConnectProxy]
) -> None:
    with kind(registry.port) as proxy:
        with through(tmp_path, proxy.url) as gateway:
            assert ask(gateway).body == manifest
        assert proxy.asked
        assert not proxy.authorizations


@pytest.mark.parametrize("kind", [ConnectProxy, SocksProxy])
@pytest.mark.parametrize(("host", "cause"), [(NAME, ""), ("another.test", "tls")])
def test_tls_goes_through_a_proxy_to_the_name_that_was_asked(
    tmp_path: Path, kind: type[ConnectProxy], host: str, cause: str
) -> None:
    authority = Authority(tmp_path / "ca")
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with (
        RawServer([missing], certificate=authority.issue([NAME])) as server,
        kind(server.port) as proxy,
        through(tmp_path, proxy.url, url=f"https://{host}", ca_file=str(authority.ca_file)) as gateway,
    ):
        answer = ask(gateway)
        assert set(proxy.asked) == {f"{host}:443"}
    if cause:
        assert (answer.status, answer.json()["errors"][0]["detail"]["cause"]) == (503, cause)
    else:
        assert (answer.status, answer.error_code) == (404, "MANIFEST_UNKNOWN")


def test_an_answer_to_connect_in_two_packets_is_one_answer(tmp_path: Path) -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    class Slow(ConnectProxy):
        def greet(self, client: socket.socket) -> bool:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(CONNECTED[:-2] + b"Via: somebody\r\n")
            client.recv(4096)
            client.sendall(b"\r\n")
            return True

    with RawServer([missing]) as server, Slow(server.port) as proxy, through(tmp_path, proxy.url) as gateway:
        answer = ask(gateway)
    assert (answer.status, answer.error_code) == (404, "MANIFEST_UNKNOWN")


Failing = Callable[[], AbstractContextManager[ConnectProxy]]
# what the proxy is, credentials of the setting, cause, words of the message
FAILING: dict[str, tuple[Failing, str, str, str]] = {
    "http, wrong credentials": (
        lambda: ConnectProxy(1, LOGIN), "me:canary@", "proxy", "does not accept user and password (407)",
    ),
    "http, credentials wanted": (lambda: ConnectProxy(1, LOGIN), "", "proxy", "wants user and password (407)"),
    "http, forbidden": (
        lambda: ConnectProxy(1, says=[b"HTTP/1.1 403 canary\r\n\r\n"]),
        "", "proxy", f"does not allow CONNECT to {NAME}:80",
    ),
    "http, 502": (
        lambda: ConnectProxy(1, says=[b"HTTP/1.1 502 canary\r\nX: canary\r\n\r\n"]), "", "proxy", "answered 502",
    ),
    "http, garbage": (lambda: ConnectProxy(1, says=[b"\0canary" * 9], left_hanging=True), "", "proxy", "is not HTTP"),
    "http, a status that is none": (
        lambda: ConnectProxy(1, says=[b"HTTP/1.1 canary\r\n\r\n"]), "", "proxy", "is not HTTP",
    ),
    "http, endless headers": (
        lambda: ConnectProxy(1, says=Endless(b"HTTP/1.1 200 OK\r\n", b"X: canary\r\n")),
        "", "proxy", "more than 16 KiB",
    ),
    "http, more than an answer": (
        lambda: ConnectProxy(1, says=[CONNECTED + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]),
        "", "proxy", "more than an answer",
    ),
    "http, closed": (lambda: ConnectProxy(1, says=[]), "", "proxy", "closed the connection without an answer"),
    "http, hanging": (
        lambda: ConnectProxy(1, left_hanging=True), "", "timeout", "no connection through the proxy within 0.5s",
    ),
    "http, hanging in the head": (
        lambda: ConnectProxy(1, says=[b"HTTP/1.1 200 OK\r\n"], left_hanging=True), "", "timeout", "through the proxy",
    ),
    "socks, wrong credentials": (
        lambda: SocksProxy(1, LOGIN), "me:canary@", "proxy", "does not accept user and password",
    ),
    "socks, credentials wanted": (lambda: SocksProxy(1, LOGIN), "", "proxy", "set socks5://user:password@HOST:PORT"),
    "socks, host unreachable": (
        lambda: SocksProxy(1, says=[b"\5\0", b"\5\4\0\1\0\0\0\0\0\0"], left_hanging=True),
        "", "proxy", f"host unreachable (4), for {NAME}:80",
    ),
    "socks, garbage": (lambda: SocksProxy(1, says=[b"HTTP/1.1 400 canary"]), "", "proxy", "does not speak SOCKS5"),
    "socks, closed": (lambda: SocksProxy(1, says=[]), "", "proxy", "closed the connection without an answer"),
    "socks, hanging": (lambda: SocksProxy(1, left_hanging=True), "", "timeout", "through the proxy within 0.5s"),
}  # fmt: skip


@pytest.mark.parametrize(("failing", "login", "cause", "words"), FAILING.values(), ids=FAILING.keys())
def test_a_proxy_that_fails_is_named_as_the_cause(
    tmp_path: Path, failing: Failing, login: str, cause: str, words: str
) -> None:
    with (
        failing() as proxy,
        through(tmp_path, proxy.url.replace("//", f"//{login}"), connect_timeout="500ms") as gateway,
    ):
        answer = ask(gateway)
        output = gateway.output()
    assert (answer.status, answer.error_code) == (503, "UNAVAILABLE")
    (error,) = answer.json()["errors"]
    assert error["detail"] == {"upstream": "docker.io", "cause": cause}
    assert words in error["message"]
    assert "proxy" in error["message"].partition(";")[0]
    for told in (answer.body.decode(), output):
        assert "canary" not in told
        assert "w0rd" not in told


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_is_not_there_is_said(tmp_path: Path, scheme: str) -> None:
    with through(tmp_path, f"{scheme}://me:canary@127.0.0.1:{free_port()}") as gateway:
        answer = ask(gateway)
        assert "canary" not in gateway.output()
    assert answer.status == 503
    (error,) = answer.json()["errors"]
    assert error["detail"]["cause"] == "proxy"
    assert "it cannot be connected to (Connection refused)" in error["message"]
    assert "canary" not in error["message"]


def test_a_proxy_whose_name_does_not_resolve_is_said(tmp_path: Path) -> None:
    with through(tmp_path, "http://proxy.does-not-exist.invalid:3128") as gateway:
        answer = ask(gateway)
    assert answer.status == 503
    (error,) = answer.json()["errors"]
    assert error["detail"]["cause"] == "proxy"
    assert "its own name cannot be resolved" in error["message"]


def test_a_handshake_that_hangs_behind_a_proxy_is_said_to_be_behind_it(tmp_path: Path) -> None:
    with (
        ConnectProxy(1, says=[CONNECTED], left_hanging=True) as proxy,
        through(tmp_path, proxy.url, url=f"https://{NAME}", tls_timeout="500ms") as gateway,
    ):
        answer = ask(gateway)
    assert answer.status == 503
    (error,) = answer.json()["errors"]
    assert error["detail"]["cause"] == "timeout"
    assert "no TLS handshake through the proxy within 0.5s (tls_timeout)" in error["message"]


@pytest.mark.parametrize(
    ("variables", "proxied"),
    [
        ({}, True),
        ({"NO_PROXY": "registry.test, 127.0.0.0/8"}, False),
        ({"no_proxy": "127.0.0.1"}, False),
        ({"NO_PROXY": "*"}, False),
        ({"NO_PROXY": "127.0.0.1:1"}, True),
        ({"NO_PROXY": "registry.test"}, True),
    ],
    ids=str,
)
def test_hosts_of_no_proxy_are_reached_directly(
    tmp_path: Path, hub: Hub, variables: dict[str, str], *, proxied: bool
) -> None:
    hub.add(REPOSITORY, "latest", image := build_image("direct"))
    settings = upstream(hub.url)
    refusing = ConnectProxy(1, says=[b"HTTP/1.1 403 no\r\n\r\n"])
    with refusing as proxy, through(tmp_path, proxy.url, env=variables, **settings) as gateway:
        answer = ask(gateway)
    if proxied:
        assert answer.json()["errors"][0]["detail"]["cause"] == "proxy"
    else:
        assert answer.body == image.manifest


def test_what_no_proxy_names_is_checked_as_without_a_proxy(tmp_path: Path) -> None:
    """Behind the proxy the name would be the proxy's to resolve; here it is ours, and leads nowhere."""
    with ConnectProxy(1) as proxy:
        with through(tmp_path, proxy.url, env={"NO_PROXY": ".blocked.test"}) as gateway:
            answer = ask(gateway)
        assert not proxy.asked
    assert answer.json()["errors"][0]["detail"]["cause"] == "dns"


def test_no_other_variable_chooses_a_proxy(tmp_path: Path, hub: Hub) -> None:
    hub.add(REPOSITORY, "latest", image := build_image("direct"))
    with ConnectProxy(1) as proxy:
        names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        with through(tmp_path, "", env=dict.fromkeys(names, proxy.url), **upstream(hub.url)) as gateway:
            assert ask(gateway).body == image.manifest
        assert not proxy.asked


def test_a_proxy_over_tls_is_refused_at_the_start(tmp_path: Path) -> None:
    state = tmp_path / "gateway"
    config = '[upstreams."docker.io"]\nproxy = "https://me:canary@proxy.test:3128"\n'
    with Gateway.start(state, config, wait=False) as gateway:
        assert gateway.process.wait(20) == 1
        gateway.stopped = True
        said = gateway.output()
    assert "proxy" in said
    assert "not supported: write http://HOST:PORT" in said
    assert "canary" not in said
