"""A disk that does not let one look: nothing is taken for gone, and pulls and housekeeping go on."""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from hubferry.ports.content import StoreFailure
from hubferry.ports.index import Repository
from hubferry.store.blobs import FileBlobs
from hubferry.store.housekeeping import Housekeeping
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import Layout, is_gone
from hubferry.store.ledger import CacheLimits, Ledger, remove_unless_locked
from tests.gateway.fakes import FakeLog
from tests.support.waiting import wait_until

NGINX = Repository("docker.io", "library/nginx")
DIGEST = "sha256:" + "a" * 64


def deny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may look anywhere, so that a folder of somebody else's is made up."""

    def denied(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    for name in ("lstat", "stat"):
        monkeypatch.setattr(Path, name, denied)


def test_only_what_is_certainly_not_there_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert not is_gone(tmp_path / "file")
    assert is_gone(tmp_path / "other")
    assert is_gone(tmp_path / "file" / "below")
    deny(monkeypatch)
    assert not is_gone(tmp_path / "other")


def test_a_final_file_that_cannot_be_looked_for_fails_the_fill_and_not_the_pull(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = FileBlobs(tmp_path).open_partial("docker.io", DIGEST)
    assert not partial.final_exists()
    deny(monkeypatch)
    with pytest.raises(StoreFailure, match="Permission denied"):
        partial.final_exists()
    monkeypatch.undo()
    partial.close()


def test_a_file_that_cannot_be_removed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch()
    deny(monkeypatch)
    assert not remove_unless_locked(path)


def test_housekeeping_goes_on_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = SqliteIndex(tmp_path, FakeLog())
    ledger = Ledger(Layout(tmp_path), index.transact, CacheLimits(2**20, 0))
    kept = Housekeeping(Layout(tmp_path), ledger, index.transact)
    counted = []

    def count() -> None:
        counted.append(1)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hubferry.store.housekeeping.FLUSH_S", 0.01)
    monkeypatch.setattr("hubferry.store.housekeeping.is_counted", lambda _: False)
    monkeypatch.setattr(kept, "count", count)
    kept.start()
    wait_until(lambda: len(counted) > 1, "it is counted again")
    kept.close()
    asyncio.run(index.close())


def test_a_withdrawal_that_cannot_be_written_down_counts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> bool:
        raise sqlite3.OperationalError("database or disk is full")

    async def scene() -> None:
        index = SqliteIndex(tmp_path, FakeLog())
        await index.put_blob(NGINX, DIGEST, 5)
        now = time.time()
        await index.put_right(NGINX, "pull", "", now)
        monkeypatch.setattr("hubferry.store.right_rows._withdraw", full)
        assert await index.withdraw_right(NGINX, "pull", "")
        assert await index.right(NGINX, "pull", "") is None
        await index.put_right(NGINX, "pull", "", now)  # its answer was on its way
        assert await index.right(NGINX, "pull", "") is None
        later = time.time() + 1
        await index.put_right(NGINX, "pull", "", later)
        assert await index.right(NGINX, "pull", "") == later
        await index.close()

    asyncio.run(scene())
