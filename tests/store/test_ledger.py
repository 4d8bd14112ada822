"""The account of a cache folder: caps that hold, what goes first, and what never goes."""

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubferry.core.manifest import parts_of
from hubferry.ports.content import NoRoom, StoreFailure
from hubferry.store.blobs import FileBlobs
from hubferry.store.content import FileStore
from hubferry.store.housekeeping import DRAFT_S, SETTLED_S, Housekeeping
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import BLOCK_BYTES, Layout, occupied_bytes
from hubferry.store.ledger import CacheLimits, Ledger, Removed, put_row
from hubferry.store.schema import is_counted, total_bytes
from tests.fill.fakes import UPSTREAM, content, digest_of, read_all
from tests.gateway.fakes import FakeLog

KIB = 1024
CAP = 100 * BLOCK_BYTES


class House:
    """A store with its account; `at` is the time, which stands still."""

    def __init__(self, folder: Path, max_size_bytes: int = CAP, min_free_bytes: int = 0) -> None:
        self.at = 1_000_000.0
        self.layout = Layout(folder)
        self.log = FakeLog()
        self.index = SqliteIndex(folder, self.log)
        assert self.index.transact(is_counted) is not None
        self.is_closed = False
        self.evicted: list[Removed] = []
        limits = CacheLimits(max_size_bytes, min_free_bytes)
        self.ledger = Ledger(self.layout, self.index.transact, limits, now=lambda: self.at, evicted=self.evicted.append)
        self.blobs = FileBlobs(folder, self.ledger)
        self.content = FileStore(folder, self.ledger)
        self.keeping = Housekeeping(self.layout, self.ledger, self.index.transact, now=lambda: self.at)

    def keep(self, data: bytes, upstream: str = UPSTREAM) -> str:
        """Keep a blob; a second later than the last."""
        self.at += 1
        digest = digest_of(data)
        partial = self.blobs.open_partial(upstream, digest)
        assert partial.standing() == "ours"
        try:
            partial.reserve(len(data))
            partial.declare(len(data))
            partial.write(0, [data])
            partial.commit(len(data), digest)
        finally:
            partial.close()
        return digest

    def keep_manifest(self, *digests: str, index: bool = False) -> str:
        self.at += 1
        children = [{"digest": digest} for digest in digests]
        document = {"manifests": children} if index else {"config": children[0], "layers": children[1:]}
        data = json.dumps(document).encode()
        asyncio.run(self.content.write(digest_of(data), data))
        return digest_of(data)

    def want(self, digest: str) -> None:
        self.at += 1
        self.ledger.touch(digest)

    def has(self, digest: str) -> bool:
        return self.layout.content(digest).exists()

    @property
    def counted_bytes(self) -> int:
        return self.index.transact(total_bytes) or 0

    @property
    def on_disk_bytes(self) -> int:
        files = [path for folder in (self.layout.blobs, self.layout.partial) for path in folder.rglob("*")]
        return sum(occupied_bytes(path.stat().st_size) for path in files if path.is_file())

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.run(self.index.close())


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def build(**limits: int) -> House:
        houses.append(House(tmp_path / "cache", **limits))
        return houses[-1]

    yield build
    for house in houses:
        house.close()


def blob(number: int, blocks: int = 10) -> bytes:
    return content(blocks * BLOCK_BYTES - 2) + number.to_bytes(2)


def test_the_cap_holds_and_the_longest_unwanted_goes_first(make: Callable[..., House]) -> None:
    house = make()
    digests = []
    for number in range(30):
        digests.append(house.keep(blob(number)))
        house.want(digests[0])
        assert house.on_disk_bytes <= CAP
        assert house.counted_bytes == house.on_disk_bytes
    kept = [digest for digest in digests if house.has(digest)]
    assert kept == [digests[0], *digests[-len(kept) + 1 :]]
    assert len(kept) >= 9
    assert sum(removed.files for removed in house.evicted) == 30 - len(kept)


def test_what_is_larger_than_the_cap_removes_nothing(make: Callable[..., House]) -> None:
    house = make()
    kept = house.keep(blob(1))
    with pytest.raises(NoRoom, match="max_size"):
        house.keep(blob(2, blocks=101))
    assert house.has(kept)


def test_what_is_being_read_stays(make: Callable[..., House]) -> None:
    house = make()
    read = house.keep(blob(0))

    async def scene() -> None:
        held = await house.blobs.open(read)
        assert held is not None
        body = held.body(0, None)
        held.close()
        await asyncio.to_thread(lambda: [house.keep(blob(number)) for number in range(1, 30)])
        assert house.has(read)
        assert await read_all(body) == blob(0)
        await body.close()
        await asyncio.to_thread(lambda: [house.keep(blob(number)) for number in range(30, 60)])
        assert not house.has(read)

    asyncio.run(scene())


def test_what_is_being_read_in_another_process_stays(make: Callable[..., House]) -> None:
    house, other = make(), make()
    read = house.keep(blob(0))

    async def scene() -> None:
        held = await other.blobs.open(read)
        assert held is not None
        await asyncio.to_thread(house.ledger.make_room, 2**40)
        assert house.has(read)
        held.close()
        await asyncio.to_thread(house.ledger.make_room, 2**40)
        assert not house.has(read)

    asyncio.run(scene())


def test_what_is_being_written_stays_and_what_was_left_goes(make: Callable[..., House]) -> None:
    house = make()
    for number, is_left in ((1, True), (2, False)):
        partial = house.blobs.open_partial(UPSTREAM, digest_of(blob(number)))
        assert partial.standing() == "ours"
        partial.reserve(len(blob(number)))
        partial.declare(len(blob(number)))
        partial.write(0, [b"begun"])
        if is_left:
            partial.close()
    house.ledger.make_room(2**40)
    left = {path.name for path in house.layout.partial.iterdir()}
    under_way = house.layout.under_way(UPSTREAM, digest_of(blob(2))).name
    assert left == {under_way, f"{under_way}.json"}
    partial.close()


def test_everything_in_use_is_no_room(make: Callable[..., House]) -> None:
    house = make()
    partial = house.blobs.open_partial(UPSTREAM, digest_of(b"x"))
    assert partial.standing() == "ours"
    partial.reserve(60 * BLOCK_BYTES)
    with pytest.raises(NoRoom, match="in use"):
        house.keep(blob(1, blocks=60))
    partial.discard()
    partial.close()
    assert house.has(house.keep(blob(1, blocks=60)))


def test_an_image_that_is_wanted_has_no_holes_while_something_colder_can_go(make: Callable[..., House]) -> None:
    house = make()
    layers = [house.keep(blob(number)) for number in range(3)]
    image = house.keep_manifest(*layers)
    index = house.keep_manifest(image, digest_of(b"another platform, never asked for"), index=True)
    for number in range(10, 60):
        house.keep(blob(number))
        house.want(index)  # a node asks whether its image changed, and no more
    assert all(map(house.has, (index, image, *layers)))
    for number in range(60, 100):
        house.keep(blob(number))
    assert not any(map(house.has, (index, image, *layers)))


def test_a_repository_no_longer_holds_what_was_removed(make: Callable[..., House]) -> None:
    house = make()
    digest = house.keep(blob(1))

    def holdings(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT count(*) FROM blobs").fetchone()[0])

    house.index.transact(lambda db: db.execute("INSERT INTO blobs VALUES ('hub', 'app', ?, 1)", (digest,)))
    assert house.index.transact(holdings) == 1
    house.ledger.make_room(1)
    assert house.index.transact(holdings) == 0


def test_a_blob_under_way_removes_others_only_as_it_comes(make: Callable[..., House]) -> None:
    house = make(max_size_bytes=100 * 2**20)
    for number in range(9):
        house.keep(blob(number, blocks=2560))  # 10 MiB each
    partial = house.blobs.open_partial(UPSTREAM, digest_of(b"x"))
    assert partial.standing() == "ours"
    partial.expect(0, 95 * 2**20)
    assert house.evicted == []
    partial.write(0, [b"x" * 2**20 * 4])
    assert house.evicted == []  # there is room for that, and for as much again
    partial.write(2**22, [b"x" * 2**20 * 5])
    assert house.evicted == [Removed(1, 10 * 2**20)]
    partial.close()


def test_what_cannot_have_room_removes_nothing(make: Callable[..., House]) -> None:
    house = make()
    free = [house.keep(blob(number)) for number in range(4)]
    read = house.keep(blob(9, blocks=50))

    async def scene() -> None:
        held = await house.blobs.open(read)
        assert held is not None
        partial = house.blobs.open_partial(UPSTREAM, digest_of(b"x"))
        assert partial.standing() == "ours"
        with pytest.raises(NoRoom, match="in use"):
            partial.expect(0, 60 * BLOCK_BYTES)
        assert all(map(house.has, free))
        partial.expect(0, 40 * BLOCK_BYTES)
        partial.close()
        held.close()

    asyncio.run(scene())


def test_a_blob_of_unknown_length_stays_within_the_cap(make: Callable[..., House]) -> None:
    house = make(max_size_bytes=65 * 2**20)
    partial = house.blobs.open_partial(UPSTREAM, digest_of(b"x"))
    assert partial.standing() == "ours"
    partial.expect(0, None)
    piece = b"x" * 2**20
    for number in range(64):
        partial.write(number * len(piece), [piece])
        assert house.on_disk_bytes <= house.counted_bytes <= 65 * 2**20
    with pytest.raises(NoRoom):  # the last MiB has a block for the sidecar
        partial.write(64 * len(piece), [piece])
    partial.close()


def test_room_is_left_on_the_disk(make: Callable[..., House]) -> None:
    stat = os.statvfs("/")
    house = make(max_size_bytes=2**60, min_free_bytes=stat.f_frsize * stat.f_blocks)
    with pytest.raises(NoRoom, match="min_free"):
        house.keep(blob(1))


def test_an_index_that_cannot_be_used_is_a_store_failure(make: Callable[..., House]) -> None:
    house = make()
    house.layout.index.unlink()
    house.layout.index.mkdir()
    with pytest.raises(StoreFailure, match="cannot be used"):
        house.keep(blob(1))
    house.layout.index.rmdir()


def test_a_lost_index_is_made_anew_from_the_disk(make: Callable[..., House]) -> None:
    house = make()
    layers = [house.keep(blob(number)) for number in range(3)]
    image = house.keep_manifest(*layers)
    lost = house.counted_bytes
    house.close()
    house.layout.index.unlink()
    again = make()
    with pytest.raises(NoRoom, match="counted"):
        again.keep(blob(9))
    again.keeping.count()
    assert again.counted_bytes == lost
    again.at += 1
    again.ledger.touch(image)
    for number in range(10, 60):
        again.keep(blob(number))
        again.want(image)
    assert all(map(again.has, layers))


def test_a_lost_index_counts_a_blob_under_way_as_large_as_it_will_be(make: Callable[..., House]) -> None:
    house = make()
    partial = house.blobs.open_partial(UPSTREAM, digest_of(b"x"))
    assert partial.standing() == "ours"
    partial.reserve(60 * BLOCK_BYTES)
    partial.declare(60 * BLOCK_BYTES)
    partial.write(0, [b"begun"])
    reserved = house.counted_bytes
    house.layout.index.unlink()
    house.keeping.count()
    assert house.counted_bytes == reserved
    with pytest.raises(NoRoom, match="in use"):
        house.keep(blob(1, blocks=60))
    partial.close()


def test_what_a_crash_left_is_put_right(make: Callable[..., House]) -> None:
    house = make()
    gone, kept = house.keep(blob(1)), house.keep(blob(2))
    house.layout.content(gone).unlink()
    uncounted = house.keep(blob(3))
    house.index.transact(lambda db: db.execute("DELETE FROM files WHERE name = ?", (uncounted,)))
    house.keeping.count()
    assert house.counted_bytes == 30 * BLOCK_BYTES  # a row may be there before its file
    house.at += SETTLED_S + 1
    house.keeping.count()
    assert house.counted_bytes == house.on_disk_bytes == 20 * BLOCK_BYTES
    assert house.has(kept)


def test_drafts_of_a_process_that_was_killed_are_removed(make: Callable[..., House]) -> None:
    house = make()
    house.at = time.time()
    kept = house.layout.content(house.keep(blob(1)))
    partial = house.blobs.open_partial(UPSTREAM, digest_of(b"x"))
    partial.close()
    drafts = [kept.with_name(f".{kept.name}.1.abc"), house.layout.partial / ".sha256-x.json.draft"]
    for draft in drafts:
        draft.write_bytes(b"half")
    house.keeping.remove_drafts()
    assert all(draft.exists() for draft in drafts)  # somebody may be writing them
    house.at += DRAFT_S + 1
    house.keeping.remove_drafts()
    assert not any(draft.exists() for draft in drafts)
    assert kept.exists()
    assert len(list(house.layout.partial.iterdir())) == 1


@pytest.mark.parametrize("begins", [("sha256:00",), ("sha256:7f", "sha256:80"), ("sha256:ff", "sha512:ff")])
def test_rows_of_folders_without_a_file_are_put_right(make: Callable[..., House], begins: tuple[str, ...]) -> None:
    house = make()
    names = [begin.ljust(71 if begin.startswith("sha256") else 135, "0") for begin in begins]

    def write(db: sqlite3.Connection) -> None:
        for name in names:
            put_row(db, name, BLOCK_BYTES, house.at)

    house.index.transact(write)
    house.keeping.count()
    assert house.counted_bytes == BLOCK_BYTES * len(names)  # they may be there before their files
    house.at += SETTLED_S + 1
    house.keeping.count()
    assert house.counted_bytes == 0


def test_empty_folders_cost_no_transaction_each(make: Callable[..., House]) -> None:
    house = make()
    house.keep(blob(1))
    made = []

    def transact(work: Callable[[sqlite3.Connection], object]) -> object:
        made.append(work)
        return house.index.transact(work)

    Housekeeping(house.layout, house.ledger, transact, now=lambda: house.at).count()  # type: ignore[arg-type]
    assert len(made) < 10


def test_a_lower_cap_is_reached_at_the_next_count(make: Callable[..., House]) -> None:
    house = make()
    for number in range(9):
        house.keep(blob(number))
    smaller = make(max_size_bytes=25 * BLOCK_BYTES)
    smaller.keeping.count()
    assert smaller.on_disk_bytes == smaller.counted_bytes == 20 * BLOCK_BYTES


def test_a_folder_that_was_removed_is_begun_anew(make: Callable[..., House]) -> None:
    house = make()
    house.keep(blob(1))
    house.layout.folder.rename(house.layout.folder.with_name("gone"))
    with pytest.raises(NoRoom, match="counted"):
        house.keep(blob(2))
    house.keeping.count()
    assert house.has(house.keep(blob(2)))
    assert house.counted_bytes == house.on_disk_bytes == 10 * BLOCK_BYTES


def test_two_processes_share_one_cap(make: Callable[..., House]) -> None:
    house, other = make(), make()
    for number in range(20):
        (house if number % 2 else other).keep(blob(number))
        assert house.on_disk_bytes <= CAP
    assert house.counted_bytes == other.counted_bytes == house.on_disk_bytes


def test_one_digest_of_two_upstreams_is_counted_once(make: Callable[..., House]) -> None:
    house = make()
    one, two = (house.blobs.open_partial(upstream, digest_of(blob(1))) for upstream in ("docker.io", "quay.io"))
    for partial in (one, two):
        assert partial.standing() == "ours"
        partial.reserve(len(blob(1)))
        partial.write(0, [blob(1)])
    for partial in (one, two):
        partial.commit(len(blob(1)), digest_of(blob(1)))
        partial.close()
    assert house.counted_bytes == house.on_disk_bytes == 10 * BLOCK_BYTES


@pytest.mark.parametrize(
    ("document", "digests"),
    [
        ({"config": {"digest": digest_of(b"a")}, "layers": [{"digest": digest_of(b"b")}]}, [b"a", b"b"]),
        ({"layers": [{"digest": digest_of(b"b")}, {"digest": digest_of(b"b")}]}, [b"b"]),
        ({"manifests": [{"digest": digest_of(b"c")}, {"digest": "sha256:short"}, 5]}, [b"c"]),
        ({"fsLayers": [{"blobSum": digest_of(b"d")}]}, [b"d"]),
        ({"layers": {"digest": digest_of(b"b")}}, []),
        ({"layers": 7}, []),
        ([], []),
    ],
)
def test_what_a_manifest_refers_to(document: object, digests: list[bytes]) -> None:
    assert parts_of(json.dumps(document).encode()) == tuple(map(digest_of, digests))
    assert parts_of(b"\xff{") == ()


def test_what_is_pinned_stays_whatever_room_is_needed(make: Callable[..., House]) -> None:
    house = make(max_size_bytes=10 * BLOCK_BYTES)
    layers = [house.keep(bytes([number]) * KIB) for number in range(3)]
    manifest = house.keep_manifest(*layers)
    index = house.keep_manifest(manifest, index=True)
    cold = house.keep(b"cold" * KIB)
    place = ("docker.io", "library/app")

    def pin(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO tags VALUES (?, ?, 'one', ?, 1, '', 0)", (*place, index))
        db.execute("INSERT INTO pins VALUES (?, ?, 'one')", place)

    house.index.transact(pin)
    house.ledger.make_room(2**40)
    assert house.layout.content(index).exists()
    assert all(house.layout.content(digest).exists() for digest in (manifest, *layers))
    assert not house.layout.content(cold).exists()
    with pytest.raises(NoRoom, match="in use or pinned"):
        house.keep(b"x" * 6 * BLOCK_BYTES)
    house.index.transact(lambda db: db.execute("DELETE FROM pins"))
    house.keep(b"x" * 6 * BLOCK_BYTES)
    assert not all(house.layout.content(digest).exists() for digest in (index, manifest, *layers))


def test_a_pinned_digest_stays(make: Callable[..., House]) -> None:
    house = make()
    manifest = house.keep_manifest(house.keep(b"layer"))
    house.index.transact(lambda db: db.execute("INSERT INTO pins VALUES ('docker.io', 'a/b', ?)", (manifest,)))
    house.keep(b"other")
    assert house.ledger.make_room(2**40).files == 1
    assert house.layout.content(manifest).exists()
