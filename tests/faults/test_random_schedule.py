"""A schedule of faults drawn at random against a few hundred pulls, on every host that a pull touches.

Every body is right or visibly cut short, none is wrong; afterwards everything can be had, nothing wrong is kept, and
the process holds no more connections and files than before. HUBFERRY_SEED repeats a schedule.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.faults.conftest import REPOSITORY
from tests.faults.kept import check_folder
from tests.faults.test_kept_manifests import kept
from tests.support import faults
from tests.support.content import Blob
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import Index, build_index
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.exchange import Received, Reply

KIB = 1024
BLOBS = 70
PULLS = 320
CLIENTS = 12
SEED = int(os.environ.get("HUBFERRY_SEED") or random.SystemRandom().randrange(10**6))
REFUSALS = {401, 403, 404, 416, 429, 502, 503, 504}

# the faults of one answer, and how often each is drawn
FAULTS: list[tuple[int, Callable[[random.Random], faults.Action]]] = [
    (6, lambda draw: faults.cut(draw.randrange(300 * KIB), draw.choice(["fin", "rst"]))),
    (2, lambda draw: faults.hang_up(draw.choice(["fin", "rst"]))),
    (1, lambda draw: faults.stall(draw.randrange(200 * KIB))),
    (1, lambda _: faults.stall()),
    (4, lambda draw: faults.answer(draw.choice([500, 502, 503]))),
    (1, lambda _: faults.answer(429, b"", (("Retry-After", "1"),))),
    (2, lambda draw: faults.slow_first_byte(draw.random() / 2)),
    (2, lambda draw: faults.throttle(draw.randrange(1, 8) * 64 * KIB)),
    (2, lambda _: faults.no_ranges()),
    (1, lambda draw: faults.flip_byte(draw.randrange(400 * KIB))),
    (1, lambda _: faults.chunked()),
    (1, lambda draw: faults.declare_length(draw.randrange(500 * KIB))),
    (1, lambda _: faults.answer(403)),
]


class Schedule:
    """An action for every request: mostly none, sometimes a fault."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, request: Received, normal: Callable[[], Reply]) -> Reply:
        with self._lock:
            if self._draw.random() < 0.6:
                return normal()
            (make,) = self._draw.choices([make for _, make in FAULTS], [often for often, _ in FAULTS])
            action = make(self._draw)
        return action(request, normal)


def settings(tmp_path: Path, hub: Hub) -> dict[str, Any]:
    limits = {"read_timeout": "400ms", "response_timeout": "1s", "connect_timeout": "1s"}
    found = kept(tmp_path, hub, "50ms", **limits)
    found["cache"].update({"connections": 4, "parallel_from": "64KiB", "patience": "5s"})
    return found


def check(answer: Answer, data: bytes, start: int = 0) -> str:
    """What became of a pull; fails when what it gave is wrong."""
    if answer.status in REFUSALS:
        assert answer.ended == "complete", answer
        assert answer.error_code
        return f"refused {answer.status}"
    assert answer.status in (200, 206), answer
    wanted = data[start:] if answer.status == 206 else data
    if answer.ended != "complete":  # what a blob turned out to be not may have been on its way
        return "cut"
    assert answer.body == wanted, "wrong bytes, properly ended"
    return "whole"


def held(gateway: Gateway) -> tuple[int, int]:
    """Connections and open files of the process."""
    process = psutil.Process(gateway.pid)
    return len(process.net_connections("tcp")), len(process.open_files())


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_nothing_wrong_is_ever_given_and_nothing_is_left_behind(tmp_path: Path, hub: Hub, seed: int) -> None:
    print(f"HUBFERRY_SEED={seed}")
    draw = random.Random(seed)
    sizes = [draw.choice([1, 40 * KIB, 300 * KIB, 900 * KIB]) + draw.randrange(5000) for _ in range(BLOBS)]
    blobs = [Blob.generated(size, 10_000 * seed + number) for number, size in enumerate(sizes)]
    for blob in blobs:
        hub.add_blob(REPOSITORY, blob)
    images: list[Index] = [build_index(f"random {number}") for number in range(6)]
    for number, image in enumerate(images):
        hub.add(REPOSITORY, f"v{number}", image)
    jobs = [(draw.random(), draw.randrange(BLOBS), draw.random()) for _ in range(PULLS)]
    results: Counter[str] = Counter()
    problems: list[BaseException] = []
    with Gateway.start(tmp_path / "gateway", settings(tmp_path, hub)) as gateway:
        before = held(gateway)

        def pull(kind: float, number: int, where: float) -> str:
            if kind < 0.2:
                image = images[number % len(images)]
                return check(fetch(f"{gateway.url}/v2/app/manifests/v{number % len(images)}"), image.manifest)
            blob = blobs[number]
            url = f"{gateway.url}/v2/app/blobs/{blob.digest}"
            if kind < 0.4:
                start = int(blob.size * where)
                return check(fetch(url, headers=[("Range", f"bytes={start}-")]), blob.data, start)
            return check(fetch(url), blob.data)

        def client() -> None:
            while jobs:
                try:
                    result = pull(*jobs.pop())
                    results[result] += 1
                    if result == "refused 429":
                        time.sleep(0.3)  # as a client does that is refused
                except IndexError:
                    return
                except BaseException as problem:  # noqa: BLE001 - told at the end, with the seed
                    problems.append(problem)

        hub.script(Schedule(seed), times=None)
        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(dict(results))
        assert not problems, (f"HUBFERRY_SEED={seed}", problems)
        assert results["whole"] > PULLS / 4, "most of it is to come through"
        hub.clear()
        hub.release_stalls()

        def everything_can_be_had() -> bool:
            answers = [(fetch(f"{gateway.url}/v2/app/blobs/{blob.digest}"), blob.data) for blob in blobs]
            return all(check(answer, data) == "whole" for answer, data in answers)

        wait_until(everything_can_be_had, "that everything can be had again")
        check_folder(tmp_path / "data")
        # connections to the upstream lie idle for half a minute: only what is more than these counts
        wait_until(lambda: held(gateway)[1] <= before[1], "that no file of a blob stays open")
        established = psutil.Process(gateway.pid).net_connections("tcp")
        idle = [one for one in established if one.raddr and one.status == psutil.CONN_ESTABLISHED]
        assert len(idle) <= 64 * len(hub.servers)
        assert not [
            one for one in established if one.status == psutil.CONN_CLOSE_WAIT and one.laddr.port == gateway.port
        ]
