"""Blob files: whole or not there, shared while they are read, and who may write one that is under way."""

import asyncio
import concurrent.futures
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hubferry.ports.content import StoreFailure
from hubferry.ports.upstream import UpstreamFailure
from hubferry.store import blobs, checks
from hubferry.store.blobs import FileBlobs
from hubferry.store.checks import check_file
from hubferry.store.layout import Layout, sidecar
from hubferry.store.mark import is_marked
from hubferry.store.page_reads import PageReads
from hubferry.store.partial import PartialFile
from tests.fill.fakes import MIB, UPSTREAM, content, digest_of, read_all
from tests.gateway.fakes import FakeLog
from tests.support.scenes import open_files
from tests.support.waiting import until

DATA = content(10 * MIB)
DIGEST = digest_of(DATA)


@pytest.fixture(autouse=True)
def _checks_ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The threads of every store end with the test, however it ended."""
    executors = []

    def executor(workers: int, thread_name_prefix: str) -> concurrent.futures.Executor:
        executors.append(concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix))
        return executors[-1]

    monkeypatch.setattr(blobs, "ThreadPoolExecutor", executor)
    yield
    for each in executors:
        each.shutdown()


def committed(store: FileBlobs, data: bytes = DATA) -> None:
    partial = store.open_partial(UPSTREAM, digest_of(data))
    assert partial.standing() == "ours"
    partial.declare(len(data))
    partial.write(0, [data[:1000], data[1000:]])
    partial.commit(len(data), digest_of(data))
    partial.close()


def test_a_committed_blob_is_read_whole_and_in_parts(tmp_path: Path) -> None:
    store, before = FileBlobs(tmp_path), open_files()
    committed(store)

    async def scene() -> None:
        blob = await store.open(DIGEST)
        assert blob is not None
        assert blob.size_bytes == blob.front_bytes == len(DATA)
        bodies = [blob.body(0, None), blob.body(5, 10), blob.body(MIB, None), blob.body(len(DATA), None)]
        blob.close()
        blob.close()
        got = await asyncio.gather(*map(read_all, bodies))
        assert got == [DATA, DATA[5:10], DATA[MIB:], b""]

    asyncio.run(scene())
    assert open_files() == before
    assert list((tmp_path / "partial").iterdir()) == []


def test_many_readers_share_one_descriptor(tmp_path: Path) -> None:
    store, before = FileBlobs(tmp_path), open_files()
    committed(store)

    async def scene() -> None:
        blobs = await asyncio.gather(*(store.open(DIGEST) for _ in range(50)))
        assert len(open_files() - before) == 1
        store.path(DIGEST).unlink()
        for blob in blobs:
            assert blob is not None
            body = blob.body(0, None)
            blob.close()
            assert await read_all(body) == DATA
        assert await store.open(DIGEST) is None

    asyncio.run(scene())
    assert open_files() == before


@pytest.mark.parametrize("can_ask", [True, False])
def test_what_is_not_in_the_page_cache_is_read_on_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_ask: bool
) -> None:
    store = FileBlobs(tmp_path)
    committed(store)

    def refuse(*_: object) -> int:
        raise BlockingIOError if can_ask else OSError(95, "not supported")

    monkeypatch.setattr(os, "preadv", refuse)

    async def scene() -> None:
        blob = await store.open(DIGEST)
        assert blob is not None
        body = blob.body(0, None)
        blob.close()
        assert await read_all(body) == DATA
        assert store.reads._can_ask is can_ask
        # a reader that is cancelled and closed while its thread reads
        blob = await store.open(DIGEST)
        assert blob is not None
        body = blob.body(0, None)
        blob.close()
        reading = asyncio.ensure_future(body.read())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        await body.close()

    before = open_files()
    asyncio.run(scene())
    assert open_files() == before


def test_a_blob_is_there_as_soon_as_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process is given it while the one that fetched it still waits for the disk."""
    found: list[int | None] = []

    async def look() -> None:
        blob = await FileBlobs(tmp_path).open(DIGEST)
        found.append(None if blob is None else blob.size_bytes)
        if blob is not None:
            blob.close()

    monkeypatch.setattr("hubferry.store.partial.sync_folder", lambda _: asyncio.run(look()))
    committed(FileBlobs(tmp_path))
    assert found == [len(DATA)]


def test_a_blob_that_is_held_alone_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    store = FileBlobs(tmp_path)
    committed(store)

    async def scene() -> None:
        held = os.open(store.path(DIGEST), os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        opening = asyncio.create_task(store.open(DIGEST))
        await asyncio.sleep(0.1)  # in which it would be open
        assert not opening.done()
        os.close(held)
        blob = await opening
        assert blob is not None
        blob.close()
        # held alone for its removal
        held = os.open(store.path(DIGEST), os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        store.path(DIGEST).unlink()
        assert await store.open(DIGEST) is None
        os.close(held)

    asyncio.run(scene())


def test_a_file_that_became_shorter_cuts_its_readers(tmp_path: Path) -> None:
    store = FileBlobs(tmp_path)
    committed(store)

    async def scene() -> None:
        blob = await store.open(DIGEST)
        assert blob is not None
        body = blob.body(0, None)
        blob.close()
        os.truncate(store.path(DIGEST), MIB)
        with pytest.raises(UpstreamFailure, match="shorter"):
            await read_all(body)

    asyncio.run(scene())


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(5 * MIB)
        byte = file.read(1)
        file.seek(5 * MIB)
        file.write(bytes([byte[0] ^ 1]))


DAMAGES = {
    "a flipped bit": flip,
    "cut": lambda path: os.truncate(path, 9 * MIB),
    "emptied": lambda path: os.truncate(path, 0),
    "longer": lambda path: os.truncate(path, 11 * MIB),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_was_altered_is_put_aside_and_not_kept(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    log = FakeLog()
    committed(FileBlobs(tmp_path))
    store, before = FileBlobs(tmp_path, log=log), open_files()
    damage(store.path(DIGEST))

    async def scene() -> None:
        assert await asyncio.gather(*(store.open(DIGEST) for _ in range(3))) == [None] * 3

    asyncio.run(scene())
    assert open_files() == before
    assert [event for event, _ in log.events] == ["content_damaged"]
    assert not store.path(DIGEST).exists()
    assert (tmp_path / "quarantine" / store.path(DIGEST).name).exists()
    committed(store)
    asyncio.run(read_back(store))


class ChecksByHand(concurrent.futures.Executor):
    """Checks that end when the test says so, on the loop's own thread."""

    def __init__(self) -> None:
        self.ends: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.ends.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future


def test_whoever_comes_just_as_damage_is_found_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(FileBlobs(tmp_path))
    store, before, checks_by_hand = FileBlobs(tmp_path), open_files(), ChecksByHand()
    monkeypatch.setattr(store, "_checks", checks_by_hand)
    os.truncate(store.path(DIGEST), 0)

    async def scene() -> None:
        first = asyncio.create_task(store.open(DIGEST))
        await until(lambda: bool(checks_by_hand.ends), "a check")
        checks_by_hand.ends[0]()  # known to the loop at its next turn,
        second = asyncio.create_task(store.open(DIGEST))  # this starts in that turn
        await first
        for end in checks_by_hand.ends[1:]:
            end()
        assert (first.result(), await second) == (None, None)

    asyncio.run(scene())
    assert len(checks_by_hand.ends) == 1
    assert open_files() == before


def counted_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []

    def check(digest: str, descriptor: int) -> str:
        seen.append(digest)
        return check_file(digest, descriptor)

    monkeypatch.setattr(blobs, "check_file", check)
    return seen


async def read_back(store: FileBlobs) -> None:
    blob = await store.open(DIGEST)
    assert blob is not None
    assert await read_all(blob.body(0, None)) == DATA
    blob.close()


@pytest.mark.parametrize("is_right", [True, False])
def test_a_check_that_takes_long_holds_the_body_and_not_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_right: bool
) -> None:
    committed(FileBlobs(tmp_path))
    store, may_end = FileBlobs(tmp_path), threading.Event()
    store.path(DIGEST).touch() if is_right else flip(store.path(DIGEST))

    def check_later(digest: str, descriptor: int) -> str:
        may_end.wait(30)
        return check_file(digest, descriptor)

    monkeypatch.setattr(blobs, "check_file", check_later)
    monkeypatch.setattr(blobs, "CHECK_PATIENCE_S", 0.0)

    async def scene() -> None:
        blob = await store.open(DIGEST, len(DATA))
        assert blob is not None
        assert blob.size_bytes == len(DATA)
        body = blob.body(0, None)
        blob.close()
        assert await body.next_region() is None
        reading = asyncio.ensure_future(body.read())
        await asyncio.sleep(0.05)  # in which it would be read
        assert not reading.done()
        may_end.set()
        if is_right:
            assert await reading == DATA[: 64 * 1024]
            assert await body.next_region() is not None
        else:
            with pytest.raises(UpstreamFailure, match="was damaged"):
                await reading
            assert await store.open(DIGEST) is None
        await body.close()

    asyncio.run(scene())


def test_what_was_only_touched_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(FileBlobs(tmp_path))
    hashed = counted_checks(monkeypatch)
    asyncio.run(read_back(FileBlobs(tmp_path)))
    assert hashed == []
    FileBlobs(tmp_path).path(DIGEST).touch()
    for _ in range(3):
        asyncio.run(read_back(FileBlobs(tmp_path)))
    assert hashed == [DIGEST]


def test_where_nothing_can_be_marked_a_process_hashes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(FileBlobs(tmp_path))
    hashed = counted_checks(monkeypatch)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(checks, "set_mark", refuse)
    store = FileBlobs(tmp_path)
    store.path(DIGEST).touch()
    for _ in range(3):
        asyncio.run(read_back(store))
    assert hashed == [DIGEST]


def test_a_file_of_another_length_is_never_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(FileBlobs(tmp_path))
    store = FileBlobs(tmp_path)
    os.truncate(store.path(DIGEST), 9 * MIB)
    monkeypatch.setattr(blobs, "CHECK_PATIENCE_S", 0.0)
    assert asyncio.run(store.open(DIGEST, len(DATA))) is None


def test_who_leaves_while_a_file_is_opened_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(FileBlobs(tmp_path))
    store, before = FileBlobs(tmp_path), open_files()
    is_opening, may_end = threading.Event(), threading.Event()
    real = blobs._open_file

    def open_later(path: Path) -> tuple[int, os.stat_result] | None:
        is_opening.set()
        may_end.wait(30)
        return real(path)

    monkeypatch.setattr(blobs, "_open_file", open_later)

    async def scene() -> None:
        opening = asyncio.ensure_future(store.open(DIGEST))
        await until(is_opening.is_set, "that its thread opens it")
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        may_end.set()
        await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert open_files() == before


def test_what_another_process_fetched_anew_is_not_put_aside(tmp_path: Path) -> None:
    committed(FileBlobs(tmp_path))
    store = FileBlobs(tmp_path)
    flip(store.path(DIGEST))
    descriptor = os.open(store.path(DIGEST), os.O_RDONLY)
    store.path(DIGEST).unlink()
    committed(store)
    checks.put_aside(Layout(tmp_path), None, DIGEST, store.path(DIGEST), descriptor)
    os.close(descriptor)
    asyncio.run(read_back(store))


def test_a_file_that_changes_under_its_check_is_not_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(FileBlobs(tmp_path))
    path = FileBlobs(tmp_path).path(DIGEST)
    path.touch()
    real = checks.find_problem

    def altered(name: str, descriptor: int, hashed: Callable[[int], None]) -> str:
        problem = real(name, descriptor, hashed)
        flip(path)
        return problem

    monkeypatch.setattr(checks, "find_problem", altered)
    with path.open("rb") as file:
        assert "digest" in checks.check_file(DIGEST, file.fileno())
        assert not is_marked(os.fstat(file.fileno()), DIGEST)


def test_page_reads_say_when_the_disk_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(OSError, match="I/O"):
        PageReads().read_cached(0, 0, 1)


@pytest.mark.parametrize(
    ("length", "digest"), [(3, digest_of(b"else")), (2, digest_of(b"abc")), (4, digest_of(b"abc"))]
)
def test_what_is_not_right_is_not_committed(tmp_path: Path, length: int, digest: str) -> None:
    store = FileBlobs(tmp_path)
    partial = store.open_partial(UPSTREAM, digest_of(b"abc"))
    partial.write(0, [b"abc"])
    with pytest.raises(StoreFailure, match="is not"):
        partial.commit(length, digest)
    assert not store.path(digest_of(b"abc")).exists()
    partial.close()


def test_one_writes_and_the_others_follow(tmp_path: Path) -> None:
    store = FileBlobs(tmp_path)
    one, two, three = (store.open_partial(UPSTREAM, DIGEST) for _ in range(3))
    assert [file.standing() for file in (one, two, one)] == ["ours", "followed", "ours"]
    one.release()
    assert two.standing() == "ours"
    assert one.standing() == "followed"
    two.declare(len(DATA))
    two.write(0, [DATA])
    two.commit(len(DATA), DIGEST)
    assert [file.standing() for file in (one, two, three)] == ["committed"] * 3
    for file in (one, two, three):
        file.close()
        file.close()


def test_what_was_discarded_is_known_to_whoever_has_it_open(tmp_path: Path) -> None:
    store = FileBlobs(tmp_path)
    old, follower = (store.open_partial(UPSTREAM, DIGEST) for _ in range(2))
    assert old.standing() == "ours"
    old.discard()
    new = store.open_partial(UPSTREAM, DIGEST)
    assert new.standing() == "ours"
    new.declare(7)
    old.close()
    assert follower.standing() == "discarded"
    follower.discard()  # is no longer its own to remove
    assert new.declared() is not None
    assert new.standing() == "ours"
    follower.close()
    new.close()


def test_upstreams_do_not_share_what_is_under_way(tmp_path: Path) -> None:
    paths = {Layout(tmp_path).under_way(upstream, DIGEST) for upstream in ("docker.io", "ghcr.io", "x" * 300)}
    assert len(paths) == 3
    assert all(len(path.name) < 200 for path in paths)


@pytest.mark.parametrize("method", ["length_bytes", "declare", "write", "read"])
def test_failures_are_store_failures(tmp_path: Path, method: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {"declare": (1,), "write": (0, [b"x"]), "read": (0, 1)}
    layout = Layout(tmp_path)
    partial = PartialFile(layout, UPSTREAM, DIGEST, PageReads(), None)
    partial.close()
    sidecar(layout.under_way(UPSTREAM, DIGEST)).mkdir()
    with pytest.raises(StoreFailure):
        getattr(partial, method)(*arguments.get(method, ()))
