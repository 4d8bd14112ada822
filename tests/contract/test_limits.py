"""`[limits]`: what a client is refused, what it has to wait for, and that nobody else notices."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import Gateway, upstream
from tests.support.http import Answer, fetch, open_stream
from tests.support.images import Image, build_image
from tests.support.registry_client import ACCEPT_MANIFESTS, basic
from tests.support.users import UserBook
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.hub import Hub

MIB = 2**20
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"


@pytest.fixture
def image(hub: Hub) -> Image:
    image = build_image("limits", layer_sizes=(2 * MIB,))
    hub.add("library/app", "1", image)
    return image


def config(hub: Hub, **limits: Any) -> dict[str, Any]:
    docker = upstream(hub.url, default=True, library=True)
    return {
        "server": {"trusted_proxies": ["127.0.0.1/32"]},
        "access": {"login": "open"},
        "limits": limits,
        "upstreams": {"only": True, "docker.io": docker},
    }


def manifest(gateway: Gateway, peer: str = HERE, path: str = "manifests/1", prefix: str = "") -> Answer:
    headers = [ACCEPT_MANIFESTS, ("X-Forwarded-For", peer)]
    return fetch(f"{gateway.url}{prefix}/v2/app/{path}", headers=headers)


def test_requests_beyond_the_limit_are_refused_for_a_while(hub: Hub, image: Image, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, requests="3/m", burst="1m"))
    assert [manifest(gateway).status for _ in range(3)] == [200] * 3, "also those that are answered from memory"
    refused = manifest(gateway)
    assert (refused.status, refused.error_code) == (429, "TOOMANYREQUESTS")
    assert 1 <= int(str(refused.header("retry-after"))) <= 60
    assert "a limit of this gateway, and not of Docker Hub: 192.0.2.1 sends more than 3/m requests" in str(
        refused.json()
    )
    assert manifest(gateway, ELSEWHERE).body == image.manifest, "nobody else notices"
    assert manifest(gateway, path=f"manifests/{image.digest}").status == 429
    assert fetch(f"{gateway.url}/v2/", headers=[("X-Forwarded-For", HERE)]).status == 429
    assert fetch(f"{gateway.url}/healthz", headers=[("X-Forwarded-For", HERE)]).status == 200


def test_a_client_is_a_network_of_ipv6(hub: Hub, image: Image, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, requests="2/m", burst="1m"))
    peers = ["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2::3", "2001:db8:1:3::1"]
    assert [manifest(gateway, peer).status for peer in peers] == [200, 200, 429, 200]


def test_a_client_is_a_user(hub: Hub, image: Image, start_gateway: StartGateway, tmp_path: Path) -> None:
    book = UserBook(tmp_path)
    book.add("alice", "correct horse")
    book.add("bob", "battery staple")
    alice, bob, mirror = book.token("alice"), book.token("bob"), book.mirror("node1")
    settings = {**config(hub, requests="2/m", burst="1m"), "access": book.access}
    gateway = start_gateway(settings)

    def status(secret: str, peer: str) -> int:
        headers = [ACCEPT_MANIFESTS, ("X-Forwarded-For", peer), basic("x", secret)]
        return fetch(f"{gateway.url}/v2/app/manifests/1", headers=headers).status

    assert [status(alice, peer) for peer in (HERE, ELSEWHERE, HERE)] == [200, 200, 429], "wherever she is"
    assert status(bob, HERE) == 200
    assert [manifest(gateway, prefix=f"/{mirror}").status for _ in range(3)] == [200, 200, 429]


def test_a_user_is_not_counted_with_strangers_of_the_same_address(
    hub: Hub, image: Image, start_gateway: StartGateway, tmp_path: Path
) -> None:
    assert image
    book = UserBook(tmp_path)
    book.add("alice", "correct horse")
    secret = basic("alice", book.token("alice"))
    gateway = start_gateway({**config(hub, requests="3/m", burst="1m"), "access": book.access})
    assert [fetch(f"{gateway.url}/v2/").status for _ in range(4)] == [401, 401, 401, 429]
    assert fetch(f"{gateway.url}/v2/", headers=[secret]).status == 200
    assert fetch(f"{gateway.url}/token?scope=repository:app:pull", headers=[secret]).status == 200
    assert fetch(f"{gateway.url}/v2/app/manifests/1", headers=[ACCEPT_MANIFESTS, secret]).status == 200
    assert fetch(f"{gateway.url}/v2/", headers=[secret]).status == 429


def test_answers_that_are_sent_as_a_whole_are_slowed_as_well(
    hub: Hub, image: Image, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(config(hub, rate="2KiB/s"))
    manifest(gateway)
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        request = f"GET /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nX-Forwarded-For: {HERE}\r\n\r\n"
        received = b""
        for _ in range(4):  # one after the other on one connection, and before the last one was charged
            client.sendall(request.encode())
            while received.count(image.manifest) < 1:
                received += client.recv(65536)
            received = b""
    assert time.monotonic() - began_s > 3 * len(image.manifest) / 2048 * 0.8
    assert fetch(f"{gateway.url}/healthz").status == 200


def test_downloads_beyond_the_limit_are_refused_until_one_ends(hub: Hub, start_gateway: StartGateway) -> None:
    image = build_image("large", layer_sizes=(24 * MIB,))  # more than lies in buffers on the way
    hub.add("library/app", "1", image)
    gateway = start_gateway(config(hub, downloads=1))
    url = f"{gateway.url}/v2/app/blobs/{image.layers[0].digest}"
    headers = [("X-Forwarded-For", HERE)]
    assert fetch(url, headers=headers).body == image.layers[0].data
    with open_stream(url, headers=headers, receive_buffer=4096) as stream:
        assert stream.status == 200
        assert fetch(url, headers=headers).status == 429
        assert fetch(url, "HEAD", headers=headers).status == 200, "a HEAD is no download"
        assert manifest(gateway).status == 200
        assert fetch(url, headers=[("X-Forwarded-For", ELSEWHERE)]).status == 200
    wait_until(lambda: fetch(url, headers=headers).status == 200, what="the place is free again")


def test_a_day_has_so_many_bytes(hub: Hub, image: Image, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, bytes_per_day="3MiB"))
    url = f"{gateway.url}/v2/app/blobs/{image.layers[0].digest}"
    headers = [("X-Forwarded-For", HERE)]
    assert [fetch(url, headers=headers).status for _ in range(3)] == [200, 200, 429]
    refused = manifest(gateway)
    assert refused.status == 429
    assert 86_000 < int(str(refused.header("retry-after"))) <= 86_400
    assert fetch(url, headers=[("X-Forwarded-For", ELSEWHERE)]).status == 200


@pytest.mark.parametrize("name", ["rate", "total_rate", "upstream_rate"])
@pytest.mark.parametrize("enabled", [True, False], ids=["kept", "streamed"])
def test_a_rate_is_kept_by_waiting(
    hub: Hub, image: Image, start_gateway: StartGateway, name: str, *, enabled: bool
) -> None:
    settings = {**config(hub, **{name: "1MiB/s"}), "cache": {"enabled": enabled}}
    gateway = start_gateway(settings)
    url = f"{gateway.url}/v2/app/blobs/{image.layers[0].digest}"
    began_s = time.monotonic()
    assert fetch(url).body == image.layers[0].data
    # all but the first parts is waited for: a slow machine takes longer only
    assert time.monotonic() - began_s > 0.8


def test_who_waits_for_a_rate_keeps_nobody_else_waiting(hub: Hub, image: Image, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, rate="10KiB/s"))
    url = f"{gateway.url}/v2/app/blobs/{image.layers[0].digest}"
    with open_stream(url, headers=[("X-Forwarded-For", HERE)]) as stream:
        assert stream.status == 200
        with ThreadPoolExecutor(8) as pool:
            others = pool.map(lambda number: manifest(gateway, f"198.51.100.{number}").status, range(1, 9))
        assert list(others) == [200] * 8
    gateway.stop()


def test_without_limits_nothing_is_refused(hub: Hub, image: Image, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub))
    assert all(manifest(gateway).body == image.manifest for _ in range(200))
