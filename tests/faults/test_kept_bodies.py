"""Bodies that are sent from files of the cache: slow clients, clients that leave, files that become shorter."""

import os
from pathlib import Path

import pytest

from tests.faults.conftest import REPOSITORY, Stage
from tests.faults.kept import file_of, wait_kept
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch, open_stream
from tests.support.waiting import wait_until


@pytest.fixture
def warm(stage: Stage) -> Blob:
    """A blob that is larger than what sockets swallow, and kept."""
    blob = Blob.generated(48 * MIB, seed=3)
    stage.hub.add_blob(REPOSITORY, blob)
    assert fetch(stage.blob_url(blob)).body == blob.data
    wait_kept(stage.folder, blob)
    return blob


def open_descriptors(gateway: Gateway) -> int:
    return sum(1 for _ in Path(f"/proc/{gateway.pid}/fd").iterdir())


def test_a_small_window_gets_the_same_bytes(stage: Stage, warm: Blob) -> None:
    with open_stream(stage.blob_url(warm), receive_buffer=4096) as stream:
        body = bytearray()
        while stream.ended is None and len(body) < warm.size:
            body += stream.read(100_000)
        assert body == warm.data


@pytest.mark.parametrize(("first", "last"), [(0, 0), (1, 3 * MIB), (MIB - 1, 48 * MIB - 1), (47 * MIB, 48 * MIB - 2)])
def test_any_part_gets_exactly_its_bytes(stage: Stage, warm: Blob, first: int, last: int) -> None:
    answer = fetch(stage.blob_url(warm), headers=[("Range", f"bytes={first}-{last}")])
    assert (answer.status, answer.ended) == (206, "complete")
    assert answer.body == warm.data[first : last + 1]


def test_clients_that_leave_leave_nothing_open(stage: Stage, warm: Blob) -> None:
    before = open_descriptors(stage.gateway)
    streams = [open_stream(stage.blob_url(warm), receive_buffer=4096) for _ in range(20)]
    for stream in streams:
        stream.read(MIB)
    assert open_descriptors(stage.gateway) > before
    for stream in streams:
        stream.close()
    wait_until(lambda: open_descriptors(stage.gateway) <= before, "that nothing stays open")


def test_a_file_that_becomes_shorter_cuts_its_readers(stage: Stage, warm: Blob) -> None:
    with open_stream(stage.blob_url(warm), receive_buffer=4096) as stream:
        stream.read(MIB)
        os.truncate(file_of(stage.folder, warm), 40 * MIB)
        stream.read_all()
        assert stream.ended == "short"
        assert stream.received <= 40 * MIB


def test_one_that_does_not_read_holds_up_nobody(stage: Stage, warm: Blob) -> None:
    with open_stream(stage.blob_url(warm), receive_buffer=4096) as stuck:
        stuck.read(1)
        for _ in range(3):
            assert fetch(stage.blob_url(warm)).body == warm.data
        assert stuck.ended is None
