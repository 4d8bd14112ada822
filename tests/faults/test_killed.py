"""kill -9 while blobs are being kept: of the whole server, and of one worker process of two.

What was fetched is not fetched again, and whatever the moment, nothing wrong stands under blobs/.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.faults.conftest import REPOSITORY, Stage, open_stage
from tests.faults.kept import (
    bytes_given,
    check_folder,
    check_later_pulls,
    file_of,
    is_whole,
    ranges_asked,
    under_way,
    wait_event,
    wait_kept,
    wait_written,
)
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.http import Stream, fetch, open_stream
from tests.support.hub import Hub

TOTAL = 4 * MIB
PROOF = 1  # at least one byte is asked for, which proves that the caller may have the rest


def written_bytes(folder: Path, blob: Blob) -> int:
    """How much of a blob is on the disk."""
    if file_of(folder, blob).exists():
        return TOTAL
    return sum(path.stat().st_size for path in under_way(folder, blob))


def kill(stage: Stage) -> None:
    """Kill the server; what it had asked for until then is recorded."""
    stage.gateway.process.signal(signal.SIGKILL)
    stage.gateway.process.wait(10)
    stage.gateway.stopped = True
    stage.hub.wait_left()


def test_a_fill_goes_on_after_a_kill_from_where_it_was(tmp_path: Path, hub: Hub) -> None:
    hub.script(faults.stall(3 * MIB), role="cdn")
    with open_stage(tmp_path, hub, {}) as stage, open_stream(stage.big_url) as stream:
        wait_written(stage.folder, stage.big, 3 * MIB)
        kill(stage)
        got = stream.read_all()
        assert stream.ended in ("short", "reset")
        assert got == stage.big.data[: len(got)]
    check_folder(stage.folder)
    assert not file_of(stage.folder, stage.big).exists()
    with open_stage(tmp_path, hub, {}) as stage:
        assert is_whole(fetch(stage.big_url), stage.big)
        assert ranges_asked(hub, stage.big) == ["", f"bytes={3 * MIB}-"]
        assert bytes_given(hub, stage.big) == TOTAL
        wait_kept(stage.folder, stage.big)
        check_later_pulls(stage)


def test_killed_anywhere_it_goes_on_and_nothing_wrong_is_kept(tmp_path: Path, hub: Hub) -> None:
    """Each server continues what the last one left and is killed in the next; the last points are the commit."""
    killed_at = [0, 1, MIB // 2, MIB, 2 * MIB, 3 * MIB, TOTAL - 1, TOTAL]
    blobs = [Blob.generated(TOTAL, seed=100 + number) for number in range(len(killed_at))]
    for blob in blobs:
        hub.add_blob(REPOSITORY, blob)
    left, written = None, 0
    for at, blob in zip(killed_at, blobs, strict=True):
        with open_stage(tmp_path, hub, {}) as stage:
            if left is not None:
                before = bytes_given(hub, left)
                assert is_whole(fetch(stage.blob_url(left)), left)
                again = bytes_given(hub, left) - before
                assert again <= TOTAL - written + PROOF, f"{again} bytes more, of {TOTAL} with {written} written"
            rate = hub.script(faults.throttle(16 * MIB), role="cdn", path=blob.digest.removeprefix("sha256:"))
            with open_stream(stage.blob_url(blob)) as stream:
                if at < TOTAL:
                    wait_written(stage.folder, blob, at)
                else:
                    assert stream.read_all() == blob.data
                kill(stage)
                got = stream.read_all()
                assert got == blob.data[: len(got)]
            assert rate.used
            written = written_bytes(stage.folder, blob)
        check_folder(tmp_path / "data")
        left = blob
    with open_stage(tmp_path, hub, {}) as stage:
        check_later_pulls(stage, *blobs)


def test_a_kill_of_the_server_between_many_blobs(tmp_path: Path, hub: Hub) -> None:
    """A node pulls eight layers at a time."""
    blobs = [Blob.generated(TOTAL, seed=200 + number) for number in range(8)]
    for blob in blobs:
        hub.add_blob(REPOSITORY, blob)
    hub.script(faults.throttle(16 * MIB), role="cdn", times=None)
    with open_stage(tmp_path, hub, {}) as stage, ExitStack() as streams:
        for blob in blobs:
            streams.enter_context(open_stream(stage.blob_url(blob)))
        wait_written(stage.folder, blobs[-1], MIB)
        kill(stage)
    check_folder(stage.folder)
    with open_stage(tmp_path, hub, {}) as stage:
        check_later_pulls(stage, *blobs)


@pytest.fixture
def pair(tmp_path: Path, hub: Hub) -> Iterator[Stage]:
    with open_stage(tmp_path, hub, {}, server={"workers": 2}, read_timeout="20s") as stage:
        yield stage


def connected_to(stage: Stage, port: int) -> set[int]:
    """The worker processes with a connection to a port of ours."""
    found = set()
    for worker in psutil.Process(stage.gateway.pid).children():
        peers = [one.raddr for one in worker.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]
        if any(peer and peer.port == port for peer in peers):
            found.add(worker.pid)
    return found


@dataclass
class Reader:
    """A client that reads on a thread until its answer ends; `worker` is the process that answers it."""

    stream: Stream
    worker: int
    thread: threading.Thread = field(init=False)
    body: bytes = b""

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        self.body = self.stream.read_all()


def open_readers(stage: Stage, count: int) -> list[Reader]:
    """So many clients of the big blob, at least one of them with each worker."""
    readers: list[Reader] = []
    while len(readers) < count or len({reader.worker for reader in readers}) < 2:
        assert len(readers) < 200, "the other worker takes no connection"
        stream = open_stream(stage.big_url)
        (worker,) = connected_to(stage, stream.local_port)
        readers.append(Reader(stream, worker))
    return readers


def test_two_workers_fetch_once(pair: Stage) -> None:
    pair.hub.script(faults.stall(2 * MIB), role="cdn")  # an answer that is over has no connection any more
    readers = open_readers(pair, 12)
    pair.hub.release_stalls()
    for reader in readers:
        reader.thread.join()
        reader.stream.close()
        assert (reader.stream.ended, reader.body) == ("complete", pair.big.data)
    assert ranges_asked(pair.hub, pair.big) == [""]
    check_later_pulls(pair)


def test_when_the_worker_that_fills_is_killed_the_other_one_goes_on(pair: Stage) -> None:
    pair.hub.script(faults.stall(2 * MIB), role="cdn")
    readers = open_readers(pair, 12)
    wait_written(pair.folder, pair.big, 2 * MIB)
    (filling,) = connected_to(pair, urlsplit(pair.hub.cdn_url).port or 0)
    os.kill(filling, signal.SIGKILL)
    for reader in readers:
        reader.thread.join()
        reader.stream.close()
        if reader.worker == filling:
            assert reader.stream.ended in ("short", "reset")
            assert reader.body == pair.big.data[: len(reader.body)]
        else:
            assert (reader.stream.ended, reader.body) == ("complete", pair.big.data)
    assert ranges_asked(pair.hub, pair.big) == ["", f"bytes={2 * MIB}-"]
    assert bytes_given(pair.hub, pair.big) == TOTAL
    wait_event(pair.gateway, "worker_died")
    wait_kept(pair.folder, pair.big)
    check_later_pulls(pair)
