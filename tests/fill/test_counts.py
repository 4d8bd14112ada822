"""What is counted of fills: one result for each, whatever became of it, and nothing of those that follow."""

import asyncio
from pathlib import Path

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.fill import reader
from hubferry.fill.bounds import Effort
from hubferry.ports.content import StoreFailure
from hubferry.ports.fills import Fetched, FillOrder
from tests.fill.fakes import MIB, UPSTREAM, Stage, Upstream, content, digest_of, play, read_until_cut
from tests.fill.test_disk import FailingDisk
from tests.support.waiting import turns

DATA = content(4 * MIB)
DIGEST = digest_of(DATA)


def test_what_is_kept_is_counted_once_however_many_read_it(tmp_path: Path) -> None:
    leader, follower = Stage(tmp_path), Stage(tmp_path)
    upstream = Upstream(DATA, piece=10_000)

    async def scene() -> None:
        body = await leader.open(DIGEST, upstream)
        following = asyncio.create_task(follower.pull(DIGEST, upstream))
        assert await leader.pull(DIGEST, upstream) == DATA
        assert await following == DATA
        await body.close()
        await leader.settled()
        await follower.settled()
        assert leader.counted.events == ["kept"]
        assert follower.counted.events == []

    play(scene(), leader, follower)


def test_wrong_content_is_counted_by_its_leader_only(tmp_path: Path) -> None:
    leader, follower = Stage(tmp_path), Stage(tmp_path)
    wrong = Upstream(DATA[:-1] + b"?", piece=10_000)

    async def scene() -> None:
        leading = await leader.open(DIGEST, wrong)
        following = await follower.open(DIGEST, wrong)
        for body in (leading, following):
            _, failure = await read_until_cut(body)
            assert failure is not None
        await leader.settled()
        await follower.settled()
        assert leader.counted.events == ["wrong", "wrong_content"]
        assert follower.counted.events == []

    play(scene(), leader, follower)


def test_what_breaks_off_for_good_is_counted_and_a_refusal_is_not(tmp_path: Path) -> None:
    stage = Stage(tmp_path, effort=Effort(patience_s=0.2))

    async def refuse(_: int) -> object:
        raise OciError(404, Code.BLOB_UNKNOWN, "no")

    async def scene() -> None:
        with pytest.raises(OciError):
            await stage.fills.start(FillOrder(UPSTREAM, DIGEST, refuse))  # type: ignore[arg-type]
        await stage.settled()
        assert stage.counted.events == []
        # nobody reads: whoever came when patience had ended already would begin another one
        assert await stage.fills.start(FillOrder(UPSTREAM, DIGEST, Upstream(DATA, cut_after=0).fetch))
        await stage.settled()
        assert stage.counted.events == ["failed"]

    play(scene(), stage)


def test_what_nobody_wants_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "GRACE_S", 0.0)
    stage = Stage(tmp_path, unwatched_bytes=MIB)
    read = asyncio.Event()

    async def gate(_: int) -> None:
        await read.wait()  # a fill that was over before it is read would be begun again

    async def scene() -> None:
        body = await stage.open(DIGEST, Upstream(DATA, gate=gate, piece=1000))
        await body.close()
        read.set()
        await stage.settled()
        assert stage.counted.events == ["unwanted"]

    play(scene(), stage)


def test_a_failing_disk_is_counted_for_each_blob_that_is_not_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, partials=lambda store: FailingDisk(store, write_from=2 * MIB))
    read = asyncio.Event()

    async def gate(_: int) -> None:
        await read.wait()

    async def scene() -> None:
        body = await stage.open(DIGEST, Upstream(DATA, gate=gate))
        read.set()
        _, failure = await read_until_cut(body)
        assert failure is not None
        await stage.settled()
        assert stage.counted.events == ["not_kept", "store_failed"]
        with pytest.raises(StoreFailure):  # for a while nothing is tried
            await stage.fills.start(FillOrder(UPSTREAM, DIGEST, Upstream(DATA).fetch))
        assert stage.counted.events == ["not_kept", "store_failed", "not_kept"]

    play(scene(), stage)


def test_a_fill_whose_upstream_has_not_answered_yet_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked for it waits for that answer, and cannot be its reader before."""
    monkeypatch.setattr(reader, "GRACE_S", 0.0)
    stage = Stage(tmp_path)
    answered = asyncio.Event()

    async def fetch(start: int, end: int | None = None) -> Fetched:
        await answered.wait()
        return await Upstream(DATA).fetch(start, end)

    async def scene() -> None:
        starting = asyncio.create_task(stage.fills.start(FillOrder(UPSTREAM, DIGEST, fetch)))
        await turns()
        ((fill, _),) = stage.fills._running.values()
        assert fill.idle_s == 0.0
        answered.set()
        assert await starting is not None
        await stage.fills.ended(UPSTREAM, DIGEST)

    play(scene(), stage)
