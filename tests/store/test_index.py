"""The index's memory of what was just read and written, rights that processes share, and an index of before."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from pathlib import Path

from hubferry.ports.index import ManifestInfo, Repository, TagEntry
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import Layout
from hubferry.store.ledger import CacheLimits, Ledger
from tests.gateway.fakes import FakeLog
from tests.support.waiting import until

REPOSITORY = Repository("docker.io", "library/nginx")
DIGEST = "sha256:" + "a" * 64


def test_a_read_that_was_overtaken_by_a_write_does_not_undo_it(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path, FakeLog())
    held = threading.Event()

    async def scene() -> None:
        index._thread.submit(held.wait)
        reading = asyncio.create_task(index.blob(REPOSITORY, DIGEST))
        await asyncio.sleep(0)
        writing = asyncio.create_task(index.put_blob(REPOSITORY, DIGEST, 5))
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(reading, writing)
        assert await index.blob(REPOSITORY, DIGEST) == 5
        await index.close()

    asyncio.run(scene())


def test_a_blob_that_was_evicted_and_is_kept_again_is_known_again(tmp_path: Path) -> None:
    async def scene() -> None:
        index = SqliteIndex(tmp_path, FakeLog())
        await index.put_blob(REPOSITORY, DIGEST, 5)
        Ledger(Layout(tmp_path), index.transact, CacheLimits(2**20, 0)).forget([DIGEST])
        await index.put_blob(REPOSITORY, DIGEST, 5)
        await index.close()
        again = SqliteIndex(tmp_path, FakeLog())  # which remembers nothing
        assert await again.blob(REPOSITORY, DIGEST) == 5
        await again.close()

    asyncio.run(scene())


def test_what_one_process_withdraws_another_forgets_and_no_older_proof_brings_back(tmp_path: Path) -> None:
    async def scene() -> None:
        one, other = SqliteIndex(tmp_path, FakeLog()), SqliteIndex(tmp_path, FakeLog())
        await one.put_blob(REPOSITORY, DIGEST, 5)
        asked_at = time.time()
        for index in (one, other):
            await index.put_right(REPOSITORY, "pull", "", asked_at)
            assert await index.right(REPOSITORY, "pull", "") == asked_at
        before = other.withdrawals()
        assert await one.withdraw_right(REPOSITORY, "pull", "")
        assert not await one.withdraw_right(REPOSITORY, "pull", ""), "there is none any more"
        await until(lambda: other.withdrawals() != before)
        assert await other.right(REPOSITORY, "pull", "") is None
        await other.put_right(REPOSITORY, "pull", "", asked_at)  # its answer was on its way
        assert await other.right(REPOSITORY, "pull", "") is None
        await other.put_right(REPOSITORY, "pull", "", time.time() + 1)
        assert await other.right(REPOSITORY, "pull", "") is not None
        await one.close()
        await other.close()

    asyncio.run(scene())


def test_rights_to_what_is_not_kept_leave_no_row(tmp_path: Path) -> None:
    async def scene() -> None:
        index = SqliteIndex(tmp_path, FakeLog())
        await index.put_right(REPOSITORY, "pull", "", 7.0)
        assert await index.right(REPOSITORY, "pull", "") == 7.0
        assert index.transact(lambda db: db.execute("SELECT count(*) FROM rights").fetchone()) == (0,)
        assert await index.withdraw_right(REPOSITORY, "pull", "")
        assert await index.right(REPOSITORY, "pull", "") is None
        await index.close()

    asyncio.run(scene())


OTHER_DIGEST = "sha256:" + "b" * 64
OLD = f"""
    CREATE TABLE manifests (upstream TEXT, repository TEXT, digest TEXT, media_type TEXT, size_bytes INTEGER,
        PRIMARY KEY (upstream, repository, digest)) WITHOUT ROWID;
    CREATE TABLE tags (upstream TEXT, repository TEXT, tag TEXT, digest TEXT, confirmed_at REAL,
        PRIMARY KEY (upstream, repository, tag)) WITHOUT ROWID;
    CREATE TABLE blobs (upstream TEXT, repository TEXT, digest TEXT, size_bytes INTEGER,
        PRIMARY KEY (upstream, repository, digest)) WITHOUT ROWID;
    CREATE TABLE public (upstream TEXT, repository TEXT, PRIMARY KEY (upstream, repository)) WITHOUT ROWID;
    CREATE TABLE files (name TEXT PRIMARY KEY, size_bytes INTEGER, used_at REAL) WITHOUT ROWID;
    INSERT INTO files VALUES ('{DIGEST}', 5, 1.0), ('{OTHER_DIGEST}', 5, 1.0);
    INSERT INTO manifests VALUES ('docker.io', 'library/nginx', '{DIGEST}', 'a/type', 5);
    INSERT INTO tags VALUES ('docker.io', 'library/nginx', 'latest', '{DIGEST}', 3.0);
    INSERT INTO blobs VALUES ('docker.io', 'library/nginx', '{OTHER_DIGEST}', 5);
    INSERT INTO blobs VALUES ('ghcr.io', 'a/b', '{OTHER_DIGEST}', 5);
    INSERT INTO public VALUES ('docker.io', 'library/nginx'), ('docker.io behind a login', 'me/secret');
    PRAGMA user_version = 2;
"""


def test_an_index_of_before_keeps_what_is_certain(tmp_path: Path) -> None:
    """A HEAD was proof then: of a blob that two upstreams are noted for, nobody knows whose it was."""
    with contextlib.closing(sqlite3.connect(tmp_path / "index.sqlite3")) as db:
        db.executescript(OLD)

    async def scene() -> None:
        log = FakeLog()
        index = SqliteIndex(tmp_path, log)
        entry = await index.tag(REPOSITORY, "latest")
        assert entry == TagEntry(ManifestInfo(DIGEST, "a/type", 5), 3.0)
        assert entry is not None
        assert entry.manifest.is_held
        assert await index.blob(REPOSITORY, OTHER_DIGEST) is None
        assert await index.right(REPOSITORY, "pull", "") == 1.0, "long ago: to be asked about"
        assert await index.right(Repository("docker.io", "me/secret"), "login", "") == 1.0
        assert log.events == []
        await index.close()

    asyncio.run(scene())


def test_the_tags_of_a_repository_are_listed_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        index = SqliteIndex(tmp_path, FakeLog())
        held, described = ManifestInfo(DIGEST, "a/b", 5), ManifestInfo("sha256:" + "b" * 64, "c/d", 6)
        await index.put_manifest(REPOSITORY, held)
        await index.put_tag(REPOSITORY, "1", TagEntry(held, 7.0))
        await index.put_tag(REPOSITORY, "2", TagEntry(described, 8.0))
        await index.put_tag(Repository("docker.io", "library/redis"), "3", TagEntry(described, 9.0))
        found = await index.tags_of(REPOSITORY)
        assert found == {"1": TagEntry(held, 7.0), "2": TagEntry(described, 8.0)}
        assert [entry.manifest.is_held for entry in found.values()] == [True, False]
        assert found["1"] == await index.tag(REPOSITORY, "1")
        await index.close()

    asyncio.run(scene())
