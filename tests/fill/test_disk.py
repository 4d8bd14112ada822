"""A disk that is full, broken or gone: right bytes or a visible cut, and then no more attempts for a while."""

import asyncio
import contextlib
import errno
import os
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hubferry.ports.content import NoRoom, StoreFailure
from hubferry.ports.fills import FillOrder
from hubferry.ports.partials import Partial
from hubferry.store.blobs import FileBlobs
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import Layout
from hubferry.store.ledger import CacheLimits, Ledger
from hubferry.store.schema import is_counted
from tests.fill.fakes import MIB, UPSTREAM, Stage, Upstream, content, digest_of, play, read_until_cut
from tests.gateway.fakes import FakeLog

DATA = content(4 * MIB)
DIGEST = digest_of(DATA)


class FailingDisk:
    """Partials on a store whose files fail from an offset on, or at a step."""

    def __init__(self, store: FileBlobs, *, write_from: int | None = None, step: str = "") -> None:
        self._store = store
        self._write_from = write_from
        self._step = step

    def open_partial(self, upstream: str, digest: str) -> Partial:
        partial: Any = self._store.open_partial(upstream, digest)
        real_write = partial.write

        def write(offset: int, pieces: Sequence[bytes]) -> None:
            if self._write_from is not None and offset + sum(map(len, pieces)) > self._write_from:
                raise StoreFailure(os.strerror(errno.ENOSPC))
            real_write(offset, pieces)

        def fail(*_: object) -> None:
            raise StoreFailure(os.strerror(errno.EIO))

        partial.write = write
        if self._step:
            setattr(partial, self._step, fail)
        return partial  # type: ignore[no-any-return]


@pytest.mark.parametrize("write_from", [0, 2 * MIB, 4 * MIB - 1])
def test_a_disk_that_fills_up_cuts_and_later_pulls_are_not_kept(tmp_path: Path, write_from: int) -> None:
    stage = Stage(tmp_path, partials=lambda store: FailingDisk(store, write_from=write_from))
    upstream = Upstream(DATA)

    async def scene() -> None:
        with contextlib.suppress(StoreFailure):  # it may have failed before anybody could read
            got, failure = await read_until_cut(await stage.open(DIGEST, upstream))
            assert failure is not None
            assert got == DATA[: len(got)]
        await stage.settled()
        assert stage.partials_left() == []  # a full disk gets its room back
        with pytest.raises(StoreFailure, match="No space left"):
            await stage.fills.start(FillOrder(UPSTREAM, DIGEST, upstream.fetch))
        assert len(upstream.offsets) == 1

    play(scene(), stage)


def test_a_disk_that_fails_at_the_very_end_harms_no_reader(tmp_path: Path) -> None:
    stage = Stage(tmp_path, partials=lambda store: FailingDisk(store, step="commit"))

    async def scene() -> None:
        assert await stage.pull(DIGEST, Upstream(DATA)) == DATA
        await stage.settled()
        assert await stage.stored(DIGEST) is None
        assert stage.events() == ["store_failed"]

    play(scene(), stage)


@pytest.mark.parametrize("step", ["declare", "standing", "cut_to_whole"])
def test_a_disk_that_fails_at_the_beginning_is_told_to_whoever_asked(tmp_path: Path, step: str) -> None:
    stage = Stage(tmp_path, partials=lambda store: FailingDisk(store, step=step))
    upstream = Upstream(DATA)

    async def scene() -> None:
        with pytest.raises(StoreFailure):
            await stage.fills.start(FillOrder(UPSTREAM, DIGEST, upstream.fetch))
        assert all(body.closed for body in upstream.bodies)

    play(scene(), stage)


class OpensOnce:
    """Partials on a store that opens a file once."""

    def __init__(self, store: FileBlobs) -> None:
        self._store = store
        self._opened = 0

    def open_partial(self, upstream: str, digest: str) -> Partial:
        self._opened += 1
        if self._opened > 1:
            raise StoreFailure(os.strerror(errno.EMFILE))
        return self._store.open_partial(upstream, digest)


def test_a_file_that_cannot_be_opened_anew_is_a_store_failure_and_no_more(tmp_path: Path) -> None:
    stage = Stage(tmp_path, partials=OpensOnce)
    left = stage.store.open_partial(UPSTREAM, DIGEST)
    left.write(0, [b"nobody knows what"])
    left.close()

    async def scene() -> None:
        with pytest.raises(StoreFailure, match=os.strerror(errno.EMFILE)):
            await stage.fills.start(FillOrder(UPSTREAM, DIGEST, Upstream(DATA).fetch))
        await stage.settled()
        assert stage.events() == ["store_failed"]

    play(scene(), stage)


def test_a_blob_that_has_no_room_is_not_begun(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path, FakeLog())
    assert index.transact(is_counted)
    ledger = Ledger(Layout(tmp_path), index.transact, CacheLimits(2 * MIB, 0))
    stage = Stage(tmp_path, partials=lambda _: FileBlobs(tmp_path, ledger))
    upstream = Upstream(DATA)

    async def scene() -> None:
        with pytest.raises(NoRoom, match="max_size"):
            await stage.fills.start(FillOrder(UPSTREAM, DIGEST, upstream.fetch))
        assert all(body.closed for body in upstream.bodies)
        small = content(MIB)  # the next one may fit
        assert await stage.fills.start(FillOrder(UPSTREAM, digest_of(small), Upstream(small).fetch))
        await stage.settled()

    play(scene(), stage)
    asyncio.run(index.close())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "partial").write_text("in the way")
    stage = Stage(tmp_path)

    async def scene() -> None:
        with pytest.raises(StoreFailure):
            await stage.fills.start(FillOrder(UPSTREAM, DIGEST, Upstream(DATA).fetch))

    play(scene(), stage)


def test_a_folder_that_is_removed_in_mid_fill(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    stage, upstream = Stage(folder), Upstream(DATA, piece=10_000)

    async def scene() -> None:
        body = await stage.open(DIGEST, upstream)
        shutil.rmtree(folder)
        got, failure = await read_until_cut(body)
        assert got == DATA or failure is not None
        await stage.settled()
        assert await stage.stored(DIGEST) is None
        stage.fills._store_failed = None
        assert await stage.pull(DIGEST, Upstream(DATA)) == DATA
        await stage.settled()
        assert await stage.stored(DIGEST) == DATA

    play(scene(), stage)


def test_a_limit_of_the_system_in_mid_write(tmp_path: Path) -> None:
    """A real failure of a real write: files may not grow beyond 2.5 MB."""
    stage, upstream = Stage(tmp_path), Upstream(DATA)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def scene() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, before[1]))
        try:
            got, failure = await read_until_cut(await stage.open(DIGEST, upstream))
            await stage.settled()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert failure is not None
        assert got == DATA[: len(got)]
        assert stage.partials_left() == []
        stage.fills._store_failed = None  # half a minute later
        assert await stage.pull(DIGEST, upstream) == DATA

    play(scene(), stage)
