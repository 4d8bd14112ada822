"""An upstream that cannot be reached: 503 in time, and a message that says which and why.

On both shells. The Worker is told by the platform that something failed and not what: there the cause may be another.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.support import faults
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.processes import free_port
from tests.support.proxy import ConnectProxy
from tests.support.raw_server import RawServer
from tests.support.tls import Authority

if TYPE_CHECKING:
    from tests.conftest import StartGateway


class Start(Protocol):
    """`start(settings)`: the shell that the test is for, with one upstream; stopped, and checked, after the test."""

    def __call__(self, settings: dict[str, Any]) -> Gateway: ...


@pytest.fixture
def start(hub: Hub, tmp_path: Path, start_gateway: StartGateway) -> Start:
    """It ends before the stand-in does."""

    def start_with(settings: dict[str, Any]) -> Gateway:
        return start_gateway(
            {
                "upstreams": {"only": True, "docker.io": {"default": True, "library": True, **settings}},
                "cache": {"dir": str(tmp_path / "data"), "enabled": False},
                "access": {"login": "open"},
            }
        )

    return start_with


def refused() -> dict[str, Any]:
    return upstream(f"http://127.0.0.1:{free_port()}")


def unresolvable() -> dict[str, Any]:
    return upstream("https://registry.does-not-exist.invalid")


def private() -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{free_port()}"}


@pytest.mark.shells
@pytest.mark.parametrize(
    ("settings", "cause", "words"),
    [(refused, "tcp", "TCP"), (unresolvable, "dns", "DNS"), (private, "address", "allow_private_addresses")],
)
def test_the_message_says_which_upstream_and_why(
    start: Start, shell: str, settings: Callable[[], dict[str, Any]], cause: str, words: str
) -> None:
    with start(settings()) as gateway:
        answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
    assert (answer.status, answer.error_code) == (503, "UNAVAILABLE")
    error = answer.json()["errors"][0]
    assert "docker.io" in error["message"]
    if shell == "server" or cause == "address":
        assert words in error["message"]
        assert error["detail"]["cause"] == cause


def test_a_certificate_that_nobody_vouches_for_is_a_tls_failure(tmp_path: Path, start: Start) -> None:
    """The server's own client: the Worker cannot name an authority, and is not told that it was for the certificate."""
    authority = Authority(tmp_path / "ca")
    with Hub(certificate=authority.issue()) as hub:
        hub.add("library/app", "latest", image := build_image("tls"))
        with start(upstream(hub.url)) as gateway:
            answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
            assert answer.status == 503
            assert answer.json()["errors"][0]["detail"]["cause"] == "tls"
            assert "certificate" in answer.json()["errors"][0]["message"]
        trusted = upstream(hub.url, ca_file=str(authority.ca_file))
        with start(trusted) as gateway:
            assert fetch(f"{gateway.url}/v2/app/manifests/latest").body == image.manifest


@pytest.mark.shells
def test_an_upstream_that_accepts_and_says_nothing_is_a_timeout(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = upstream(f"http://127.0.0.1:{port}", response_timeout="500ms")
        with start(settings) as gateway:
            answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
    assert answer.status == 503
    assert answer.json()["errors"][0]["detail"]["cause"] == "timeout"


def test_a_certificate_for_another_name_is_a_tls_failure(tmp_path: Path, start: Start) -> None:
    authority = Authority(tmp_path / "ca")
    with RawServer([b""], certificate=authority.issue(["other.test"])) as server:
        settings = upstream(f"https://127.0.0.1:{server.port}", ca_file=str(authority.ca_file))
        with start(settings) as gateway:
            answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
    assert answer.status == 503
    (error,) = answer.json()["errors"]
    assert error["detail"]["cause"] == "tls"
    assert "certificate" in error["message"]


@pytest.mark.parametrize(
    "says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100, b""], ids=["http", "zeros", "nothing"]
)
def test_what_is_no_handshake_is_a_tls_failure(start: Start, says: bytes) -> None:
    """The server's own client: the Worker is not told what it was."""
    with (
        ConnectProxy(1, says=[says]) as server,  # it says something to whoever speaks first, and closes
        start(upstream(f"https://127.0.0.1:{server.port}")) as gateway,
    ):
        answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
    assert answer.status == 503
    assert answer.json()["errors"][0]["detail"]["cause"] in ("tls", "cut")


@pytest.mark.shells
def test_a_tls_handshake_that_never_ends_is_a_timeout(start: Start, shell: str) -> None:
    limit = "tls_timeout" if shell == "server" else "response_timeout"  # the Worker sees both as one wait
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = upstream(f"https://127.0.0.1:{port}", **{limit: "500ms"})
        with start(settings) as gateway:
            answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
    assert answer.status == 503
    (error,) = answer.json()["errors"]
    assert error["detail"]["cause"] == "timeout"
    assert shell == "worker" or "no TLS handshake within 0.5s (tls_timeout)" in error["message"]


@pytest.mark.shells
@pytest.mark.parametrize(("status", "ours"), [(500, 502), (502, 502), (503, 503), (504, 504), (418, 502), (451, 451)])
def test_an_upstream_failure_is_not_turned_into_something_else(hub: Hub, start: Start, status: int, ours: int) -> None:
    hub.script(faults.answer(status, b"oops", (("Retry-After", "7"),)), role="hub", times=None)
    with start(upstream(hub.url)) as gateway:
        answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
    assert answer.status == ours
    assert answer.header("retry-after") == "7"
    assert "docker.io" in json.dumps(answer.json())


@pytest.mark.shells
@pytest.mark.parametrize(("status", "code"), [(401, "UNAUTHORIZED"), (403, "DENIED"), (404, "MANIFEST_UNKNOWN")])
def test_a_refusal_by_the_upstream_keeps_its_meaning(hub: Hub, start: Start, status: int, code: str) -> None:
    hub.script(faults.answer(status), role="hub", times=None)
    with start(upstream(hub.url)) as gateway:
        answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
    assert (answer.status, answer.error_code) == (status, code)


@pytest.mark.shells
def test_429_says_whose_limit_it_is_and_until_when(hub: Hub, start: Start) -> None:
    limited = faults.answer(429, b"slow down", (("Retry-After", "3600"), ("RateLimit-Limit", "100;w=21600")))
    hub.script(limited, role="hub", times=None)
    with start(upstream(hub.url)) as gateway:
        answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
    assert (answer.status, answer.error_code) == (429, "TOOMANYREQUESTS")
    assert answer.header("retry-after") == "3600"
    assert answer.header("ratelimit-limit") == "100;w=21600"
    assert "docker.io" in answer.json()["errors"][0]["message"]


def test_an_upstream_that_closes_a_kept_connection_is_asked_again(hub: Hub, start: Start) -> None:
    """The server's own client: which connections `fetch` keeps, and whether it asks again, the platform decides."""
    hub.add("library/app", "latest", image := build_image("again"))
    with start(upstream(hub.url)) as gateway:
        url = f"{gateway.url}/v2/app/manifests/latest"
        assert fetch(url).body == image.manifest
        hub.script(faults.hang_up(), role="hub", path="manifests", times=1)
        assert fetch(url).body == image.manifest


@pytest.mark.shells
def test_a_mirror_answers_when_the_upstream_cannot_and_gets_no_credentials(start: Start) -> None:
    image = build_image("mirror")
    with Hub() as mirror:
        mirror.add("library/app", "latest", image)
        settings = upstream(
            f"http://127.0.0.1:{free_port()}",
            mirrors=[mirror.url],
            username="me",
            password="s3cr3t-of-the-primary",
        )
        with start(settings) as gateway:
            assert fetch(f"{gateway.url}/v2/app/manifests/latest").body == image.manifest
            layer = image.layers[0]
            assert fetch(f"{gateway.url}/v2/app/blobs/{layer.digest}").body == layer.data
        for exchange in mirror.find("auth"):
            assert not any(name.lower() == "authorization" for name, _ in exchange.request.headers)
