"""Row 7: small bodies that are never read, and the time after which who takes nothing is cut."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.strangers import Memory, is_held_up, pour, slowest_s, strangers, wait_answered, wait_cut
from tests.faults.conftest import REPOSITORY, Stage, open_stage
from tests.support.content import MIB
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import Image, build_image
from tests.support.waiting import wait_until

CONNECTIONS = 150
IMAGES = 12  # more than are remembered in memory


def large_image(number: int) -> Image:
    """Its manifest has almost the 4 MiB that are allowed."""
    return build_image(f"large-{number}", annotations={"padding": "x" * (4 * MIB - 10_000)})


def ask(*numbers: int) -> bytes:
    return b"".join(b"GET /v2/app/manifests/large-%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in numbers)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    server = {"write_timeout": "3s"}
    with Hub() as hub, open_stage(tmp_path_factory.mktemp("unread"), hub, {"prefetch": False}, server=server) as stage:
        for number in range(IMAGES):
            hub.add(REPOSITORY, f"large-{number}", large_image(number))
            assert fetch(f"{stage.gateway.url}/v2/app/manifests/large-{number}").status == 200
        assert fetch(stage.manifest_url).status == 200
        yield stage


def test_row_7_manifests_that_are_never_read(stage: Stage) -> None:
    quiet_s = slowest_s(stage.manifest_url)
    memory = Memory(stage.gateway)
    with strangers(stage.gateway.url, CONNECTIONS, receive_buffer=4096) as sockets:
        for number, one in enumerate(sockets):  # one after the other: those who ask together are given the same bytes
            # the buffers of a connection take a whole one, or two
            pour([one], ask(*((number + more) % IMAGES for more in range(4))))
            wait_answered([one])
        growth = memory.peak_mib(1)
        waited_s = slowest_s(stage.manifest_url)
        growth = max(growth, memory.growth_mib)
        print(f"+{growth:.0f} MiB; others {quiet_s:.3f} -> {waited_s:.3f} s")
        wait_cut(sockets)
        left = memory.settles_below(60)
    figures = f"+{growth:.0f} MiB, +{left:.0f} when they are cut; others {quiet_s:.3f} -> {waited_s:.3f} s"
    print(figures)
    assert growth < 95, figures
    assert left < 60, figures
    assert not is_held_up(quiet_s, waited_s), figures
    answer = fetch(f"{stage.gateway.url}/v2/app/manifests/large-0")
    assert len(answer.json()["annotations"]["padding"]) == 4 * MIB - 10_000


def test_row_7_slow_readers_of_many_addresses_do_not_hold_all_the_room(tmp_path: Path) -> None:
    """Each takes a little more than is asked of it, so that nobody cuts it for that."""
    addresses = [f"127.0.3.{number}" for number in range(1, 9)]
    with Hub() as hub, open_stage(tmp_path, hub, {"prefetch": False}) as stage, ExitStack() as stack:
        for number in range(IMAGES):
            hub.add(REPOSITORY, f"large-{number}", large_image(number))
            assert fetch(f"{stage.gateway.url}/v2/app/manifests/large-{number}").status == 200
        slow = []
        for address in addresses:
            slow += stack.enter_context(strangers(stage.gateway.url, 2, address=address, receive_buffer=4096))
        for number, one in enumerate(slow):
            pour([one], ask(*((number + more) % IMAGES for more in range(4))))
        wait_answered(slow[:8])  # as many as there is room for
        stop = threading.Event()
        dripping = threading.Thread(target=drip, args=(slow, stop))
        dripping.start()
        try:
            answer = fetch(f"{stage.gateway.url}/v2/app/manifests/large-0", timeout_s=100)
        finally:
            stop.set()
            dripping.join()
        assert len(answer.json()["annotations"]["padding"]) == 4 * MIB - 10_000

        def cut() -> list[dict[str, Any]]:
            return [line for line in stage.gateway.log_records() if "others waited" in str(line.get("problem"))]

        wait_until(lambda: bool(cut()), "some are cut")
        print(f"{answer.seconds:.1f} s, {len(cut())} cut")
        assert all(line["outcome"] == "cut" for line in cut())


def drip(sockets: list[socket.socket], stop: threading.Event) -> None:
    """Read 4 KiB/s of each until told to stop."""
    while not stop.wait(0.5):
        for one in sockets:
            with suppress(OSError):
                one.recv(2048)
