"""What a stranger may cost the cache folder: what is read for them, what is removed for them, what they can pin.

The numbers are rows of the table of bounds in docs/security.md. Not here: how many fills there are (test_fills.py).
"""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from tests.faults.conftest import REPOSITORY, Stage, open_stage
from tests.faults.kept import at_once, bytes_given, file_of, is_whole, wait_kept
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.http import fetch, open_stream
from tests.support.hub import Hub
from tests.support.shell import settled_log
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def stage_of(tmp_path: Path, cache: dict[str, Any], **more: Any) -> Iterator[Stage]:
    """A gateway with these settings of [cache], and `more` as `open_stage` takes it."""
    with Hub() as hub, open_stage(tmp_path, hub, {"prefetch": False, **cache}, **more) as stage:
        yield stage


def add(stage: Stage, size: int, seed: int) -> Blob:
    blob = Blob.generated(size, seed)
    stage.hub.add_blob(REPOSITORY, blob)
    return blob


def keep(stage: Stage, blob: Blob) -> Blob:
    """Have a blob kept, by an honest pull."""
    assert is_whole(fetch(stage.blob_url(blob)), blob)
    wait_kept(stage.folder, blob)
    return blob


def peak_bytes(stage: Stage) -> int:
    """The most memory that the gateway ever had."""
    status = Path(f"/proc/{stage.gateway.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_01_a_manifest_by_the_digest_of_a_layer_reads_nothing_of_it(tmp_path: Path) -> None:
    with stage_of(tmp_path, {}) as stage:
        layer = keep(stage, add(stage, 200 * MIB, seed=1))
        before = peak_bytes(stage)
        for repository in ("any", "app"):  # one that does not hold it, and the one that does
            url = f"{stage.gateway.url}/v2/{repository}/manifests/{layer.digest}"
            answers = at_once([partial(fetch, url)] * 6)
            assert {answer.status for answer in answers} <= {401, 404}, answers
        grown = peak_bytes(stage) - before
        assert grown < 30 * MIB, f"6 requests for a layer of 200 MiB cost {grown / MIB:.0f} MiB"
        assert file_of(stage.folder, layer).exists()


def asked(stage: Stage, blob: Blob) -> int:
    """How often the upstream was asked for a blob or a part of it."""
    return len(stage.hub.find("cdn", "GET", blob.digest.removeprefix("sha256:")))


def taken_bytes(stage: Stage) -> int:
    """What the gateway takes on the disk: its files, and those that were removed and are still open."""
    seen = {}
    for folder in (stage.folder / "blobs", stage.folder / "partial", Path(f"/proc/{stage.gateway.pid}/fd")):
        for path in folder.rglob("*"):
            with suppress(OSError):
                found = path.stat()
                place = str(path.readlink()) if folder.name == "fd" else str(path)
                if S_ISREG(found.st_mode) and place.startswith((f"{stage.folder}/blobs", f"{stage.folder}/partial")):
                    seen[found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


def test_04_clients_that_never_read_keep_nothing_for_long_and_cost_others_one_request_each(tmp_path: Path) -> None:
    with stage_of(tmp_path, {"max_size": "80MiB", "connections": 1}, server={"write_timeout": "5s"}) as stage:
        pinned = [add(stage, 16 * MIB, seed) for seed in range(4)]
        keep(stage, pinned[0])
        keep(stage, pinned[1])  # the others are filled for those who do not read them
        small = keep(stage, add(stage, 2 * MIB, seed=8))
        wanted = add(stage, 30 * MIB, seed=9)
        with ExitStack() as stack:
            stuck = [stack.enter_context(open_stream(stage.blob_url(blob), receive_buffer=4096)) for blob in pinned]
            for blob in pinned:
                wait_kept(stage.folder, blob)
            pulls = 0

            def is_kept() -> bool:
                nonlocal pulls
                before = asked(stage, wanted)
                assert is_whole(fetch(stage.blob_url(wanted)), wanted)
                pulls += 1
                cost = asked(stage, wanted) - before
                assert cost <= 1, f"pull {pulls}, which could not be kept, cost {cost} upstream requests"
                time.sleep(0.3)
                return cost == 0

            wait_until(is_kept, "a blob that others pull is kept", timeout_s=60)
            assert pulls > 2, "there was room in spite of the four"
            assert not all(file_of(stage.folder, blob).exists() for blob in pinned)
            assert taken_bytes(stage) <= 80 * MIB, f"{taken_bytes(stage) / MIB:.1f} MiB of 80 are taken"
            for blob in (wanted, small):
                assert is_whole(fetch(stage.blob_url(blob)), blob)
            for stream, blob in zip(stuck, pinned, strict=True):
                got = stream.read_all()
                assert got == blob.data[: len(got)]
                assert stream.ended != "complete", "one that read nothing for so long was to be cut"


def test_04_who_reads_slowly_is_not_cut_when_everything_else_in_the_cache_changes(tmp_path: Path) -> None:
    """Its connection swallows some MiB at once: for a while it is given nothing, although it reads all the time."""
    with stage_of(tmp_path, {"max_size": "64MiB"}, server={"write_timeout": "3s"}) as stage:
        slow = keep(stage, add(stage, 24 * MIB, seed=1))
        with open_stream(stage.blob_url(slow)) as stream:
            has_changed = threading.Event()

            def read_slowly() -> bytes:
                got = bytearray()
                while not has_changed.wait(0.25):
                    piece = stream.read(15_000)
                    assert piece, f"{stream.ended} after {len(got)} bytes"
                    got += piece
                return bytes(got + stream.read_all())

            with ThreadPoolExecutor(1) as pool:
                reading = pool.submit(read_slowly)
                time.sleep(12)  # what its connection swallowed at once lasts for so long
                try:
                    for seed in range(2, 13):
                        keep(stage, add(stage, 9 * MIB, seed))
                finally:
                    has_changed.set()
                got = reading.result()
            assert stream.ended == "complete"
            assert got == slow.data
        assert file_of(stage.folder, slow).exists(), "what is read stays"


def test_05_one_byte_of_a_large_cold_blob_removes_nothing(tmp_path: Path) -> None:
    with stage_of(tmp_path, {"max_size": "80MiB", "connections": 1}, read_timeout="30s") as stage:
        kept = [keep(stage, add(stage, 10 * MIB, seed)) for seed in range(7)]
        cold = add(stage, 79 * MIB, seed=9)
        stage.hub.script(faults.throttle(64 * 1024), role="cdn")
        answer = fetch(stage.blob_url(cold), headers=[("Range", "bytes=0-0")])
        assert (answer.status, answer.body) == (206, cold.data[:1])
        received = bytes_given(stage.hub, cold)
        gone = sum(blob.size for blob in kept if not file_of(stage.folder, blob).exists())
        assert gone == 0, f"{gone / MIB:.0f} MiB were removed for {received} bytes"
        # what is under way makes others' room no smaller than what it holds
        other = keep(stage, add(stage, 5 * MIB, seed=10))
        assert file_of(stage.folder, other).exists()
        gone = sum(blob.size for blob in kept if not file_of(stage.folder, blob).exists())
        assert gone <= 10 * MIB, f"{gone / MIB:.0f} MiB were removed for {received} bytes"


def test_05_what_is_larger_than_the_cache_costs_one_request_and_removes_nothing(tmp_path: Path) -> None:
    with stage_of(tmp_path, {"max_size": "20MiB"}) as stage:
        kept = keep(stage, add(stage, 10 * MIB, seed=1))
        for seed, lines in ((2, []), (3, [("Range", "bytes=100-2099")])):
            large = add(stage, 30 * MIB, seed)
            for pull in range(1, 4):
                answer = fetch(stage.blob_url(large), headers=lines)
                assert answer.body == (large.data[100:2100] if lines else large.data)
                assert answer.status == (206 if lines else 200)
                assert asked(stage, large) == pull, f"{pull} pulls cost {asked(stage, large)} upstream requests"
        assert file_of(stage.folder, kept).exists()
        told = [line for line in settled_log(stage.gateway) if line["event"] == "store_failed"]
        assert len(told) == 2, "once for each blob"
