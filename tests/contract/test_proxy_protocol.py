"""`server.proxy_protocol`: load balancers that tell for whom they opened a connection."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.test_proxy_protocol import binary
from tests.docs.markdown import example, replaced
from tests.faults.kept import events, wait_event
from tests.support import faults
from tests.support.content import Blob
from tests.support.gateway import upstream
from tests.support.http import send_raw
from tests.support.images import build_image
from tests.support.processes import free_port
from tests.support.reverse_proxies import haproxy
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.gateway import Gateway
    from tests.support.hub import Hub
    from tests.support.tls import Authority

ASK = b"GET /v2/app/tags/list HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LINE = b"PROXY TCP4 192.0.2.1 198.51.100.1 5555 443\r\n"
BALANCER = "127.0.0.0/9"


def config(hub: Hub, networks: list[str], **server: Any) -> dict[str, Any]:
    """Only `networks` may pull, so that an answer shows whose address counts."""
    hub.add("library/app", "1", build_image("proxied"))
    docker = upstream(hub.url, default=True, library=True)
    return {
        "server": {"proxy_protocol": [BALANCER], **server},
        "access": {"login": "open", "networks": networks},
        "upstreams": {"only": True, "docker.io": docker},
    }


def started(start_gateway: StartGateway, config: dict[str, Any], **options: Any) -> Gateway:
    """Its health cannot be asked for: a connection of the test would need a header, too."""
    gateway = start_gateway(config, wait=False, **options)
    wait_event(gateway, "listening")
    return gateway


def status(answer: tuple[bytes, str]) -> int:
    return int(answer[0].split(b" ", 2)[1])


HEADERS = {
    "line, allowed": (LINE, 200),
    "line, not allowed": (LINE.replace(b"192.0.2.1", b"192.0.3.1"), 403),
    "binary, allowed": (binary("192.0.2.1", "198.51.100.1"), 200),
    "binary, not allowed": (binary("192.0.3.1", "198.51.100.1"), 403),
    "binary, IPv4 as IPv6": (binary("::ffff:192.0.2.1", "::ffff:198.51.100.1", kind=0x21), 200),
    "for itself": (b"PROXY UNKNOWN\r\n", 403),
}


@pytest.mark.parametrize(("header", "expected"), HEADERS.values(), ids=HEADERS.keys())
def test_the_address_in_the_header_is_the_client(
    hub: Hub, start_gateway: StartGateway, header: bytes, expected: int
) -> None:
    gateway = started(start_gateway, config(hub, ["192.0.2.0/24"]))
    assert status(send_raw(gateway.url, header + ASK)) == expected
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as slow:
        for byte in header + ASK:
            slow.sendall(bytes([byte]))
        assert int(slow.recv(100).split(b" ", 2)[1]) == expected, "byte by byte"


def test_connections_are_counted_for_the_client(hub: Hub, start_gateway: StartGateway) -> None:
    gateway = started(start_gateway, config(hub, ["192.0.2.0/24"], connections_per_address=1))
    keep = ASK.replace(b"Connection: close\r\n", b"")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as one:
        one.sendall(LINE + keep[:-2])  # a request that never ends
        other = LINE.replace(b"192.0.2.1", b"192.0.2.2")
        assert status(send_raw(gateway.url, other + ASK)) == 200
        wait_until(lambda: status(send_raw(gateway.url, LINE + ASK)) == 503, "a refusal of the second connection")
    wait_event(gateway, "connections_refused", peer="192.0.2.1")


def test_a_balancer_without_a_header_is_closed_and_named(hub: Hub, start_gateway: StartGateway) -> None:
    gateway = started(start_gateway, config(hub, ["192.0.2.0/24"]))
    for wrong in (ASK, b"PROXY TCP4 192.0.2.1\r\n" + ASK, b"\x16\x03\x01" + bytes(300)):
        assert send_raw(gateway.url, wrong)[0] == b""
    told = wait_event(gateway, "proxy_header_invalid", peer="127.0.0.1")
    assert "server.proxy_protocol" in told["reason"]
    assert len(events(gateway, "proxy_header_invalid")) == 1, "and not once for each connection"


def test_a_header_from_elsewhere_is_not_http(hub: Hub, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, ["192.0.2.0/24"], proxy_protocol=["10.0.0.0/8"]))
    assert status(send_raw(gateway.url, LINE + ASK)) == 400
    assert status(send_raw(gateway.url, ASK)) == 403


def test_before_tls(hub: Hub, start_gateway: StartGateway, authority: Authority) -> None:
    certificate = authority.issue()
    tls = {"tls_cert": str(certificate.cert_file), "tls_key": str(certificate.key_file)}
    gateway = started(start_gateway, config(hub, ["192.0.2.0/24"], **tls), scheme="https")
    context = ssl.create_default_context(cafile=authority.ca_file)
    for client, expected in (("192.0.2.1", 200), ("192.0.3.1", 403)):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as plain:
            plain.sendall(LINE.replace(b"192.0.2.1", client.encode()))
            with context.wrap_socket(plain, server_hostname="localhost") as encrypted:
                encrypted.sendall(ASK)
                assert int(encrypted.recv(100).split(b" ", 2)[1]) == expected
    outgoing = ssl.MemoryBIO()
    hello = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as at_once:
        at_once.sendall(LINE + outgoing.read())
        assert at_once.recv(5)[:1] == b"\x16", "the server's part of the handshake, though all came in one piece"


def test_a_header_that_comes_while_the_server_ends_is_too_late(hub: Hub, start_gateway: StartGateway) -> None:
    blob = Blob.generated(4 * 2**20, 3)
    hub.add_blob("library/app", blob)
    hub.script(faults.stall(2**20), role="cdn", times=None)
    gateway = started(start_gateway, config(hub, ["192.0.2.0/24"]))
    address = ("127.0.0.1", gateway.port)
    with socket.create_connection(address, timeout=30) as pull, socket.create_connection(address, timeout=30) as late:
        pull.sendall(LINE + b"GET /v2/app/blobs/%b HTTP/1.1\r\nHost: a\r\n\r\n" % blob.digest.encode())
        assert pull.recv(100).startswith(b"HTTP/1.1 200")
        late.sendall(LINE[:10])
        gateway.process.signal(signal.SIGTERM)
        wait_event(gateway, "stopping")
        late.sendall(LINE[10:] + ASK)
        with contextlib.suppress(ConnectionError):
            assert late.recv(100) == b""
    assert gateway.process.wait(30) == 0, "it waits for nobody when the pull has ended"
    gateway.stopped = True
    hub.clear()


@pytest.mark.real
@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"])
def test_haproxy(hub: Hub, start_gateway: StartGateway, tmp_path: Path, authority: Authority, version: str) -> None:
    """With its checks of health, and TLS to the gateway behind the header."""
    certificate = authority.issue()
    tls = {"tls_cert": str(certificate.cert_file), "tls_key": str(certificate.key_file)}
    gateway = started(start_gateway, config(hub, ["127.0.0.9/32"], **tls), scheme="https")
    port = free_port()
    text = replaced(
        example("docs/clients.md", "text", "check-send-proxy"),
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("10.0.0.10:443", f"127.0.0.1:{gateway.port}"),
        ("send-proxy-v2 ", f"{version} "),
        ("inter 2s", "inter 50ms"),
    )
    context = ssl.create_default_context(cafile=authority.ca_file)
    with haproxy(tmp_path, port, text):
        for client, expected in (("127.0.0.9", 200), ("127.0.0.1", 403)):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(client, 0)) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as encrypted,
            ):
                encrypted.sendall(ASK)
                assert int(encrypted.recv(100).split(b" ", 2)[1]) == expected
    assert not events(gateway, "proxy_header_invalid"), "not even by its checks of health"
