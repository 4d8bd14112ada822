"""The bad link: what it delays, limits, counts and breaks. No hubferry here."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.content import MIB, Blob
from tests.support.exchange import Recorder, Reply
from tests.support.http import fetch
from tests.support.relay import Relay
from tests.support.waiting import wait_until
from tests.support.wire import WireServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.exchange import Ending, Received
    from tests.support.http import Answer

BODY = Blob.generated(MIB + 17, seed=3)
LARGE = Blob.generated(32 * MIB)  # more than the buffers of the kernel take
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
RTT_S = 0.1


def respond(request: Received) -> Reply:
    return Reply(body={"/blob": BODY, "/large": LARGE}.get(request.path, Blob(b"small")))


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer("upstream", respond, Recorder()) as running:
        yield running


@pytest.fixture
def quick(server: WireServer) -> Iterator[Relay]:
    with Relay(server.port, rtt_s=0.002, bytes_per_s=None) as relay:
        yield relay


@contextlib.contextmanager
def connected(relay: Relay) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as connection:
        yield connection


def ask(connection: socket.socket) -> float:
    """Seconds until the small answer is there."""
    started = time.monotonic()
    connection.sendall(REQUEST)
    received = b""
    while not received.endswith(b"small"):
        received += connection.recv(65536)
    return time.monotonic() - started


def head_size(relay: Relay) -> int:
    """The bytes of an answer before its body."""
    before = relay.down
    answer = fetch(relay.url + "/blob")
    wait_until(lambda: relay.open_connections == 0, "the end of every connection", seen=lambda: relay.traffic)
    return relay.down - before - len(answer.body)


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(0.3)
    try:
        connection.recv(MIB)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)
    return False


def test_bytes_arrive_as_they_were_and_are_counted(server: WireServer, quick: Relay) -> None:
    posted = random.Random(1).randbytes(3 * MIB)
    assert fetch(quick.url + "/blob").body == BODY.data
    assert fetch(quick.url + "/post", "POST", body=posted).body == b"small"
    assert server.recorder.exchanges[-1].request.body == posted
    first, second = quick.traffic
    assert BODY.size < first.down < BODY.size + 1000
    assert len(posted) < second.up < len(posted) + 1000
    assert (quick.up, quick.down) == (first.up + second.up, first.down + second.down)
    wait_until(lambda: quick.open_connections == 0, "the end of every connection", seen=lambda: quick.traffic)


def test_a_new_connection_takes_two_round_trips_and_an_open_one_takes_one(server: WireServer) -> None:
    with Relay(server.port, rtt_s=RTT_S) as relay, connected(relay) as connection:
        first_s, second_s = ask(connection), ask(connection)
    assert first_s >= 2 * RTT_S
    assert RTT_S <= second_s < first_s


def test_every_connection_has_a_rate_of_its_own(server: WireServer) -> None:
    with Relay(server.port, rtt_s=0.002, bytes_per_s=2 * MIB) as relay, ThreadPoolExecutor(4) as pool:

        def get(_number: int) -> Answer:
            return fetch(relay.url + "/blob")

        alone_s = get(0).seconds
        together = list(pool.map(get, range(4)))
    assert all(answer.body == BODY.data for answer in together)
    fastest_s, slowest_s = min(answer.seconds for answer in together), max(answer.seconds for answer in together)
    assert min(alone_s, fastest_s) > 0.9 * BODY.size / (2 * MIB)
    assert slowest_s < 3 * alone_s, "a rate for all of them would take four times as long"


@pytest.mark.parametrize(("ending", "ended"), [("fin", "short"), ("rst", "reset")])
def test_a_cut_comes_after_the_byte_it_was_asked_for(quick: Relay, ending: Ending, ended: str) -> None:
    before = head_size(quick)
    quick.cut_after(before + 300_000, ending)
    answers = [fetch(quick.url + "/blob") for _ in range(2)]
    assert [(answer.ended, answer.body) for answer in answers] == 2 * [(ended, BODY.data[:300_000])]
    assert (quick.cuts, quick.traffic[-1].down) == (2, before + 300_000)
    quick.heal()
    assert fetch(quick.url + "/blob").ended == "complete"


def test_a_cut_counts_what_an_open_connection_has_let_through(quick: Relay) -> None:
    with connected(quick) as connection:
        ask(connection)
        passed = quick.down
        quick.cut_after(passed + 10)
        connection.sendall(REQUEST)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert (len(received), quick.cuts) == (10, 1)


def test_a_seed_cuts_in_the_same_places(quick: Relay) -> None:
    def places(seed: int) -> list[tuple[int, str]]:
        # an open one would take the first place
        wait_until(lambda: quick.open_connections == 0, "the end of every connection", seen=lambda: quick.traffic)
        quick.cut_at_random(seed, 1000, 500_000)
        return [(len(answer.body), answer.ended) for answer in (fetch(quick.url + "/blob") for _ in range(8))]

    found = places(1)
    assert places(1) == found != places(2)
    assert all(size < 500_000 for size, _ in found)
    assert {ended for _, ended in found} == {"short", "reset"}


def test_a_stall_lasts_until_the_client_leaves(server: WireServer, quick: Relay) -> None:
    quick.stall_after(500_000)
    with connected(quick) as connection:
        connection.sendall(REQUEST.replace(b"/", b"/large", 1))
        received = 0
        while received < 500_000:
            received += len(connection.recv(65536))
        quick.heal()
        assert is_silent(connection)
        assert (received, quick.traffic[0].open, quick.cuts) == (500_000, True, 0)
    wait_until(lambda: quick.open_connections == 0, "the end of every connection", seen=lambda: quick.traffic)
    server.recorder.wait_until(lambda: server.recorder.exchanges[0].state == "aborted")


def test_a_blackhole_accepts_and_lets_nothing_through_while_it_lasts(server: WireServer, quick: Relay) -> None:
    with connected(quick) as old:
        ask(old)
        quick.blackhole()
        with connected(quick) as new:
            for connection in (old, new):
                connection.sendall(REQUEST)
                assert is_silent(connection)
            assert server.recorder.count() == 1
            quick.blackhole(False)
            assert old.recv(4) == new.recv(4) == b"HTTP"


def test_a_blackhole_swallows_the_rest_of_an_answer(server: WireServer, quick: Relay) -> None:
    with connected(quick) as connection:
        connection.sendall(REQUEST.replace(b"/", b"/large", 1))
        connection.recv(1)
        quick.blackhole()
        while not is_silent(connection):
            pass
        assert quick.down < LARGE.size
        quick.blackhole(False)
        assert connection.recv(1)


def test_refusing_is_the_kernel_s_and_spares_open_connections(quick: Relay) -> None:
    with connected(quick) as connection:
        ask(connection)
        quick.refuse()
        with pytest.raises(ConnectionRefusedError), connected(quick):
            pass
        ask(connection)
        quick.refuse(False)
        assert fetch(quick.url + "/").body == b"small"


def test_dropping_resets_what_is_open(quick: Relay) -> None:
    with connected(quick) as connection:
        ask(connection)
        quick.drop()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert (quick.open_connections, quick.cuts) == (0, 1)
    assert fetch(quick.url + "/").body == b"small"


def test_an_upstream_that_is_gone_shows_as_a_reset(server: WireServer, quick: Relay) -> None:
    server.close()
    with connected(quick) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


def test_closing_ends_connections(server: WireServer) -> None:
    with Relay(server.port) as relay, connected(relay) as connection:
        connection.sendall(REQUEST)
        relay.close()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        assert relay.open_connections == 0
