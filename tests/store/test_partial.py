"""A file with ranges written ahead of what is whole: what it says to others, whatever becomes of it."""

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hubferry.store.blobs import FileBlobs
from hubferry.store.catalogue import Catalogue
from hubferry.store.housekeeping import SETTLED_S, Housekeeping
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import BLOCK_BYTES, Layout
from hubferry.store.ledger import CacheLimits, Ledger, remove_unless_locked
from hubferry.store.partial import PartialFile
from hubferry.store.schema import is_counted, total_bytes
from tests.fill.fakes import UPSTREAM, content, digest_of
from tests.gateway.fakes import FakeLog

MIB = 2**20
DATA = content(MIB)
DIGEST = digest_of(DATA)
FRONT = 100_000


def opened(folder: Path) -> PartialFile:
    return FileBlobs(folder).open_partial(UPSTREAM, DIGEST)


def begun(folder: Path) -> PartialFile:
    """Whole up to FRONT, of which a part was written before anything was ahead; and the last quarter."""
    partial = opened(folder)
    assert partial.standing() == "ours"
    partial.declare(MIB)
    partial.write(0, [DATA[: FRONT // 2]])
    assert partial.go_ahead()
    partial.write(MIB // 4 * 3, [DATA[MIB // 4 * 3 :]])
    partial.write(FRONT // 2, [DATA[FRONT // 2 : FRONT]])
    partial.note_front(FRONT)
    return partial


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in (folder / "partial").iterdir())


def test_its_length_is_how_far_it_is_whole(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as partial, closing(opened(tmp_path)) as other:
        partial.write(0, [DATA[:FRONT]])
        assert other.length_bytes() == FRONT
        assert partial.go_ahead()
        assert other.length_bytes() == FRONT
        partial.write(MIB - 5, [DATA[-5:]])
        assert other.length_bytes() == partial.length_bytes() == FRONT
        partial.write(FRONT, [DATA[FRONT : FRONT + 9]])
        assert other.length_bytes() == FRONT  # it is not hashed yet
        partial.note_front(FRONT + 9)
        assert other.length_bytes() == FRONT + 9


def test_whoever_continues_it_cuts_it_to_its_front(tmp_path: Path) -> None:
    begun(tmp_path).close()
    with closing(opened(tmp_path)) as partial:
        assert partial.standing() == "ours"
        assert partial.cut_to_whole() == FRONT
        assert names(tmp_path) == ["", ".json"]
        assert os.fstat(partial.descriptor).st_size == partial.length_bytes() == FRONT
        partial.write(FRONT, [DATA[FRONT:]])
        assert partial.length_bytes() == MIB  # as of any other file
        assert partial.cut_to_whole() == MIB
        partial.commit(MIB, DIGEST)
    assert names(tmp_path) == []


def test_a_whole_one_is_kept_like_any_other(tmp_path: Path) -> None:
    store = FileBlobs(tmp_path)
    usual = store.open_partial(UPSTREAM, DIGEST)
    mode = os.fstat(usual.descriptor).st_mode
    usual.discard()
    usual.close()
    with closing(begun(tmp_path)) as partial:
        partial.write(FRONT, [DATA[FRONT : MIB // 4 * 3]])
        partial.note_front(MIB)
        partial.commit(MIB, DIGEST)
        assert partial.length_bytes() == MIB
    assert names(tmp_path) == []
    assert store.path(DIGEST).stat().st_mode == mode
    assert store.path(DIGEST).read_bytes() == DATA


def closed_and(partial: PartialFile, remove: Callable[[], object]) -> None:
    partial.close()
    remove()


def remove_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


REMOVALS: dict[str, Callable[[PartialFile, Path], object]] = {
    "discarded": lambda partial, _: partial.discard(),
    "abandoned": lambda partial, _: partial.abandon(),
    "evicted": lambda partial, path: closed_and(partial, lambda: remove_unless_locked(path)),
    "removed by hand": lambda partial, path: closed_and(partial, lambda: remove_all(path.parent)),
    "without its front": lambda _, path: path.with_name(path.name + ".front").unlink(),
    "a torn front": lambda _, path: path.with_name(path.name + ".front").write_bytes(b"\0\0\0\0\0"),
    "a front beyond its end": lambda _, path: path.with_name(path.name + ".front").write_bytes(b"\xff" * 8),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_nobody_who_has_it_open_takes_its_length_for_its_front(tmp_path: Path, removal: str) -> None:
    partial = begun(tmp_path)
    (path,) = (one for one in (tmp_path / "partial").iterdir() if not one.suffix)
    with closing(opened(tmp_path)) as follower:
        assert follower.standing() == "followed"
        REMOVALS[removal](partial, path)
        beyond = removal == "a front beyond its end"
        assert follower.length_bytes() == (MIB if beyond else 0)
        partial.close()
        standing = follower.standing()
        assert standing == ("abandoned" if removal == "abandoned" else "discarded" if not path.exists() else "ours")
        if standing == "ours":  # a machine that lost its power: there is nothing where the front should be
            assert follower.cut_to_whole() == (BLOCK_BYTES * (-(-FRONT // BLOCK_BYTES)) if beyond else 0)


def test_an_old_front_says_nothing_of_another_file(tmp_path: Path) -> None:
    begun(tmp_path).close()
    (path,) = (one for one in (tmp_path / "partial").iterdir() if not one.suffix)
    path.unlink()
    with closing(opened(tmp_path)) as partial:
        partial.write(0, [DATA[:10]])
        assert partial.length_bytes() == partial.cut_to_whole() == 10
        assert partial.go_ahead()
        assert partial.length_bytes() == 10


def test_a_file_system_without_modes_is_not_written_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(opened(tmp_path)) as partial:
        monkeypatch.setattr(os, "fchmod", lambda *_: None)
        assert not partial.go_ahead()
        partial.write(0, [DATA])
        assert partial.length_bytes() == MIB
        partial.commit(MIB, DIGEST)
    assert names(tmp_path) == []


def test_what_stands_beside_it_is_counted_and_goes_with_it(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path, FakeLog())
    assert index.transact(is_counted)
    ledger = Ledger(Layout(tmp_path), index.transact, CacheLimits(16 * MIB, 0))
    partial = FileBlobs(tmp_path, ledger).open_partial(UPSTREAM, DIGEST)
    assert partial.standing() == "ours"
    partial.declare(MIB)
    partial.reserve(MIB)
    assert index.transact(total_bytes) == MIB + BLOCK_BYTES
    assert partial.go_ahead()
    partial.write(MIB - 1, [b"?"])
    assert index.transact(total_bytes) == MIB + 2 * BLOCK_BYTES
    # the same when the index was lost meanwhile
    for path in tmp_path.glob("index.sqlite3*"):
        path.unlink()
    anew = SqliteIndex(tmp_path, FakeLog())
    ledger = Ledger(Layout(tmp_path), anew.transact, CacheLimits(16 * MIB, 0))
    Housekeeping(Layout(tmp_path), ledger, anew.transact, now=lambda: SETTLED_S).count()
    assert anew.transact(total_bytes) == MIB + 2 * BLOCK_BYTES
    catalogue = Catalogue(Layout(tmp_path), anew.transact, ledger)
    assert catalogue.totals().under_way == 1
    assert catalogue.prune().files == 0
    partial.close()
    assert catalogue.prune().files == 1
    assert names(tmp_path) == []
    asyncio.run(anew.close())
    asyncio.run(index.close())
