"""Blobs that were altered on the disk before their first use: never delivered as if they were right.

A file whose time of change is not what it was when it was kept is hashed before it is trusted. Not here: manifests,
which are hashed whenever they are read (test_kept_manifests.py).
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import open_stage
from tests.faults.kept import check_folder, check_later_pulls, file_of, is_whole
from tests.support.content import MIB
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.waiting import wait_until


def flipped(at: int) -> Callable[[Path], None]:
    def flip(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.seek(at)
            byte = opened.read(1)[0]
            opened.seek(at)
            opened.write(bytes([byte ^ 1]))

    return flip


def truncated(to: int) -> Callable[[Path], None]:
    return lambda file: os.truncate(file, to)


def lengthened(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"and more")


def replaced(file: Path) -> None:
    """As an editor or a restore does: another file of that name."""
    other = file.with_name("other")
    other.write_bytes(bytes(4 * MIB))
    other.rename(file)


DAMAGES = {
    "first byte": flipped(0),
    "middle byte": flipped(2 * MIB),
    "last byte": flipped(4 * MIB - 1),
    "last byte gone": truncated(4 * MIB - 1),
    "half": truncated(2 * MIB),
    "empty": truncated(0),
    "longer": lengthened,
    "replaced": replaced,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_altered_blob_is_found_out_at_its_first_use(tmp_path: Path, hub: Hub, filled: Path, damage: str) -> None:
    folder = shutil.copytree(filled, tmp_path / "data")  # with the times of its files
    with open_stage(tmp_path, hub, {}) as stage:
        DAMAGES[damage](file_of(folder, stage.big))
        part = fetch(stage.big_url, headers=[("Range", f"bytes={2 * MIB - 50}-{2 * MIB + 49}")])
        if part.status == 206 and part.ended == "complete":
            assert part.body == stage.big.data[2 * MIB - 50 : 2 * MIB + 50]
        is_whole(fetch(stage.big_url), stage.big)  # which fails when it is complete and wrong
        assert is_whole(fetch(stage.big_url), stage.big)
        wait_until(file_of(stage.folder, stage.big).exists, "kept anew")
        check_folder(stage.folder)
        check_later_pulls(stage)


def test_a_blob_that_was_only_touched_is_not_fetched_again(tmp_path: Path, hub: Hub, filled: Path) -> None:
    folder = shutil.copytree(filled, tmp_path / "data")
    with open_stage(tmp_path, hub, {}) as stage:
        os.utime(file_of(folder, stage.big))  # as by a restore: looked at again, and right
        assert is_whole(fetch(stage.big_url), stage.big)
        assert hub.count("cdn", "GET") == 0
        check_later_pulls(stage)
