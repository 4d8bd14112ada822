"""Two thousand connections that never finish their head, and as many that never read: others pull what is kept.

They come from eight addresses, so that no limit for one address refuses them: directly, behind nginx, and behind Caddy,
with the configurations that the documents print.
"""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING

import pytest

from tests.attacks.strangers import is_held_up, pour, slowest_s, strangers, wait_answered
from tests.docs.markdown import example, replaced
from tests.faults.conftest import REPOSITORY, config
from tests.faults.kept import is_whole, wait_kept
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.processes import free_port
from tests.support.reverse_proxies import caddy, nginx

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Front = Callable[[Path, Gateway], AbstractContextManager[str]]

ADDRESSES = [f"127.0.1.{number}" for number in range(1, 9)]
EACH = 250
HALF_A_HEAD = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nA: "
DESCRIPTORS = 20_000  # of this process, and of those that it starts


@contextlib.contextmanager
def directly(_: Path, gateway: Gateway) -> Iterator[str]:
    yield gateway.url


@contextlib.contextmanager
def behind_nginx(folder: Path, gateway: Gateway) -> Iterator[str]:
    port = free_port()
    site = replaced(
        example("docs/clients.md", "nginx", "proxy_pass"),
        ("127.0.0.1:5000", gateway.host),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("    listen [::]:443 ssl;\n", ""),
        ("    ssl_certificate     /etc/ssl/hub.example.com/fullchain.pem;\n", ""),
        ("    ssl_certificate_key /etc/ssl/hub.example.com/privkey.pem;\n", ""),
    )
    with nginx(folder, port, site, connections=16_384):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def behind_caddy(folder: Path, gateway: Gateway) -> Iterator[str]:
    port = free_port()
    caddyfile = replaced(
        example("docs/internet.md", "text", "reverse_proxy"),
        ("127.0.0.1:5000", gateway.host),
        ("hub.example.com", f"http://127.0.0.1:{port}"),
    )
    with caddy(folder, port, caddyfile):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[Gateway, Blob]]:
    """A gateway that keeps a manifest and a blob of 32 MiB, and trusts a proxy on this machine."""
    with Hub() as hub:
        hub.add(REPOSITORY, "latest", build_image("crowds"))
        blob = Blob.generated(32 * MIB, 77)
        hub.add_blob(REPOSITORY, blob)
        settings = config(tmp_path, hub)
        settings["server"] = {"trusted_proxies": ["127.0.0.1/32"]}
        with Gateway.start(tmp_path / "gateway", settings) as running:
            assert fetch(f"{running.url}/v2/app/manifests/latest").status == 200
            assert is_whole(fetch(f"{running.url}/v2/app/blobs/{blob.digest}"), blob)
            wait_kept(tmp_path / "data", blob)
            yield running, blob


@contextlib.contextmanager
def crowd(url: str) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            one
            for address in ADDRESSES
            for one in stack.enter_context(strangers(url, EACH, address=address, receive_buffer=4096))
        ]


@pytest.mark.real
@pytest.mark.parametrize("front", [directly, behind_nginx, behind_caddy])
def test_crowds_keep_nobody_from_what_is_kept(tmp_path: Path, gateway: tuple[Gateway, Blob], front: Front) -> None:
    running, blob = gateway
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
    try:
        with front(tmp_path, running) as url:
            manifest, blob_url = f"{url}/v2/app/manifests/latest", f"{url}/v2/app/blobs/{blob.digest}"
            quiet_s, quiet_blob_s = slowest_s(manifest), fetch(blob_url).seconds
            with crowd(url) as unfinished:
                pour(unfinished, HALF_A_HEAD)
                others_s = [slowest_s(manifest)]
                assert is_whole(fetch(blob_url), blob)
            with crowd(url) as silent:
                pour(silent, b"GET /v2/app/blobs/%b HTTP/1.1\r\nHost: a\r\n\r\n" % blob.digest.encode())
                wait_answered(silent, 60)
                answer = fetch(blob_url)
                assert is_whole(answer, blob)
                others_s.append(slowest_s(manifest))
            figures = f"others {quiet_s:.3f} -> {others_s} s; a blob {quiet_blob_s:.2f} -> {answer.seconds:.2f} s"
            print(figures)
            assert not is_held_up(quiet_s, max(others_s)), figures
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
