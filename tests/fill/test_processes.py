"""Several processes on one folder: one fills, the others follow; one takes over when it is killed."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubferry.fill import reader
from hubferry.ports.fills import FillOrder
from tests.fill.fakes import (
    HELD_BACK,
    MIB,
    UPSTREAM,
    Stage,
    Upstream,
    content,
    digest_of,
    play,
    read_all,
    read_until_cut,
)
from tests.support.waiting import until, wait_until

SIZE = 4 * MIB
HUNG_AT = 2_100_000  # a leader that hangs at 2 MiB has given so much, piece by piece
DATA = content(SIZE)
DIGEST = digest_of(DATA)
ROOT = Path(__file__).parents[2]


class Process:
    """One filling process; its words are read as they come."""

    def __init__(self, folder: Path, hang_at: int = -1) -> None:
        command = [sys.executable, "-W", "error", "-m", "tests.fill.filling_process"]
        self._popen = subprocess.Popen(
            [*command, str(folder), str(SIZE), str(hang_at)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []

    def until(self, start: str) -> str:
        """The next line that begins so."""
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(start):
                return line
        pytest.fail(f"it never said {start!r}: {self.lines}")

    def kill(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()

    def finish(self) -> list[str]:
        out, _ = self._popen.communicate(timeout=30)
        assert self._popen.returncode == 0
        return [*self.lines, *out.splitlines()]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.kill()


def start(started: list[Process], folder: Path, hang_at: int = -1) -> Process:
    started.append(Process(folder, hang_at))
    return started[-1]


def test_two_processes_fetch_once(tmp_path: Path, processes: list[Process]) -> None:
    both = [start(processes, tmp_path) for _ in range(3)]
    words = [process.finish() for process in both]
    assert all("whole" in said for said in words)
    fetched = [line for said in words for line in said if line.startswith("fetched")]
    assert sorted(fetched) == ["fetched [0]", "fetched []", "fetched []"]
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_follower_takes_over_when_the_leader_is_killed(tmp_path: Path, processes: list[Process]) -> None:
    leader = start(processes, tmp_path, hang_at=2 * MIB)
    leader.until("hanging")
    follower = start(processes, tmp_path)
    follower.until(f"read {HUNG_AT}")  # all that there is: it waits for more
    leader.kill()
    said = follower.finish()
    assert "whole" in said
    (fetched,) = (line for line in said if line.startswith("fetched"))
    offset = int(fetched.removeprefix("fetched [").removesuffix("]"))
    assert MIB <= offset < 3 * MIB


def test_a_follower_does_not_get_the_end_before_the_leader_has_checked_it(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def gate(given: int) -> None:
        if given >= SIZE - 1:
            await release.wait()

    leader, follower = Stage(tmp_path), Stage(tmp_path)
    upstream, unused = Upstream(DATA, gate=gate, piece=SIZE - 1), Upstream(DATA)

    async def scene() -> None:
        first = await leader.open(DIGEST, upstream)
        second = await follower.open(DIGEST, unused)
        got = b""
        while len(got) < SIZE - HELD_BACK:
            got += await second.read() or b""
        waiting = asyncio.ensure_future(second.read())
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        release.set()
        assert got + (await waiting or b"") == DATA
        await second.close()
        await first.close()
        assert unused.offsets == []

    play(scene(), leader, follower)


def test_a_follower_knows_from_the_beginning_how_far_the_leader_is(tmp_path: Path) -> None:
    """Who resumes a download in another process is not far ahead of the fill."""
    release = asyncio.Event()

    async def gate(given: int) -> None:
        if given >= 2 * MIB:
            await release.wait()

    leader, follower = Stage(tmp_path), Stage(tmp_path)
    unused = Upstream(DATA)

    async def scene() -> None:
        first = await leader.open(DIGEST, Upstream(DATA, gate=gate, piece=MIB))
        await until(lambda: any(f.stat().st_size >= 2 * MIB for f in (tmp_path / "partial").iterdir()))
        await follower.fills.start(FillOrder(UPSTREAM, DIGEST, unused.fetch))
        blob = await follower.fills.visit(UPSTREAM, DIGEST)
        assert blob is not None
        assert blob.front_bytes == 2 * MIB
        blob.close()
        release.set()
        assert await read_all(first) == DATA
        await follower.settled()
        assert unused.offsets == []

    play(scene(), leader, follower)


def written_bytes(folder: Path) -> int:
    """How much of the blob under way is in its file."""
    files = [path for path in (folder / "partial").glob("*") if path.suffix not in (".json", ".front")]
    return max((path.stat().st_size for path in files), default=0)


@pytest.mark.parametrize("offset", range(0, SIZE, SIZE // 8))
def test_killed_anywhere_nothing_wrong_is_visible(tmp_path: Path, processes: list[Process], offset: int) -> None:
    process = start(processes, tmp_path, hang_at=offset)
    process.until("hanging")
    # what it was given is written on a thread of its own, which may be late where the machine is busy
    wait_until(lambda: written_bytes(tmp_path) >= offset - MIB, "what was given before is written")
    process.kill()
    stage, upstream = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        assert await stage.stored(DIGEST) is None
        assert await stage.pull(DIGEST, upstream) == DATA
        (continued,) = upstream.offsets
        assert offset - MIB <= continued <= offset + 200_000  # what was in memory is lost

    play(scene(), stage)


def test_what_the_leader_found_wrong_cuts_its_followers(tmp_path: Path) -> None:
    """Two fills of one process stand for two processes: the lock belongs to the opening."""
    wrong = bytearray(DATA)
    wrong[0] ^= 1
    leader, follower = Stage(tmp_path), Stage(tmp_path)
    lying, unused = Upstream(bytes(wrong), piece=20_000), Upstream(DATA)

    async def scene() -> None:
        first = await leader.open(DIGEST, lying)
        second = await follower.open(DIGEST, unused)
        _, failure = await read_until_cut(first)
        got, followed = await read_until_cut(second)
        assert failure is not None
        assert followed is not None
        assert len(got) <= SIZE - HELD_BACK
        assert unused.offsets == []
        await follower.settled()
        assert await follower.pull(DIGEST, unused) == DATA

    play(scene(), leader, follower)


def test_a_leader_that_stops_leaves_the_rest_to_its_follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "GRACE_S", 0.0)
    there, left = asyncio.Event(), asyncio.Event()

    async def gate(given: int) -> None:
        if given >= MIB // 2:  # or it would stop before its first reader, where that is late
            await there.wait()
        if given >= MIB:
            await left.wait()
        if given >= 3 * MIB:  # by then it has to have stopped, however late it notices
            await asyncio.Event().wait()

    leader, follower = Stage(tmp_path, unwatched_bytes=MIB), Stage(tmp_path)
    first, rest = Upstream(DATA, piece=10_000, gate=gate), Upstream(DATA)

    async def scene() -> None:
        body = await leader.open(DIGEST, first)
        there.set()
        reading = await follower.open(DIGEST, rest)
        assert not await follower.fills.start(FillOrder(UPSTREAM, DIGEST, rest.fetch))  # following proves nothing
        await body.close()
        left.set()
        got, failure = await read_until_cut(reading)
        assert failure is None
        assert got == DATA
        assert first.given_bytes < SIZE

    play(scene(), leader, follower)
