"""Connections that are lost in every way there is, with TLS and without: nothing of them stays."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.attacks.strangers import Memory, any_certificate
from tests.faults.conftest import config
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.processes import free_port, tcp_answers
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.tls import Authority

TIMES = 1500
MOST = 20
REQUEST = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"
STAYS_MIB = 6  # before, a connection left 8 to 65 KiB behind: 11 to 95 MiB


@contextmanager
def listening(tmp_path: Path, authority: Authority | None, **server: object) -> Iterator[Gateway]:
    """A gateway, with TLS if there is an authority; when it ends it has cut nobody off."""
    port = free_port()
    with Hub(strict=False) as hub:
        settings = config(tmp_path, hub)
        settings["server"] = {"shutdown_grace": "5s", **server}
        if authority is not None:
            certificate = authority.issue()
            settings["server"] |= {"tls_cert": str(certificate.cert_file), "tls_key": str(certificate.key_file)}
        scheme = "http" if authority is None else "https"
        with Gateway.start(tmp_path / "gateway", settings, port=port, scheme=scheme, wait=False) as gateway:
            wait_until(lambda: tcp_answers(port), "a listener")
            assert fetch(f"{gateway.url}/v2/", context=any_certificate()).status in (200, 401)
            yield gateway
        assert not [line for line in gateway.log_records() if line["event"] == "cut_off"]


def connected(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=30)


def comes_and_goes(gateway: Gateway) -> None:
    connected(gateway).close()


def sends_a_byte_and_goes(gateway: Gateway) -> None:
    with connected(gateway) as one:
        one.sendall(b"\x16")


def resets_while_it_is_greeted(gateway: Gateway) -> None:
    with connected(gateway) as one:
        one.sendall(b"\x16\x03\x01\x02\x00\x01")
        reset(one)


def asks_and_resets(gateway: Gateway) -> None:
    with connected(gateway) as one:
        one.sendall(REQUEST)
        assert one.recv(4096)
        reset(one)


def asks_and_goes_without_a_word(gateway: Gateway) -> None:
    with encrypted(gateway) as one:
        one.sendall(REQUEST)
        assert one.recv(4096)
        reset(one)


def reset(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def encrypted(gateway: Gateway) -> ssl.SSLSocket:
    return any_certificate().wrap_socket(connected(gateway))


def accepted(gateway: Gateway) -> int:
    """How many connections it has open. Asked so often, psutil would take more CPU than the gateway."""
    port = f":{gateway.port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines() if port in line)
    # the listening socket has no port at the other side; without an inode a connection is nobody's any more
    return sum(row[1].endswith(port) and not row[2].endswith(":0000") and row[9] != "0" for row in rows)


@pytest.mark.parametrize("lose", [comes_and_goes, sends_a_byte_and_goes, resets_while_it_is_greeted])
def test_who_leaves_a_handshake_leaves_nothing(
    tmp_path: Path, authority: Authority, lose: Callable[[Gateway], None]
) -> None:
    with listening(tmp_path, authority) as gateway:
        check_nothing_stays(gateway, lose, TIMES)


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_who_leaves_an_idle_connection_leaves_nothing(
    tmp_path: Path, authority: Authority, *, is_encrypted: bool
) -> None:
    with listening(tmp_path, authority if is_encrypted else None) as gateway:
        if is_encrypted:
            check_nothing_stays(gateway, asks_and_goes_without_a_word, TIMES // 3)
        else:
            check_nothing_stays(gateway, asks_and_resets, TIMES)


def check_nothing_stays(gateway: Gateway, lose: Callable[[Gateway], None], times: int) -> None:
    for _ in range(100):  # what is grown once has grown
        lose(gateway)
    memory = Memory(gateway)
    for _ in range(times):
        lose(gateway)
    left = memory.settles_below(STAYS_MIB * times / TIMES, timeout_s=15)
    print(f"{lose.__name__}: +{left:.1f} MiB for {times}")
    assert left < STAYS_MIB * times / TIMES, f"+{left:.1f} MiB for {times}"
    wait_until(lambda: accepted(gateway) == 0, "the end of every connection", 15)


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_idle_connections_that_make_room_are_really_closed(
    tmp_path: Path, authority: Authority, *, is_encrypted: bool
) -> None:
    """Their clients say nothing and close nothing."""
    with (
        listening(tmp_path, authority if is_encrypted else None, connections_per_address=MOST) as gateway,
        ExitStack() as stack,
    ):
        most = 0
        for number in range(10 * MOST):
            one = stack.enter_context(encrypted(gateway) if is_encrypted else connected(gateway))
            one.sendall(REQUEST)
            assert one.recv(4096)
            if number % 4 == 3:  # what was left open would still be there
                most = max(most, accepted(gateway))
        assert most <= MOST + 3, f"{most} connections of one address, which may have {MOST}"
