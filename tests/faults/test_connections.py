"""Several connections for one blob, with the real process: what breaks under them, and what a kill leaves.

Not here: every other way in which one of them may fail (tests/fill/test_connections.py).
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from tests.faults.conftest import REPOSITORY, Stage, open_stage
from tests.faults.kept import (
    begin_of,
    bytes_given,
    check_folder,
    check_later_pulls,
    file_of,
    is_whole,
    ranges_asked,
    under_way,
    wait_event,
    wait_kept,
)
from tests.faults.test_killed import connected_to, kill, open_readers
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.exchange import Received, Reply
from tests.support.http import fetch, open_stream
from tests.support.hub import Hub
from tests.support.waiting import wait_until

TOTAL = 32 * MIB
RATE = 4 * MIB
SLOW_RATE = MIB  # so slow that six connections take seconds: what happens between their beginning and end is looked for
ON_THE_WAY = 4 * MIB  # of six connections, when they are closed


@contextmanager
def slow_stage(tmp_path: Path, hub: Hub, **more: int) -> Iterator[Stage]:
    """The big blob is large; tests make each connection to the CDN slow."""
    big = Blob.generated(TOTAL, seed=77)
    hub.add_blob(REPOSITORY, big)
    with open_stage(tmp_path, hub, {"patience": "5s"}, server=more) as stage:
        yield replace(stage, big=big)


@pytest.fixture
def slow(hub: Hub) -> None:
    make_slow(hub)


def make_slow(hub: Hub, rate: int = RATE) -> None:
    hub.script(faults.throttle(rate), role="cdn", times=None)


def front_of(stage: Stage) -> int:
    """How far the file of the big blob is whole; 0 while that is not said apart."""
    for path in under_way(stage.folder, stage.big):
        front = path.with_name(path.name + ".front")
        if front.exists():
            return int.from_bytes(front.read_bytes(), "big")
    return 0


def length_of(stage: Stage) -> int:
    return max((path.stat().st_size for path in under_way(stage.folder, stage.big)), default=0)


def wait_ahead(stage: Stage) -> None:
    """Wait until something is written beyond what is whole, and some of it is whole."""
    wait_until(lambda: length_of(stage) > front_of(stage) + 2 * MIB > 3 * MIB, "written ahead")


def at_random(seed: int) -> faults.Action:
    draw = Random(seed)

    def cut(_request: Received, normal: Callable[[], Reply]) -> Reply:
        return replace(normal(), cut_after=draw.randrange(5 * MIB), ending=draw.choice(("fin", "rst")))

    return cut


@pytest.mark.usefixtures("slow")
def test_a_large_blob_on_a_slow_line_has_several_connections(tmp_path: Path, hub: Hub) -> None:
    with slow_stage(tmp_path, hub) as stage:
        assert is_whole(fetch(stage.big_url), stage.big)
        asked = ranges_asked(hub, stage.big)
        assert asked[0] == ""
        assert len(asked) >= 6
        assert bytes_given(hub, stage.big) < TOTAL + ON_THE_WAY
        wait_kept(stage.folder, stage.big)
        check_folder(stage.folder)
        assert under_way(stage.folder, stage.big) == []
        check_later_pulls(stage)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_connection_is_cut_at_a_random_place(tmp_path: Path, hub: Hub, seed: int) -> None:
    hub.script(at_random(seed), faults.throttle(RATE), role="cdn", times=None)
    with slow_stage(tmp_path, hub) as stage:
        assert is_whole(fetch(stage.big_url), stage.big), f"seed {seed}"
        wait_kept(stage.folder, stage.big)
        check_folder(stage.folder)


def test_one_that_stalls_for_ever_keeps_nobody_waiting_for_long(tmp_path: Path, hub: Hub) -> None:
    hub.script(faults.stall(MIB), role="cdn", skip=3)
    make_slow(hub)
    with slow_stage(tmp_path, hub) as stage:
        assert is_whole(fetch(stage.big_url, timeout_s=60), stage.big)
        wait_kept(stage.folder, stage.big)


def test_ranges_that_are_ignored_leave_the_first_answer_going_on(tmp_path: Path, hub: Hub) -> None:
    hub.script(faults.no_ranges(), faults.throttle(3 * RATE), role="cdn", times=None)
    with slow_stage(tmp_path, hub) as stage:
        assert is_whole(fetch(stage.big_url), stage.big)
        assert hub.find("cdn")[0].sent == TOTAL
        wait_kept(stage.folder, stage.big)


def test_a_wrong_byte_in_one_range_is_found_over_the_whole(tmp_path: Path, hub: Hub) -> None:
    hub.script(faults.flip_byte(1000), faults.throttle(RATE), role="cdn", skip=4)
    make_slow(hub)
    with slow_stage(tmp_path, hub) as stage:
        assert not is_whole(fetch(stage.big_url), stage.big)
        wait_event(stage.gateway, "fill_wrong", digest=stage.big.digest)
        assert not file_of(stage.folder, stage.big).exists()
        assert under_way(stage.folder, stage.big) == []
        check_later_pulls(stage)


def test_after_a_kill_it_goes_on_from_where_it_was_whole(tmp_path: Path, hub: Hub) -> None:
    make_slow(hub, SLOW_RATE)
    with slow_stage(tmp_path, hub) as stage, open_stream(stage.big_url) as stream:
        reading = threading.Thread(target=stream.read_all)
        reading.start()
        wait_ahead(stage)
        kill(stage)
        reading.join()
        front, length = front_of(stage), length_of(stage)
    check_folder(stage.folder)
    assert length > front
    hub.clear()
    with slow_stage(tmp_path, hub) as stage:
        assert is_whole(fetch(stage.big_url), stage.big)
        asked = ranges_asked(hub, stage.big)
        assert f"bytes={front}-" in asked
        assert min(map(begin_of, asked)) == front  # several begin at once, and any of them may arrive first
        assert bytes_given(hub, stage.big) < TOTAL - front + ON_THE_WAY
        wait_kept(stage.folder, stage.big)
        check_folder(stage.folder)


def test_the_other_worker_follows_the_front_and_takes_over_when_the_one_that_fills_is_killed(
    tmp_path: Path, hub: Hub
) -> None:
    make_slow(hub, SLOW_RATE)
    with slow_stage(tmp_path, hub, workers=2) as stage:
        readers = open_readers(stage, 8)
        wait_ahead(stage)
        filling = {reader.worker for reader in readers if reader.worker in connected(stage)}
        assert len(filling) == 1
        hub.clear()
        os.kill(filling.pop(), signal.SIGKILL)
        ended = set()
        for reader in readers:
            reader.thread.join()
            reader.stream.close()
            ended.add(reader.stream.ended)
            assert reader.body == stage.big.data[: len(reader.body)]
        assert "complete" in ended
        wait_kept(stage.folder, stage.big)
        check_folder(stage.folder)


def connected(stage: Stage) -> set[int]:
    """The workers with a connection to the CDN."""
    return connected_to(stage, urlsplit(stage.hub.cdn_url).port or 0)
