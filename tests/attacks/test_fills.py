"""Many fills at once: what they cost others, and what one client can take of what all share.

Clients come from addresses of their own (127.0.0.2 beside 127.0.0.1). The numbers are rows of the table of bounds in
docs/security.md. Not here: room (test_room.py).
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from tests.attacks.test_room import add, asked, keep, peak_bytes, stage_of
from tests.faults.kept import file_of, wait_kept
from tests.support import faults
from tests.support.content import MIB
from tests.support.http import Stream, fetch
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.conftest import Stage
    from tests.support.content import Blob

VICTIM = "127.0.0.2"


def send(stage: Stage, path: str, address: str = "127.0.0.1") -> socket.socket:
    """Ask from an address, and read nothing yet."""
    parts = urlsplit(stage.gateway.url)
    connection = socket.create_connection((parts.hostname or "", parts.port or 0), 60, (address, 0))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
    return connection


def ask(stage: Stage, blob: Blob, address: str = "127.0.0.1") -> socket.socket:
    return send(stage, f"/v2/app/blobs/{blob.digest}", address)


def pull(stage: Stage, blob: Blob, address: str) -> float:
    """How long an honest pull from an address takes."""
    began = time.monotonic()
    with Stream(ask(stage, blob, address), "GET") as stream:
        assert stream.read_all() == blob.data
    return time.monotonic() - began


PROBER = """
import socket, sys
address, port, paths = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
number = 0
while sys.stdin.readline():
    number += 1
    for path in paths:
        with socket.create_connection(("127.0.0.1", port), 120, (address, 0)) as connection:
            lines = (f"GET {path}?{number} HTTP/1.1", "Host: gw", "Connection: close", "", "")
            connection.sendall("\\r\\n".join(lines).encode())
            head = connection.recv(12)
            assert head.endswith(b"200"), head
            while connection.recv(65536):
                pass
    print(number, flush=True)
"""


@contextmanager
def probed(stage: Stage, *paths: str) -> Iterator[Callable[[], int]]:
    """Ask again and again for what is kept, from a process of its own, one after the other; how often that was done."""
    rounds, is_over = 0, threading.Event()
    argv = [sys.executable, "-c", PROBER, VICTIM, str(stage.gateway.port), *paths]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as prober:
        assert prober.stdin is not None
        assert prober.stdout is not None

        def probe(sent: IO[str], answered: IO[str]) -> None:
            nonlocal rounds
            while not is_over.is_set():
                print(file=sent, flush=True)
                rounds = int(answered.readline())

        thread = threading.Thread(target=probe, args=(prober.stdin, prober.stdout))
        thread.start()
        try:
            yield lambda: rounds
        finally:
            is_over.set()
            thread.join()
            prober.stdin.close()


def test_17_three_hundred_fills_of_one_client_hold_up_nobody_else(tmp_path: Path) -> None:
    with stage_of(tmp_path, {"connections": 1}) as stage:
        many = [add(stage, 2 * MIB, seed) for seed in range(300)]
        one = add(stage, 2 * MIB, seed=1000)
        kept = keep(stage, add(stage, 64, seed=1001))
        assert fetch(stage.manifest_url).status == 200
        before = peak_bytes(stage)
        with ExitStack() as stack:
            for blob in many:
                stack.enter_context(ask(stage, blob))
            # connections and requests have bounds of their own: this is about fills
            wait_until(lambda: bool(stage.hub.find("cdn")), "the first fill")
            probing = probed(stage, "/v2/app/manifests/latest", f"/v2/app/blobs/{kept.digest}")
            rounds = stack.enter_context(probing)
            wait_until(lambda: kept_of(stage, many) > 0, "the first of many")
            # how soon is up to the stand-in, which serves all connections alike, and is busier than the gateway; the
            # next test shows that another client's fill begins at once
            pull(stage, one, VICTIM)
            wait_kept(stage.folder, one)
            wait_until(lambda: kept_of(stage, many) >= 250, "most of many", timeout_s=120)
            answered = 2 * rounds()
        grown = peak_bytes(stage) - before
        print(f"{answered} answers for others meanwhile; {grown / MIB:.0f} MiB")
        assert answered >= 6, f"300 fills went on, and others had {answered} answers from what is kept"
        assert grown < 160 * MIB, f"300 fills cost {grown / MIB:.0f} MiB"


def asked_for(stage: Stage) -> set[str]:
    """The digests of what the CDN was asked for."""
    return {f"sha256:{exchange.request.path.split('/')[-2]}" for exchange in stage.hub.find("cdn", "GET")}


def fills_of(stage: Stage, blobs: list[Blob]) -> int:
    """How many of these blobs are being kept now."""
    under_way = " ".join(path.name for path in (stage.folder / "partial").glob("*.json"))
    return sum(blob.digest.removeprefix("sha256:") in under_way for blob in blobs)


def kept_of(stage: Stage, blobs: list[Blob]) -> int:
    return sum(file_of(stage.folder, blob).exists() for blob in blobs)


def test_17_one_client_has_most_places_for_fills_and_never_all(tmp_path: Path) -> None:
    with stage_of(tmp_path, {"connections": 1}, read_timeout="60s") as stage:
        many = [add(stage, 200_000, seed) for seed in range(190)]
        one = add(stage, 200_000, seed=1000)
        stalled = "|".join(blob.digest.removeprefix("sha256:") for blob in many)
        stage.hub.script(faults.stall(100_000), role="cdn", path=stalled, times=None)
        with ExitStack() as stack:
            for blob in many:
                stack.enter_context(ask(stage, blob))
            wait_until(lambda: fills_of(stage, many) >= 170, "as many as one may have")
            pull(stage, one, VICTIM)
            wait_kept(stage.folder, one)
            assert asked(stage, one) == 1
            fills = fills_of(stage, many)
            assert fills <= 171, f"one client has {fills} of 256 places"
            # the others of them are not refused: they are streamed, without being kept
            wait_until(lambda: asked_for(stage) >= {blob.digest for blob in many}, "an answer for all")
            assert sum(asked(stage, blob) for blob in many) == len(many)
            assert fills_of(stage, many) == fills
            stage.hub.release_stalls()


def test_17_one_client_does_not_keep_all_connections_to_an_upstream(tmp_path: Path) -> None:
    with stage_of(tmp_path, {"parallel_from": "4MiB"}) as stage:
        stage.hub.script(faults.throttle(2 * MIB), role="cdn", times=None)
        alone = pull(stage, add(stage, 24 * MIB, seed=1), VICTIM)
        many = [add(stage, 150 * MIB, seed) for seed in range(10, 18)]
        one = add(stage, 24 * MIB, seed=2)
        with ExitStack() as stack:
            for blob in many:
                stack.enter_context(ask(stage, blob))

            def open_now() -> int:
                return sum(exchange.state == "open" for exchange in stage.hub.find("cdn"))

            wait_until(lambda: open_now() >= len(many) + 24, "one client has all connections")
            beside = pull(stage, one, VICTIM)
        print(f"alone {alone:.1f} s, beside it {beside:.1f} s")
        assert asked(stage, one) >= 4, "it had no more than one connection"
        assert beside < 2.5 * alone, (
            f"beside a client that has all connections it took {beside:.1f} s, alone {alone:.1f}"
        )
