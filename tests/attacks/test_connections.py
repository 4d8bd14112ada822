"""Connections that never become a request, that are idle, or that are too many."""

import socket
import time
from collections.abc import Iterator

import pytest

from tests.attacks.strangers import Memory, is_cut, pour, strangers, wait_answered, wait_cut
from tests.faults.conftest import REPOSITORY, Stage, config, open_stage
from tests.faults.kept import is_whole, wait_event, wait_kept
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.processes import free_port, tcp_answers
from tests.support.tls import Authority
from tests.support.waiting import wait_until

MOST = 5
SMALL = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    server = {"connections_per_address": MOST}
    with Hub() as hub, open_stage(tmp_path_factory.mktemp("many"), hub, {}, server=server) as stage:
        stage.big = Blob.generated(32 * MIB, 41)
        hub.add_blob(REPOSITORY, stage.big)
        assert is_whole(fetch(stage.big_url), stage.big)
        wait_kept(stage.folder, stage.big)
        yield stage


def ask_big(stage: Stage) -> bytes:
    return b"GET /v2/app/blobs/%b HTTP/1.1\r\nHost: a\r\n\r\n" % stage.big.digest.encode()


def whole_answer(one: socket.socket) -> bytes:
    one.settimeout(30)
    return b"".join(iter(lambda: one.recv(65536), b""))


def test_an_address_has_so_many_connections_and_no_more(stage: Stage) -> None:
    with strangers(stage.gateway.url, MOST, address="127.0.0.2") as busy:
        pour(busy, ask_big(stage))
        wait_answered(busy)
        with strangers(stage.gateway.url, 1, address="127.0.0.2") as (one_more,):
            answer = whole_answer(one_more)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"\r\nretry-after: 5\r\n" in answer
        assert b"server.connections_per_address" in answer
        assert fetch(f"{stage.gateway.url}/v2/").status == 200, "another address"
        assert not any(map(is_cut, busy))
    wait_event(stage.gateway, "connections_refused", peer="127.0.0.2")
    with strangers(stage.gateway.url, 1, address="127.0.0.2") as (later,):
        later.sendall(SMALL.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert whole_answer(later).startswith(b"HTTP/1.1 200")


def test_who_is_refused_learns_why_whatever_it_was_sending(stage: Stage) -> None:
    """Without care the kernel answers what still comes with a reset, and the client sees nothing else."""
    head = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n"
    with strangers(stage.gateway.url, MOST, address="127.0.0.7") as busy:
        pour(busy, ask_big(stage))
        wait_answered(busy)
        with strangers(stage.gateway.url, 1, address="127.0.0.7") as (one_more,):
            slowly(one_more, [head, b"\r\n"])
            assert whole_answer(one_more).startswith(b"HTTP/1.1 503")
    with strangers(stage.gateway.url, 1, address="127.0.0.8") as (too_large,):
        slowly(too_large, [head, *[b"a: %b\r\n" % (b"x" * 6000)] * 5])
        assert whole_answer(too_large).startswith(b"HTTP/1.1 431")


def slowly(one: socket.socket, parts: list[bytes]) -> None:
    for part in parts:
        one.sendall(part)
        time.sleep(0.1)  # what makes it slow


def test_an_idle_connection_makes_room(stage: Stage) -> None:
    with strangers(stage.gateway.url, MOST, address="127.0.0.3") as known:
        pour(known[1:], ask_big(stage))
        pour(known[:1], SMALL)
        wait_answered(known)
        with strangers(stage.gateway.url, 1, address="127.0.0.3") as (one_more,):
            one_more.sendall(SMALL.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert whole_answer(one_more).startswith(b"HTTP/1.1 200")
        wait_cut(known[:1])
        assert not any(map(is_cut, known[1:]))


@pytest.mark.parametrize("further", [{"connections_per_address": 0}, {"trusted_proxies": ["127.0.0.4/32"]}])
def test_any_number_where_there_is_no_limit(stage: Stage, further: dict[str, object]) -> None:
    settings = config(stage.folder.parent, stage.hub)
    settings["server"] = {"connections_per_address": MOST, **further}
    with Gateway.start(stage.folder.parent / "more", settings) as gateway:
        memory = Memory(gateway)
        with strangers(gateway.url, 300, address="127.0.0.4") as idle:
            pour(idle, SMALL)
            wait_answered(idle)
            growth = memory.growth_mib
            assert not any(map(is_cut, idle))
            assert fetch(f"{gateway.url}/v2/").status == 200
        assert growth < 20, f"+{growth:.0f} MiB for 300 idle connections"


def test_what_never_becomes_a_request_is_closed(stage: Stage, authority: Authority) -> None:
    """All at once, because each has its ten seconds."""
    certificate = authority.issue()
    settings = config(stage.folder.parent, stage.hub)
    settings["server"] = {"tls_cert": str(certificate.cert_file), "tls_key": str(certificate.key_file)}
    port = free_port()
    form = b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nscope="
    begun = {
        "nothing": b"",
        "a line break": b"\r\n",
        "half a head": SMALL[:-4],
        "half a head after an answer": SMALL + SMALL[:-2],
        "half a form": form,
        "half a form after an answer": SMALL + form,
        "half a form in chunks": form.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked"),
    }
    with (
        Gateway.start(stage.folder.parent / "tls", settings, port=port, scheme="https", wait=False) as encrypted,
        strangers(stage.gateway.url, MOST, address="127.0.0.5") as some,
        strangers(stage.gateway.url, len(begun) - MOST, address="127.0.0.6") as others,
    ):
        wait_until(lambda: tcp_answers(port), "a listener")
        with strangers(encrypted.url, 2) as handshakes:
            handshakes[1].sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            for one, data in zip([*some, *others], begun.values(), strict=True):
                one.sendall(data)
            wait_cut([*some, *others, *handshakes], 50)
