"""What must hold whatever goes wrong: a client has the right bytes or sees that it has not, the next pull is right,
and no file of the cache folder has a name that its bytes do not have.

Shared by the tests of kept blobs. Not here: the faults.
"""

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults.conftest import REPOSITORY, Stage
from tests.support.content import Blob
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.shell import HasLog
from tests.support.waiting import wait_until

_SEEDS = itertools.count(1000)


def with_a_blob_of_its_own(shared: Stage) -> Iterator[Stage]:
    """A stage for one test on a gateway that several share: to start one takes longer than most faults."""
    big = Blob.generated(shared.big.size, next(_SEEDS))
    shared.hub.add_blob(REPOSITORY, big)
    shared.hub.recorder.clear()
    yield replace(shared, big=big)
    shared.hub.check()
    shared.hub.clear()


def is_whole(answer: Answer, blob: Blob) -> bool:
    """Whether a client got all of a blob. What it takes for all must be right; anything less must be visible."""
    if answer.status >= 500:
        return False
    assert answer.status == 200, answer
    if answer.ended != "complete":
        return False
    assert answer.body == blob.data, "wrong bytes, properly ended"
    return True


def check_later_pulls(stage: Stage, *blobs: Blob) -> None:
    """The upstream is honest again: everything can be had, and nothing wrong is kept."""
    stage.hub.check()
    stage.hub.clear()
    for blob in blobs or (stage.big,):
        assert is_whole(fetch(stage.blob_url(blob)), blob)
    check_folder(stage.folder)


def check_folder(folder: Path) -> None:
    """Everything under blobs/ has the digest that its name says; drafts have no such name."""
    for path in (folder / "blobs").rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            assert path.parent.name == path.name[:2]
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def file_of(folder: Path, blob: Blob) -> Path:
    """Where a blob is kept, whether it is there or not."""
    encoded = blob.digest.removeprefix("sha256:")
    return folder / "blobs" / "sha256" / encoded[:2] / encoded


def under_way(folder: Path, blob: Blob) -> list[Path]:
    """The file of a blob under way, without what stands beside it."""
    paths = (folder / "partial").glob(f"{blob.digest.replace(':', '-')}-*")
    return [path for path in paths if path.suffix not in (".json", ".front")]


def wait_kept(folder: Path, blob: Blob) -> None:
    """A client has all of a blob a moment before its file has its name."""
    wait_until(file_of(folder, blob).exists, "kept")


def wait_written(folder: Path, blob: Blob, size_bytes: int) -> None:
    """Wait until so much of a blob under way is on the disk, or all of it."""

    def is_written() -> bool:
        with suppress(FileNotFoundError):
            return any(path.stat().st_size >= size_bytes for path in under_way(folder, blob))
        return False

    wait_until(lambda: is_written() or file_of(folder, blob).exists(), f"{size_bytes} bytes of a blob under way")


def events(shell: HasLog, name: str) -> list[dict[str, Any]]:
    """The lines of the log with that event."""
    return [record for record in shell.log_records() if record["event"] == name]


def wait_event(shell: HasLog, name: str, **fields: object) -> dict[str, Any]:
    """The first line of the log with that event, and these fields."""
    wanted = {"event": name, **fields}
    found: list[dict[str, Any]] = []

    def is_logged() -> bool:
        found[:] = [record for record in shell.log_records() if record.items() >= wanted.items()]
        return bool(found)

    wait_until(is_logged, f"an event {name}")
    return found[0]


def ranges_asked(hub: Hub, blob: Blob) -> list[str]:
    """The Range of every GET for a blob at the CDN; empty for all of it."""
    exchanges = hub.find("cdn", "GET", blob.digest.removeprefix("sha256:"))
    return [exchange.request.header("range") or "" for exchange in exchanges]


def begin_of(asked: str) -> int:
    """Where a Range begins, of those that `ranges_asked` says."""
    return int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0


def bytes_given(hub: Hub, blob: Blob) -> int:
    """How much of a blob the CDN has sent, over all connections."""
    return sum(exchange.sent for exchange in hub.find("cdn", "GET", blob.digest.removeprefix("sha256:")))


def at_once(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all of it at the same moment; the results, in the order of the jobs."""
    start = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def do(number: int) -> None:
        start.wait()
        results[number] = jobs[number]()

    threads = [threading.Thread(target=do, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
