"""Content in memory and on disk, read by several at once."""

import asyncio
from pathlib import Path

import pytest

from hubferry.ports.content import StoreFailure
from hubferry.ports.index import ManifestInfo, Repository
from hubferry.store import content
from hubferry.store.content import FileStore
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import Layout
from hubferry.store.ledger import CacheLimits, Ledger
from tests.gateway.fakes import FakeLog
from tests.support.content import digest_of

CONTENT = b"a manifest"


def test_content_that_leaves_memory_while_its_file_is_looked_for_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others took its place: memory is bounded."""
    monkeypatch.setattr(content, "RECHECK_S", 0.0)
    monkeypatch.setattr(content, "MEMORY_BYTES", 8 * len(CONTENT))
    store = FileStore(tmp_path)
    digest = digest_of(CONTENT)
    others = [b"content %2d" % number for number in range(8)]  # as much as there is room for

    async def scene() -> None:
        loop = asyncio.get_running_loop()

        def exists(_: Path) -> bool:
            for other in others:
                asyncio.run_coroutine_threadsafe(store.write(digest_of(other), other), loop).result(30)
            return True

        await store.write(digest, CONTENT)
        monkeypatch.setattr(Path, "exists", exists)
        assert await store.read(digest) == CONTENT

    asyncio.run(scene())


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    store, digest = FileStore(tmp_path), digest_of(CONTENT)
    asyncio.run(store.write(digest, CONTENT))
    path = Layout(tmp_path).content(digest)
    before = path.stat().st_ino
    asyncio.run(store.write(digest, CONTENT))
    assert path.stat().st_ino == before
    path.write_bytes(b"x" * len(CONTENT))
    asyncio.run(store.write(digest, CONTENT))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("was_there", [True, False])
def test_a_failed_write_forgets_nothing_about_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_there: bool
) -> None:
    repository, digest = Repository("docker.io", "library/nginx"), digest_of(CONTENT)
    layout = Layout(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def scene() -> None:
        index = SqliteIndex(tmp_path, FakeLog())
        store = FileStore(tmp_path, Ledger(layout, index.transact, CacheLimits(2**20, 0)))
        if was_there:
            await store.write(digest, CONTENT)
            layout.content(digest).write_bytes(b"it was altered, and is written once more")
        await index.put_manifest(repository, ManifestInfo(digest, "a/b", len(CONTENT)))
        monkeypatch.setattr(content, "write_durably", full)
        with pytest.raises(StoreFailure):
            await store.write(digest, CONTENT)
        await index.close()
        again = SqliteIndex(tmp_path, FakeLog())  # which remembers nothing
        assert (await again.manifest(repository, digest) is not None) is was_there
        await again.close()

    asyncio.run(scene())
