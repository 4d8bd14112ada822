"""Clients of blobs that are being kept: slow ones, many at once, those who leave, those who want a part.

Not here: upstreams that fail (test_kept_blobs.py).
"""

import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.faults.conftest import REPOSITORY, Stage, open_stage
from tests.faults.kept import (
    at_once,
    bytes_given,
    check_later_pulls,
    is_whole,
    ranges_asked,
    under_way,
    wait_kept,
    with_a_blob_of_its_own,
)
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.http import Answer, fetch, open_stream
from tests.support.hub import Hub
from tests.support.waiting import wait_until

PIECE = 64 * 1024


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Hub() as hub, open_stage(tmp_path_factory.mktemp("kept"), hub, {}, read_timeout="10s") as stage:
        yield stage


@pytest.fixture
def stage(shared: Stage) -> Iterator[Stage]:
    yield from with_a_blob_of_its_own(shared)


def add(stage: Stage, size: int, seed: int) -> Blob:
    blob = Blob.generated(size, seed)
    stage.hub.add_blob(REPOSITORY, blob)
    return blob


def part(stage: Stage, blob: Blob, asked: str) -> Answer:
    return fetch(stage.blob_url(blob), headers=[("Range", f"bytes={asked}")])


def test_a_reader_at_1_byte_per_second_holds_nobody_up(stage: Stage) -> None:
    blob = add(stage, 32 * MIB, 11)  # more than the buffers of a connection take
    with open_stream(stage.blob_url(blob), receive_buffer=4096) as slow:
        assert slow.read_for(1, bytes_per_second=1) <= 2
        for _ in range(3):
            assert is_whole(fetch(stage.blob_url(blob)), blob)
        assert slow.received < blob.size
        assert ranges_asked(stage.hub, blob) == [""]
        wait_kept(stage.folder, blob)
        assert b"".join((blob.data[: slow.received], slow.read_all())) == blob.data
        assert slow.ended == "complete"
    check_later_pulls(stage, blob)


def test_when_the_only_reader_leaves_the_fill_runs_on(stage: Stage) -> None:
    stage.hub.script(faults.throttle(8 * MIB), role="cdn")
    with open_stream(stage.big_url) as stream:
        assert stream.read()
    wait_kept(stage.folder, stage.big)
    assert bytes_given(stage.hub, stage.big) == stage.big.size
    asked = stage.hub.count()
    assert is_whole(fetch(stage.big_url), stage.big)
    assert stage.hub.count() == asked
    check_later_pulls(stage)


def test_a_reader_that_resets_its_connection_is_one_that_leaves(stage: Stage) -> None:
    stage.hub.script(faults.throttle(8 * MIB), role="cdn")
    stream = open_stream(stage.big_url)
    stream.read()
    stream.abort()
    assert is_whole(fetch(stage.big_url), stage.big)
    assert ranges_asked(stage.hub, stage.big) == [""]
    check_later_pulls(stage)


def test_64_clients_at_the_same_moment_are_one_fetch(stage: Stage) -> None:
    stage.hub.script(faults.slow_first_byte(0.2), role="cdn")
    answers = at_once([lambda: fetch(stage.big_url)] * 64)
    assert all(is_whole(answer, stage.big) for answer in answers)
    assert ranges_asked(stage.hub, stage.big) == [""]
    assert bytes_given(stage.hub, stage.big) == stage.big.size
    check_later_pulls(stage)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("0-99", 0, 99),
        (f"{2 * MIB}-{2 * MIB + 99}", 2 * MIB, 2 * MIB + 99),
        (f"{2 * MIB}-", 2 * MIB, 4 * MIB - 1),
        ("-100", 4 * MIB - 100, 4 * MIB - 1),
    ],
)
def test_a_range_into_a_cold_blob_is_one_fetch(stage: Stage, asked: str, first: int, last: int) -> None:
    answer = part(stage, stage.big, asked)
    assert (answer.status, answer.ended) == (206, "complete")
    assert answer.header("content-range") == f"bytes {first}-{last}/{stage.big.size}"
    assert answer.body == stage.big.data[first : last + 1]
    assert ranges_asked(stage.hub, stage.big) == [""]
    wait_kept(stage.folder, stage.big)
    check_later_pulls(stage)


def test_a_range_far_ahead_of_the_fill_does_not_wait_for_it(stage: Stage) -> None:
    blob = add(stage, 32 * MIB, 12)
    stage.hub.script(faults.stall(MIB), role="cdn")
    with open_stream(stage.blob_url(blob)) as first:
        for asked, expected in (("-100", blob.data[-100:]), (f"{20 * MIB}-{20 * MIB + 9}", blob.data[20 * MIB :][:10])):
            answer = part(stage, blob, asked)
            assert (answer.status, answer.ended, answer.body) == (206, "complete", expected)
        assert bytes_given(stage.hub, blob) < 2 * MIB
        stage.hub.release_stalls()  # for the rest of this file: no other test stalls
        assert first.read_all() == blob.data
    check_later_pulls(stage, blob)


def test_open_ends_that_are_hung_up_on_cost_no_tail_each(stage: Stage) -> None:
    """containerd's parallel fetch: `bytes=N-` on several connections, each closed when its chunk is there."""
    blob = add(stage, 48 * MIB, 13)
    stage.hub.script(faults.throttle(16 * MIB), role="cdn", times=None)

    def read_chunk(start: int) -> bytes:
        with open_stream(stage.blob_url(blob), headers=[("Range", f"bytes={start}-")]) as stream:
            assert stream.status == 206
            return stream.read(PIECE)

    starts = range(0, blob.size, 3 * MIB)
    for four in (starts[at : at + 4] for at in range(0, len(starts), 4)):
        pieces = at_once([partial(read_chunk, start) for start in four])
        for start, piece in zip(four, pieces, strict=True):
            assert piece
            assert piece == blob.data[start : start + len(piece)]
    wait_kept(stage.folder, blob)
    wait_until(lambda: all(e.state != "open" for e in stage.hub.find("cdn")), "the end of every fetch")
    # every tail would be 8 times the blob
    assert bytes_given(stage.hub, blob) < 2 * blob.size
    assert ranges_asked(stage.hub, blob).count("") == 1
    check_later_pulls(stage, blob)


def test_head_of_a_cold_blob_downloads_nothing(stage: Stage) -> None:
    for _ in range(2):
        answer = fetch(stage.big_url, "HEAD")
        assert (answer.status, answer.header("content-length")) == (200, str(stage.big.size))
        assert answer.header("docker-content-digest") == stage.big.digest
    time.sleep(0.2)  # in which a download would begin
    assert stage.hub.find(method="GET", path="/blobs/") == []
    assert under_way(stage.folder, stage.big) == []
    check_later_pulls(stage)
