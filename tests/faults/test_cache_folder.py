"""A cache folder that takes nothing, is full, vanishes, or comes with a broken index.

The pull goes on: complete and right, or visibly cut. Small file systems are mounted for it, which takes root.
Not here: what the account of the folder decides (tests/store).
"""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.conftest import REPOSITORY, open_stage
from tests.faults.kept import (
    bytes_given,
    check_folder,
    check_later_pulls,
    file_of,
    is_whole,
    under_way,
    wait_event,
    wait_kept,
    wait_written,
)
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.http import fetch, open_stream
from tests.support.hub import Hub
from tests.support.processes import find_program
from tests.support.waiting import wait_until

SLOW = 8 * MIB  # bytes per second: half a second for a blob


@contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of that size in place of the folder."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("mounting takes root")
    folder.mkdir()
    subprocess.run([find_program("mount"), "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        # lazily: a gateway that did not end must not keep the mount for ever
        subprocess.run([find_program("umount"), "--lazy", folder], check=True)


def make_read_only(folder: Path) -> None:
    subprocess.run([find_program("mount"), "-o", "remount,ro", folder], check=True)


@contextmanager
def covered_read_only(folder: Path) -> Iterator[None]:
    """The folder itself, where nothing can be opened for writing any more.

    A remount would be refused while the gateway holds its index open. What is open stays writable here; that writes
    fail in the middle is what a full disk is for.
    """
    subprocess.run([find_program("mount"), "--bind", folder, folder], check=True)
    try:
        subprocess.run([find_program("mount"), "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run([find_program("umount"), "--lazy", folder], check=True)


def remove(folder: Path) -> None:
    """As `rm -rf` does beside a server that may be writing."""
    for _ in range(50):
        with suppress(OSError):
            shutil.rmtree(folder)
        if not folder.exists():
            return
    raise AssertionError(f"{folder} is made anew faster than it can be removed")


def fill_up(folder: Path) -> Path:
    """Leave no byte free."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64 * 1024))
    assert os.statvfs(folder).f_bavail == 0
    return ballast


def test_a_folder_that_is_read_only_and_empty(tmp_path: Path, hub: Hub) -> None:
    access = {"token_key_file": str(tmp_path / "token.key")}
    with mounted(tmp_path / "data", 16 * MIB) as folder:
        make_read_only(folder)
        with open_stage(tmp_path, hub, {}, access=access) as stage:
            assert is_whole(fetch(stage.big_url), stage.big)
            assert fetch(stage.manifest_url).body == stage.image.manifest
            wait_event(stage.gateway, "store_failed")
            check_later_pulls(stage)
        assert list(folder.iterdir()) == []


def test_a_folder_that_is_read_only_after_a_restart(tmp_path: Path, hub: Hub) -> None:
    with mounted(tmp_path / "data", 16 * MIB) as folder:
        with open_stage(tmp_path, hub, {"min_free": "0B"}) as stage:
            assert is_whole(fetch(stage.big_url), stage.big)
            wait_kept(folder, stage.big)
        make_read_only(folder)
        hub.clear()
        with open_stage(tmp_path, hub, {"min_free": "0B"}) as stage:
            assert is_whole(fetch(stage.big_url), stage.big)
            assert bytes_given(hub, stage.big) == 0  # what it holds it still serves
            assert fetch(stage.manifest_url).body == stage.image.manifest
            layer = Blob(b"another one")
            hub.add_blob(REPOSITORY, layer)
            assert is_whole(fetch(stage.blob_url(layer)), layer)
            wait_event(stage.gateway, "store_failed")
            check_later_pulls(stage, stage.big, layer)


def test_a_folder_that_becomes_read_only(tmp_path: Path, hub: Hub) -> None:
    cache = {"min_free": "0B", "prefetch": False}  # nothing is being written when it is mounted anew
    with mounted(tmp_path / "data", 16 * MIB) as folder, open_stage(tmp_path, hub, cache) as stage:
        assert fetch(stage.manifest_url).body == stage.image.manifest
        with covered_read_only(folder):
            for _ in range(3):
                assert is_whole(fetch(stage.big_url), stage.big)
            wait_event(stage.gateway, "store_failed")
            check_folder(folder)
        check_later_pulls(stage)


@pytest.mark.parametrize("min_free", ["0B", "1GiB"])
def test_a_folder_with_too_little_room(tmp_path: Path, hub: Hub, min_free: str) -> None:
    with mounted(tmp_path / "data", 3 * MIB) as folder, open_stage(tmp_path, hub, {"min_free": min_free}) as stage:
        for _ in range(2):
            assert is_whole(fetch(stage.big_url), stage.big)
        wait_event(stage.gateway, "store_failed")
        assert not file_of(folder, stage.big).exists()
        assert fetch(stage.manifest_url).body == stage.image.manifest
        check_later_pulls(stage)
        assert under_way(folder, stage.big) == []


def test_a_folder_that_was_full_and_is_not_any_more(tmp_path: Path, hub: Hub) -> None:
    with mounted(tmp_path / "data", 16 * MIB) as folder, open_stage(tmp_path, hub, {"min_free": "0B"}) as stage:
        ballast = fill_up(folder)
        assert is_whole(fetch(stage.big_url), stage.big)
        wait_event(stage.gateway, "store_failed")
        ballast.unlink()

        # that there is no room is no failure of the disk: it is tried again at once, but for requests that still join
        # the download which found none
        def is_kept() -> bool:
            assert is_whole(fetch(stage.big_url), stage.big)
            return file_of(folder, stage.big).exists()

        wait_until(is_kept, "kept")
        check_later_pulls(stage)


def test_a_folder_that_is_removed_beside_the_server(tmp_path: Path, hub: Hub) -> None:
    large = Blob.generated(32 * MIB, seed=5)  # more than the buffers of a connection take
    hub.add_blob(REPOSITORY, large)
    with open_stage(tmp_path, hub, {}) as stage:
        for blob in (stage.big, large):
            assert is_whole(fetch(stage.blob_url(blob)), blob)
            wait_kept(stage.folder, blob)
        with open_stream(stage.blob_url(large), receive_buffer=4096) as stream:
            first = stream.read()
            remove(stage.folder)
            for _ in range(2):
                assert is_whole(fetch(stage.big_url), stage.big)
                assert fetch(stage.manifest_url).body == stage.image.manifest
            assert first + stream.read_all() == large.data  # whoever was reading reads on
        check_later_pulls(stage, stage.big, large)

        def is_kept_again() -> bool:
            time.sleep(0.2)  # every look is a pull: a few a second are enough
            assert is_whole(fetch(stage.big_url), stage.big)
            return file_of(stage.folder, stage.big).exists()

        # the account of what is kept is made anew within ten seconds; the disk is left alone for thirty when the
        # removal happened to meet a write
        wait_until(is_kept_again, "kept anew", timeout_s=45)


def test_a_folder_that_is_removed_in_mid_fill(tmp_path: Path, hub: Hub) -> None:
    hub.script(faults.throttle(SLOW), role="cdn", times=None)
    with open_stage(tmp_path, hub, {}) as stage:
        with open_stream(stage.big_url) as stream:
            body = stream.read()
            wait_written(stage.folder, stage.big, MIB)
            remove(stage.folder)
            body += stream.read_all()
            assert body == stage.big.data or stream.ended in ("short", "reset")
            assert stage.big.data.startswith(body)
        assert is_whole(fetch(stage.big_url), stage.big)
        check_later_pulls(stage)


def garbage(index: Path) -> None:
    index.write_bytes(b"this is no database, it only looks long enough" * 1000)


def truncated(index: Path) -> None:
    os.truncate(index, 5000)


def emptied(index: Path) -> None:
    os.truncate(index, 0)


def pages_overwritten(index: Path) -> None:
    with index.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (index.stat().st_size - 4096))


def a_folder_instead(index: Path) -> None:
    index.unlink()
    index.mkdir()


def another_version(index: Path) -> None:
    with closing(sqlite3.connect(index)) as db:
        db.execute("PRAGMA user_version = 99")


def tables_gone(index: Path) -> None:
    with closing(sqlite3.connect(index)) as db:
        db.executescript("DROP TABLE files; DROP TABLE blobs; DROP TABLE tags")


@pytest.mark.parametrize(
    "damage", [garbage, truncated, emptied, pages_overwritten, a_folder_instead, another_version, tables_gone]
)
def test_a_broken_index_at_start_costs_no_content(
    tmp_path: Path, hub: Hub, filled: Path, damage: Callable[[Path], None]
) -> None:
    folder = shutil.copytree(filled, tmp_path / "data")
    damage(folder / "index.sqlite3")
    other = Blob.generated(MIB, seed=6)
    hub.add_blob(REPOSITORY, other)
    with open_stage(tmp_path, hub, {}) as stage:
        for _ in range(2):
            assert is_whole(fetch(stage.big_url), stage.big)
            assert is_whole(fetch(stage.blob_url(other)), other)
            assert fetch(stage.manifest_url).body == stage.image.manifest
        assert bytes_given(hub, stage.big) == 0
        check_later_pulls(stage, stage.big, other)
