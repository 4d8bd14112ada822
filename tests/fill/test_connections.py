"""Several connections for one blob: right, in order and whole, whatever becomes of each of them."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hubferry.fill import reader
from hubferry.fill.bounds import Effort
from hubferry.fill.parallel import connections
from hubferry.fill.parallel.links import Links
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.fill import fakes
from tests.fill.fakes import HELD_BACK, MIB, UPSTREAM, Stage, content, digest_of, read_all, read_until_cut
from tests.fill.line import EFFORT, KIB, SOUND, Fault, Line, hurry, refusal
from tests.fill.test_disk import FailingDisk
from tests.support.waiting import until

SIZE = 8 * MIB
DATA = content(SIZE)
DIGEST = digest_of(DATA)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def play(scene: Coroutine[Any, Any, None], *stages: Stage) -> None:
    """As fakes.play; nor is a part of the budget left behind."""
    fakes.play(scene, *stages)
    for stage in stages:
        assert not stage.fills._services.links._shares


async def check_kept(stage: Stage, line: Line, digest: str = DIGEST, data: bytes = DATA) -> None:
    await stage.settled()
    assert await stage.stored(digest) == data
    assert stage.partials_left() == []
    assert line.all_closed


def ahead(fault: Fault, times: int | None = None) -> Callable[[int, int, int | None], Fault]:
    """Goes wrong with the requests after the first one, or with so many of them."""
    return lambda number, *_: fault if number and (times is None or number <= times) else SOUND


def test_a_slow_line_is_used_several_times_at_once(tmp_path: Path) -> None:
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert line.most_at_once == 6
        assert line.requests[0].end is None  # what proves the caller's right
        assert all(request.end is not None for request in line.requests[1:])
        assert line.given_bytes < SIZE * 1.1
        await check_kept(stage, line)
        assert stage.events() == []

    play(scene(), stage)


@pytest.mark.parametrize(
    ("effort", "size"),
    [(Effort(connections=1, parallel_from_bytes=0), 2 * MIB), (EFFORT, MIB - 1)],
    ids=["switched off", "small"],
)
def test_where_several_are_not_wanted_there_is_one(tmp_path: Path, effort: Effort, size: int) -> None:
    data = DATA[:size]
    stage, line = Stage(tmp_path, effort=effort), Line(data, 8 * MIB)

    async def scene() -> None:
        assert await stage.pull(digest_of(data), line) == data
        assert line.starts == [0]
        await check_kept(stage, line, digest_of(data), data)

    play(scene(), stage)


WORTH: dict[str, tuple[float, float, bool]] = {
    # name: bytes a second of one connection, how many times WORTH_S it would take -> whether several may be faster
    "slow": (5e6, 100.0, True),
    "fast": (connections.FAST_BYTES_PER_S + 1, 100.0, False),
    "nearly done": (50e6, 0.99, False),
    "not nearly done": (50e6, 1.01, True),
    "little is left": (1000.0, 100.0, False),
}


@pytest.mark.parametrize(("bytes_per_s", "times", "is_worth"), WORTH.values(), ids=WORTH.keys())
def test_whether_several_may_help_is_decided_by_what_one_gives(
    bytes_per_s: float, times: float, is_worth: bool
) -> None:
    """A table: what one connection really gives depends on how busy this machine is."""
    segments = SimpleNamespace(left_bytes=int(bytes_per_s * connections.WORTH_S * times))
    intake: Any = SimpleNamespace(segments=segments, upstream=UPSTREAM, client="", now=lambda: 0.0)
    one = connections.Connections(intake, cast("Any", None), EFFORT, Links())
    assert one._is_worth(bytes_per_s) is is_worth


def test_that_they_helped_is_remembered(tmp_path: Path) -> None:
    other = content(SIZE, seed=2)
    stage, line, next_line = Stage(tmp_path, effort=EFFORT), Line(DATA), Line(other)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert await stage.pull(digest_of(other), next_line) == other
        # nothing was looked at first: the first range is no longer than any
        assert sorted(next_line.starts)[1] <= 2 * MIB
        assert sorted(line.starts)[1] > 0
        assert next_line.requests[5].given_bytes > 0
        assert next_line.most_at_once == 6
        known = stage.fills._services.links.known(UPSTREAM, asyncio.get_running_loop().time())
        assert known is not None
        assert known.verdict == "helps"

    play(scene(), stage)


def test_where_they_are_no_faster_it_goes_back_to_one_and_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOOK_S", 0.3)
    other = content(SIZE, seed=2)
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA, None, total_bytes_per_s=5 * MIB)
    next_line = Line(other, None, total_bytes_per_s=16 * MIB)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert line.most_at_once == 6
        assert line.requests[-1].end is None  # the rest, by the only one
        await check_kept(stage, line)
        assert await stage.pull(digest_of(other), next_line) == other
        assert next_line.starts == [0]

    play(scene(), stage)


@pytest.mark.parametrize("fault", [Fault(ignores_range=True), *(Fault(raises=refusal(s)) for s in (416, 501))])
def test_without_ranges_the_first_answer_goes_on_to_the_end_and_that_is_remembered(
    tmp_path: Path, fault: Fault
) -> None:
    other = content(SIZE, seed=2)
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA, 8 * MIB, fault=ahead(fault))
    next_line = Line(other, 16 * MIB)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert line.most_at_once == 6
        assert line.requests[0].given_bytes == SIZE
        assert line.given_bytes == SIZE
        await check_kept(stage, line)
        assert await stage.pull(digest_of(other), next_line) == other
        assert next_line.starts == [0]

    play(scene(), stage)


def test_without_ranges_and_cut_it_begins_again_alone(tmp_path: Path) -> None:
    def fault(number: int, *_: object) -> Fault:
        return Fault(cut_after=6 * MIB) if not number else Fault(ignores_range=True)

    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA, 16 * MIB, fault=fault)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        await check_kept(stage, line)

    play(scene(), stage)


@pytest.mark.parametrize("by", [-1, 1])
def test_ranges_that_are_off_by_one_are_never_used(tmp_path: Path, by: int) -> None:
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA, fault=ahead(Fault(shifted_by=by), 12))

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert all(not request.given_bytes for request in line.requests[1:13])
        await check_kept(stage, line)

    play(scene(), stage)


@pytest.mark.parametrize("status", [429, 403, 503])
def test_where_further_connections_are_refused_there_are_fewer(tmp_path: Path, status: int) -> None:
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA)
    refused: list[int] = []
    line.fault = at_most(3, line, refused, status)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert len(refused) == 3
        await check_kept(stage, line)
        assert_nothing_worse_is_known(stage)

    play(scene(), stage)


@pytest.mark.parametrize("allowed", [1, 3])
@pytest.mark.parametrize("status", [429, 503])
def test_where_fewer_are_allowed_from_some_moment_on_no_other_is_opened(
    tmp_path: Path, status: int, allowed: int
) -> None:
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA)
    refused: list[int] = []
    refuse = at_most(allowed, line, refused, status)
    line.fault = lambda *request: refuse(*request) if line.given_bytes > SIZE // 4 else SOUND

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert line.most_at_once == 6
        # one that had ended, because there was nothing left for it, may be opened again once
        assert 0 < len(refused) <= 6 - allowed + 1
        await check_kept(stage, line)
        assert_nothing_worse_is_known(stage)

    play(scene(), stage)


def at_most(allowed: int, line: Line, refused: list[int], status: int) -> Callable[[int, int, int | None], Fault]:
    """So many requests at once; the numbers of others are noted."""

    def fault(number: int, *_: object) -> Fault:
        if sum(request.is_open for request in line.requests) < allowed:
            return SOUND
        refused.append(number)
        return Fault(raises=refusal(status))

    return fault


def assert_nothing_worse_is_known(stage: Stage) -> None:
    known = stage.fills._services.links.known(UPSTREAM, asyncio.get_running_loop().time())
    assert known is None or known.verdict == "helps"


@pytest.mark.parametrize("seed", range(6))
def test_every_connection_is_cut_somewhere(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    stage = Stage(tmp_path, effort=EFFORT)
    line = Line(DATA, 8 * MIB, fault=lambda *_: Fault(cut_after=draw.randint(0, 400 * KIB)))

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert line.given_bytes < SIZE * 1.1
        await check_kept(stage, line)

    play(scene(), stage)


@pytest.mark.parametrize("read_timeout_s", [None, 0.2], ids=["for ever", "until the read timeout"])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_connection_that_stalls_is_relieved_of_its_range(
    tmp_path: Path, number: int, read_timeout_s: float | None
) -> None:
    def fault(seen: int, *_: object) -> Fault:
        return Fault(stall_after=600 * KIB if not seen else 100 * KIB) if seen == number else SOUND

    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA, fault=fault, read_timeout_s=read_timeout_s)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        await check_kept(stage, line)

    play(scene(), stage)


def test_readers_do_not_wait_for_a_slow_first_connection(tmp_path: Path) -> None:
    """It gives a hundredth of what the others do: its range is shared until little is left of it."""
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA)

    async def gate(at: int) -> None:
        if line.requests[0].given_bytes == at and len(line.requests) > 3:
            await asyncio.sleep(0.5)  # what makes it slow

    line.gate = gate

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert line.requests[0].given_bytes < 2 * MIB
        await check_kept(stage, line)

    play(scene(), stage)


def test_another_total_in_one_answer_is_not_believed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, effort=EFFORT)
    line = Line(DATA, fault=lambda number, *_: Fault(total_off_by=1) if number == 4 else SOUND)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert not line.requests[4].given_bytes
        assert line.most_at_once == 6
        assert stage.events() == []
        await check_kept(stage, line)

    play(scene(), stage)


def test_another_total_from_some_moment_on_cuts_readers_and_keeps_the_file(tmp_path: Path) -> None:
    stage, the_next = Stage(tmp_path, effort=Effort(0.5, 6, MIB)), Stage(tmp_path)
    line = Line(DATA, fault=lambda number, *_: Fault(total_off_by=1) if number > 6 else Fault(cut_after=MIB))

    async def scene() -> None:
        got, failure = await read_until_cut(await stage.open(DIGEST, line))
        assert failure is not None
        assert failure.cause is Cause.PROTOCOL
        assert got == DATA[: len(got)]
        await stage.settled()
        assert stage.events() == ["fill_failed"]
        assert not any(request.given_bytes for request in line.requests[7:])
        assert line.all_closed
        better = Line(DATA, None)
        assert await the_next.pull(DIGEST, better) == DATA
        assert better.starts == [len(got)]
        await check_kept(the_next, better)

    play(scene(), stage, the_next)


@pytest.mark.parametrize("number", [0, 3, 7])
def test_a_wrong_byte_in_any_range_is_found(tmp_path: Path, number: int) -> None:
    stage = Stage(tmp_path, effort=EFFORT)
    line = Line(DATA, fault=lambda seen, *_: Fault(flip_at=1000) if seen == number else SOUND)

    async def scene() -> None:
        got, failure = await read_until_cut(await stage.open(DIGEST, line))
        assert len(line.requests) > 7
        assert failure is not None
        assert len(got) <= SIZE - HELD_BACK
        await stage.settled()
        assert stage.events() == ["fill_wrong"]
        assert await stage.stored(DIGEST) is None
        assert stage.partials_left() == []
        assert line.all_closed
        assert await stage.pull(DIGEST, Line(DATA, None)) == DATA

    play(scene(), stage)


@pytest.mark.parametrize("write_from", [MIB, 3 * MIB, SIZE - 1])
def test_a_disk_that_fills_up_under_any_of_them(tmp_path: Path, write_from: int) -> None:
    stage = Stage(tmp_path, effort=EFFORT, partials=lambda store: FailingDisk(store, write_from=write_from))
    line = Line(DATA)

    async def scene() -> None:
        got, failure = await read_until_cut(await stage.open(DIGEST, line))
        assert failure is not None
        assert got == DATA[: len(got)]
        await stage.settled()
        assert stage.counted.events == ["not_kept", "store_failed"]
        assert stage.partials_left() == []
        assert line.all_closed

    play(scene(), stage)


def test_a_file_system_that_cannot_be_written_ahead_has_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fchmod", lambda *_: None)
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA, 16 * MIB)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        assert line.most_at_once == 1
        assert len(line.requests) == 2
        await check_kept(stage, line)

    play(scene(), stage)


def test_it_stops_when_the_only_reader_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is what was fetched, wherever it belongs."""
    monkeypatch.setattr(reader, "GRACE_S", 0.0)
    stage, line = Stage(tmp_path, effort=EFFORT, unwatched_bytes=MIB), Line(DATA)

    async def scene() -> None:
        body = await stage.open(DIGEST, line)
        await until(lambda: len(line.requests) > 6)
        given_bytes = line.given_bytes
        await body.close()
        await stage.settled()
        assert MIB <= line.given_bytes - given_bytes < 2 * MIB
        assert stage.counted.events == ["unwanted"]
        assert line.all_closed
        assert await stage.pull(DIGEST, Line(DATA, None)) == DATA

    play(scene(), stage)


def test_when_nobody_gets_anywhere_it_fails_and_the_next_one_goes_on_from_its_front(tmp_path: Path) -> None:
    stage, the_next = Stage(tmp_path, effort=Effort(0.5, 6, MIB)), Stage(tmp_path)
    is_gone = asyncio.Event()
    line = Line(DATA)

    async def gate(at: int) -> None:
        if is_gone.is_set() or (line.given_bytes > SIZE // 2 and len(line.requests) > 6):
            is_gone.set()
            raise UpstreamFailure(Cause.CUT, UPSTREAM, "gone")

    line.gate = gate
    line.fault = lambda *_: Fault(raises=UpstreamFailure(Cause.TCP, UPSTREAM, "gone")) if is_gone.is_set() else SOUND

    async def scene() -> None:
        got, failure = await read_until_cut(await stage.open(DIGEST, line))
        assert failure is not None
        assert "gone" in str(failure)
        assert got == DATA[: len(got)]
        await stage.settled()
        assert stage.events() == ["fill_failed"]
        assert len(stage.partials_left()) == 3
        better = Line(DATA, None)
        assert await the_next.pull(DIGEST, better) == DATA
        assert better.starts == [len(got)]  # what was beyond the front is fetched again
        assert len(got) + better.given_bytes == SIZE
        await check_kept(the_next, better)

    play(scene(), stage, the_next)


def test_when_nothing_comes_at_all_it_fails_although_several_helped_before(tmp_path: Path) -> None:
    stage = Stage(tmp_path, effort=Effort(0.5, 6, MIB))
    stage_links = stage.fills._services.links
    line = Line(DATA, fault=lambda *_: Fault(cut_after=0))

    async def scene() -> None:
        stage_links.learn(UPSTREAM, "helps", 4 * MIB, asyncio.get_running_loop().time())
        got, failure = await read_until_cut(await stage.open(DIGEST, line))
        assert failure is not None
        assert got == b""
        assert line.most_at_once > 1
        await stage.settled()
        assert stage.events() == ["fill_failed"]

    play(scene(), stage)


def test_an_outage_of_all_of_them_is_waited_for(tmp_path: Path) -> None:
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA)
    away_until_s: list[float] = []

    async def gate(_: int) -> None:
        now_s = asyncio.get_running_loop().time()
        if not away_until_s and line.given_bytes > SIZE // 2:
            away_until_s.append(now_s + 0.6)
        if away_until_s and now_s < away_until_s[0]:
            raise UpstreamFailure(Cause.CUT, UPSTREAM, "away")

    line.gate = gate

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        await check_kept(stage, line)

    play(scene(), stage)


def test_stopped_in_the_middle_everything_is_closed(tmp_path: Path) -> None:
    """`play` looks for tasks and files."""
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA)

    async def scene() -> None:
        body = await stage.open(DIGEST, line)
        await until(lambda: len(line.requests) > 6)
        await stage.fills.close()
        await body.close()
        assert line.all_closed

    play(scene(), stage)
    again, better = Stage(tmp_path), Line(DATA, None)

    async def the_next() -> None:
        assert await again.pull(DIGEST, better) == DATA
        await check_kept(again, better)

    play(the_next(), again)


def test_many_blobs_at_once_stay_within_the_budget(tmp_path: Path) -> None:
    blobs = [content(4 * MIB, seed) for seed in range(10)]
    lines = [Line(blob) for blob in blobs]
    stage = Stage(tmp_path, effort=EFFORT)
    most = 0

    async def gate(_: int) -> None:
        nonlocal most
        most = max(most, sum(request.is_open for line in lines for request in line.requests))

    for line in lines:
        line.gate = gate

    async def scene() -> None:
        pulls = [stage.pull(digest_of(blob), line) for blob, line in zip(blobs, lines, strict=True)]
        assert await asyncio.gather(*pulls) == blobs
        await stage.settled()
        assert 20 < most <= 10 + 24

    play(scene(), stage)


def test_a_follower_never_reads_beyond_the_front(tmp_path: Path) -> None:
    """The first connection waits while the others write far ahead; two stages stand for two processes."""
    leader, follower = Stage(tmp_path, effort=EFFORT), Stage(tmp_path)
    line, unused, go_on = Line(DATA), Line(DATA), asyncio.Event()

    async def gate(at: int) -> None:
        if at == line.requests[0].given_bytes and len(line.requests) > 5:
            await go_on.wait()

    line.gate = gate

    async def scene() -> None:
        first = await leader.open(DIGEST, line)
        await until(lambda: line.given_bytes > SIZE // 2)
        (path,) = (one for one in (tmp_path / "partial").iterdir() if not one.suffix)
        await until(lambda: path.stat().st_size > SIZE // 2)
        second = await follower.open(DIGEST, unused)
        front = line.requests[0].given_bytes
        got = b""
        while len(got) < front:
            got += await second.read() or b""
        assert got == DATA[:front]
        waiting = asyncio.ensure_future(second.read())
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        go_on.set()
        assert got + (await waiting or b"") + await read_all(second) == DATA
        assert await read_all(first) == DATA
        assert unused.requests == []

    play(scene(), leader, follower)
