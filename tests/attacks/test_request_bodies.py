"""Bodies of requests, which nobody wants but for forms: they are bounded, however they are sent."""

from collections.abc import Iterator

import pytest

from tests.attacks.strangers import Memory, is_held_up, pour, slowest_s, strangers, wait_cut
from tests.faults.conftest import Stage, open_stage
from tests.support.http import fetch, send_raw
from tests.support.hub import Hub

CONNECTIONS = 40
FORM = b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
CHUNKED = FORM + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "an upload": (b"PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n", b"x" * 9),
    "a GET with a length": (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n", b"x" * 9),
    "a form with a length": (FORM + b"Content-Length: 1000000000000\r\n\r\n", b"x" * 9),
    "a form in chunks": (CHUNKED, b"9\r\nxxxxxxxxx\r\n"),
    "a form in tiny chunks": (CHUNKED, b"1\r\nx\r\n"),
    "a chunk's extension": (CHUNKED + b"1;", b"e=e;" * 3),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"a: b\r\n"),
    "one trailer": (CHUNKED + b"1\r\nx\r\n0\r\na: ", b"b" * 9),
}  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Hub() as hub, open_stage(tmp_path_factory.mktemp("forms"), hub, {}) as stage:
        assert fetch(stage.manifest_url).status == 200
        hub.state.users["u"] = "p"
        yield stage


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS.keys())
def test_a_body_without_end(stage: Stage, begin: bytes, more: bytes) -> None:
    quiet_s = slowest_s(stage.manifest_url, 10)
    memory = Memory(stage.gateway)
    with strangers(stage.gateway.url, CONNECTIONS) as sockets:
        pour(sockets, begin + more * (500_000 // len(more)), patience_s=0.3)
        growth = memory.growth_mib
        waited_s = slowest_s(stage.manifest_url, 10)
        wait_cut(sockets)
    figures = f"+{growth:.0f} MiB; others {quiet_s:.3f} -> {waited_s:.3f} s"
    assert growth < 40, figures
    assert not is_held_up(quiet_s, waited_s), figures


def test_forms_are_still_taken(stage: Stage) -> None:
    form = b"grant_type=password&service=a&client_id=x&username=u&password=p&scope=repository:library/app:pull"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in form)
    whole = FORM + b"Content-Length: %d\r\n\r\n" % len(form) + form
    for request in (CHUNKED + chunks + b"0\r\n\r\n", whole.replace(b"Host: a", b"Host: a\r\nConnection: close")):
        received, ended = send_raw(stage.gateway.url, request)
        assert received.startswith(b"HTTP/1.1 200"), received
        assert ended == "complete"


def test_what_follows_a_chunked_body_is_not_answered(stage: Stage) -> None:
    """The connection is closed after the one answer, which says so."""
    smuggled = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"
    received, _ = send_raw(stage.gateway.url, CHUNKED + b"1\r\nx\r\n0\r\n\r\n" + smuggled)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in received


def test_two_forms_on_one_connection(stage: Stage) -> None:
    """A body of a known length ends where it says, also when the next request comes in the same packet."""
    form = b"grant_type=password&username=u&password=p&scope=repository:library/app:pull"
    one = FORM + b"Content-Length: %d\r\n\r\n" % len(form) + form
    last = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for at in range(0, 2 * len(one), 37):
        data = one + one + last
        with strangers(stage.gateway.url, 1) as (client,):
            client.settimeout(30)
            client.sendall(data[:at])
            client.sendall(data[at:])
            received = b"".join(iter(lambda: client.recv(65536), b""))
        assert received.count(b"HTTP/1.1 200") == 3, at
