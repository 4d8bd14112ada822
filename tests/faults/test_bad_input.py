"""Requests that make no sense, or mean harm: a clear OCI error, and no upstream is touched.

On both shells, but for what never gets to a Worker as it was sent: dots in a path, heads that are too large or
ambiguous, bodies that nobody expects and clients that dribble are the platform's. Ranges are in tests/contract.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SHELLS
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch, send_raw
from tests.support.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tests.support.worker import Deployment, Worker

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Their upstreams are sinks: whatever reaches one fails the module."""
    with Sink() as hub, Sink() as other:
        yield {
            "upstreams": {
                "only": True,
                "docker.io": upstream(hub.url, default=True, library=True, hosts=["hub.example.test"]),
                "quay.io": upstream(other.url, hosts=["quay.example.test"]),
            },
            "cache": {"dir": str(tmp_path_factory.mktemp("cache"))},
            "access": {"login": "open"},
        }
        assert not hub.connections
        assert not other.connections


@pytest.fixture(scope="module")
def server(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway.start(tmp_path_factory.mktemp("server"), settings) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def worker(settings: dict[str, Any], node: Worker) -> Iterator[Deployment]:
    """One for the module: no test here may deploy another."""
    with node.deploy(settings) as deployment:
        yield deployment


@pytest.fixture(params=SHELLS)
def gateway(request: pytest.FixtureRequest) -> Gateway | Deployment:
    shell: Gateway | Deployment = request.getfixturevalue(request.param)
    return shell


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/UPPER/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/a//b/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/-a/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/a%2fb/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/a%2Fb/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/a%5cb/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/a%00b/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/a%0d%0ab/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/a%zz/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/%e4/manifests/latest", 400, "NAME_INVALID"),
        (f"/v2/{'a' * 256}/manifests/latest", 400, "NAME_INVALID"),
        # with its registry host the name is too long, without it is not
        (f"/v2/quay.io/{'a' * 248}/manifests/latest", 400, "NAME_INVALID"),
        (f"/v2/a/manifests/{'t' * 129}", 400, "NAME_INVALID"),
        ("/v2/a/manifests/.dot", 400, "NAME_INVALID"),
        ("/v2/a/manifests/sha256:abc", 400, "DIGEST_INVALID"),
        ("/v2/a/manifests/md5:" + "a" * 32, 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/sha256:" + "A" * 64, 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/latest", 400, "DIGEST_INVALID"),
        ("/v2/a/referrers/latest", 400, "DIGEST_INVALID"),
        ("/v2/unknown.example/a/b/manifests/latest", 404, "NAME_UNKNOWN"),
        ("/v2/localhost/a/manifests/latest", 404, "NAME_UNKNOWN"),
        ("/v2/a/manifests/latest?ns=unknown.example", 404, "NAME_UNKNOWN"),
        ("/v2/a/manifests/latest?ns=127.0.0.1:1", 404, "NAME_UNKNOWN"),
        ("/v2/quay.io/a/manifests/latest?ns=docker.io", 400, "NAME_INVALID"),
        ("/v2/a/manifests/latest?ns=quay.io&ns=docker.io", 400, "NAME_INVALID"),
        ("/v2/_catalog", 404, "NAME_UNKNOWN"),
        ("/v2/a/nothing", 404, "NAME_UNKNOWN"),
        ("/v2/a/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/a/tags/list?n=many", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/a/manifests/latest?" + "&".join("x" for _ in range(100)), 400, "UNSUPPORTED"),
        ("/v1/search?q=a&ns=quay.io", 404, "UNSUPPORTED"),
    ],
)
def test_a_bad_path_is_refused(gateway: Gateway | Deployment, path: str, status: int, code: str) -> None:
    answer = fetch(gateway.url, target=path)
    assert (answer.status, answer.error_code) == (status, code)
    assert answer.header("content-type") == "application/json"
    assert answer.header("docker-distribution-api-version") == "registry/2.0"


@pytest.mark.parametrize(
    "path",
    ["/v2/a/../b/manifests/latest", "/v2/../../etc/passwd/manifests/latest", "/v2/%2e%2e/manifests/latest"],
)
def test_dots_in_a_path_are_refused(server: Gateway, path: str) -> None:
    """Not on the Worker: the platform's URL has them resolved, and what is asked for is what is left."""
    answer = fetch(server.url, target=path)
    assert (answer.status, answer.error_code) == (400, "NAME_INVALID")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v2/a/manifests/latest", f"/v2/a/blobs/{DIGEST}", "/v2/a/blobs/uploads/", "/v2/"])
def test_writing_is_405(gateway: Gateway | Deployment, method: str, path: str) -> None:
    answer = fetch(gateway.url + path, method)
    assert (answer.status, answer.error_code) == (405, "UNSUPPORTED")
    assert answer.header("allow") == "GET, HEAD"


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("quay.example.test", "/v2/a/manifests/latest?ns=docker.io", 400),
        ("hub.example.test", "/v2/a/manifests/latest?ns=quay.io", 400),
        ("quay.example.test", "/v2/docker.io/a/b/manifests/latest", 400),
        ("unknown.example.test", "/v2/a/manifests/latest", 404),
        ("unknown.example.test", "/v2/", 404),
        ("unknown.example.test", "/", 404),
        ("unknown.example.test", "/token?scope=repository:a:pull", 404),
        ("bad host", "/v2/", 400),
        ("", "/v2/", 400),
    ],
)
def test_a_host_that_means_something_else_or_nothing_is_refused(
    gateway: Gateway | Deployment, host: str, path: str, status: int
) -> None:
    answer = fetch(gateway.url, target=path, host=host)
    assert answer.status == status
    if status == 404:
        assert answer.json()["errors"][0]["detail"]["hosts"] == ["hub.example.test", "quay.example.test"]


def test_two_host_headers_are_refused(server: Gateway) -> None:
    """A Worker's request has one URL, and in it one host."""
    answer = fetch(server.url + "/v2/", headers=[("Host", "quay.example.test")])
    assert answer.status == 400


def test_headers_over_16_kib_are_refused(server: Gateway) -> None:
    """Cloudflare's own limit is 128 KB."""
    fine = fetch(server.url + "/v2/", headers=[("X-Long", "a" * 15_000)])
    assert fine.status == 200
    answer = fetch(server.url + "/v2/", headers=[("X-Long", "a" * 17_000)])
    assert (answer.status, answer.error_code) == (431, "UNSUPPORTED")


def test_headers_without_end_are_cut_off(server: Gateway) -> None:
    received, _ = send_raw(server.url, b"GET /v2/ HTTP/1.1\r\nHost: a\r\n" + b"X: aaaaaaaaaaaaaaaaaaa\r\n" * 20_000)
    assert b" 200 " not in received


@pytest.mark.parametrize("headers", [[("Content-Length", "3")], [("Transfer-Encoding", "chunked")]])
def test_get_with_a_body_is_refused(server: Gateway, headers: list[tuple[str, str]]) -> None:
    """A platform whose requests are of the Fetch standard hands over no body of a GET."""
    answer = fetch(server.url + "/v2/", headers=headers)
    assert (answer.status, answer.error_code) == (400, "UNSUPPORTED")


@pytest.mark.parametrize(
    "data",
    [
        # content-length and transfer-encoding together
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        # two lengths
        b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        # bare LF between headers
        b"GET /v2/ HTTP/1.1\nHost: a\n\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        # folded header, space before the colon, NUL, CR in a value
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\nConnection: close\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        b"GET /v2/ a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET http://evil.test/v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_ambiguous_requests_are_refused_and_the_connection_is_closed(server: Gateway, data: bytes) -> None:
    padding = b"\r\n\r\n" if data.startswith(b"\x16") else b""
    # what follows would be answered if the first request had been read the other way
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    received, _ = send_raw(server.url, data + padding + smuggled)
    assert b"200 OK" not in received


def test_a_client_that_dribbles_its_headers_holds_up_nobody(server: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as dribbler:
        dribbler.sendall(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: ")
        assert fetch(server.url + "/v2/").status == 200
        dribbler.settimeout(30)
        started = time.monotonic()
        assert dribbler.recv(1) == b""  # closed by the gateway's own limit, not by us
        assert time.monotonic() - started < 30
