"""One process: one fetch however many read, right bytes or a visible cut, and nothing wrong is kept."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.fill import reader
from hubferry.fill.bounds import Effort
from hubferry.ports.fills import FillOrder
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.fill.fakes import HELD_BACK, MIB, UPSTREAM, Stage, Upstream, content, digest_of, play, read_until_cut
from tests.support.waiting import until

DATA = content(4 * MIB)
DIGEST = digest_of(DATA)


def flipped(at: int) -> bytes:
    data = bytearray(DATA)
    data[at] ^= 1
    return bytes(data)


@pytest.mark.parametrize("size", [0, 1, HELD_BACK, HELD_BACK + 1, MIB, 4 * MIB + 7])
@pytest.mark.parametrize("says", [True, False], ids=["with a length", "without a length"])
def test_a_blob_is_delivered_and_kept(tmp_path: Path, size: int, says: bool) -> None:
    data = content(size)
    stage, upstream = Stage(tmp_path), Upstream(data, says_size=lambda real: real if says else None)

    async def scene() -> None:
        assert await stage.pull(digest_of(data), upstream) == data
        await stage.settled()
        assert await stage.stored(digest_of(data)) == data
        assert stage.partials_left() == []
        assert upstream.offsets == [0]
        assert all(body.closed for body in upstream.bodies)
        assert stage.events() == []

    play(scene(), stage)


def test_64_readers_cost_one_fetch(tmp_path: Path) -> None:
    stage, upstream = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        got = await asyncio.gather(*(stage.pull(DIGEST, upstream) for _ in range(64)))
        assert all(one == DATA for one in got)
        assert upstream.offsets == [0]

    play(scene(), stage)


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (5, 5 + MIB), (3 * MIB, None), (4 * MIB - 1, None), (4 * MIB - HELD_BACK, 4 * MIB)]
)
def test_any_range_of_a_growing_blob(tmp_path: Path, start: int, end: int | None) -> None:
    stage, upstream = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream, start, end) == DATA[start:end]
        await stage.settled()
        assert await stage.stored(DIGEST) == DATA

    play(scene(), stage)


def test_bytes_leave_before_the_blob_is_there_but_not_its_end(tmp_path: Path) -> None:
    """The upstream gives everything but its last byte, and waits."""
    release = asyncio.Event()

    async def gate(given: int) -> None:
        if given >= len(DATA) - 1:
            await release.wait()

    stage, upstream = Stage(tmp_path), Upstream(DATA, gate=gate, piece=len(DATA) - 1)

    async def scene() -> None:
        body = await stage.open(DIGEST, upstream)
        got = b""
        while len(got) < len(DATA) - HELD_BACK:
            got += await body.read() or b""
        assert got == DATA[: len(DATA) - HELD_BACK]
        waiting = asyncio.ensure_future(body.read())
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        assert await stage.stored(DIGEST) is None
        release.set()
        assert await waiting == DATA[-HELD_BACK:]
        assert await body.read() is None
        await body.close()

    play(scene(), stage)


def test_an_upstream_that_cuts_every_64_kib_is_continued(tmp_path: Path) -> None:
    stage, upstream = Stage(tmp_path), Upstream(DATA, cut_after=64 * 1024)

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream) == DATA
        await stage.settled()
        assert await stage.stored(DIGEST) == DATA
        assert upstream.offsets == list(range(0, len(DATA), 64 * 1024))
        assert upstream.given_bytes == len(DATA)

    play(scene(), stage)


def test_without_ranges_the_beginning_is_skipped(tmp_path: Path) -> None:
    async def gate(_: int) -> None:
        if len(upstream.offsets) == 2:
            upstream.cut_after = None

    stage, upstream = Stage(tmp_path), Upstream(DATA, knows_ranges=False, cut_after=3 * MIB, gate=gate)

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream) == DATA
        assert upstream.offsets == [0, 3 * MIB]

    play(scene(), stage)


def test_an_upstream_that_gets_nowhere_is_given_up(tmp_path: Path) -> None:
    stage, upstream = Stage(tmp_path, effort=Effort(patience_s=1)), Upstream(DATA, knows_ranges=False, cut_after=MIB)

    async def scene() -> None:
        got, failure = await read_until_cut(await stage.open(DIGEST, upstream))
        assert failure is not None
        assert failure.cause is Cause.CUT
        assert got == DATA[: len(got)]
        assert len(got) == MIB  # what is there is delivered all the same
        assert await stage.stored(DIGEST) is None
        assert upstream.offsets == [0, *[MIB] * (len(upstream.offsets) - 1)]
        assert len(upstream.offsets) > 3
        # the next one continues
        await stage.settled()
        better = Upstream(DATA)
        assert await stage.pull(DIGEST, better) == DATA
        assert better.offsets == [MIB]

    play(scene(), stage)


@pytest.mark.parametrize("at", [0, 2 * MIB, 4 * MIB - 1], ids=["first", "middle", "last"])
def test_a_flipped_byte_is_never_delivered_as_a_whole(tmp_path: Path, at: int) -> None:
    stage, upstream = Stage(tmp_path), Upstream(flipped(at))

    async def scene() -> None:
        bodies = [await stage.open(DIGEST, upstream) for _ in range(3)]
        for got, failure in await asyncio.gather(*map(read_until_cut, bodies)):
            assert failure is not None
            assert len(got) <= len(DATA) - HELD_BACK
        await stage.settled()
        assert await stage.stored(DIGEST) is None
        assert stage.partials_left() == []
        (event, fields), *_ = stage.log.events
        assert event == "fill_wrong"
        assert fields["upstream"] == UPSTREAM
        assert fields["digest"] == DIGEST
        assert digest_of(flipped(at)) in str(fields["problem"])
        assert await stage.pull(DIGEST, Upstream(DATA)) == DATA

    play(scene(), stage)


LENGTHS: dict[str, tuple[Callable[[int], int | None], bool]] = {
    "too short": (lambda real: real - 100, False),
    "too long": (lambda real: real + 100, False),
    "missing": (lambda _: None, True),
}


@pytest.mark.parametrize(("says", "is_right"), LENGTHS.values(), ids=LENGTHS.keys())
def test_wrong_lengths(tmp_path: Path, says: Callable[[int], int | None], is_right: bool) -> None:
    stage, upstream = Stage(tmp_path, effort=Effort(patience_s=0.2)), Upstream(DATA, says_size=says)

    async def scene() -> None:
        _, failure = await read_until_cut(await stage.open(DIGEST, upstream))
        assert (failure is None) == is_right
        await stage.settled()
        assert await stage.stored(DIGEST) == (DATA if is_right else None)
        # later pulls succeed
        assert await stage.pull(DIGEST, Upstream(DATA)) == DATA

    play(scene(), stage)


@pytest.mark.parametrize("honest_from", [3, 99])
@pytest.mark.parametrize("odd", ["another total", "416"])
def test_another_size_on_resumption_is_not_believed(tmp_path: Path, odd: str, honest_from: int) -> None:
    stage, upstream = Stage(tmp_path, effort=Effort(patience_s=1)), Upstream(DATA, cut_after=MIB)
    if odd == "416":
        upstream.refusals = dict.fromkeys(range(2, honest_from), OciError(416, Code.UNSUPPORTED, "outside"))
    else:
        upstream.says_size = lambda real: real + (1 < len(upstream.offsets) < honest_from)

    async def scene() -> None:
        got, failure = await read_until_cut(await stage.open(DIGEST, upstream))
        await stage.settled()
        if honest_from == 3:
            assert failure is None
            assert got == DATA
            assert upstream.offsets == [0, MIB, MIB, 2 * MIB, 3 * MIB]
            assert stage.events() == []
            return
        assert failure is not None
        assert failure.cause is Cause.PROTOCOL
        assert got == DATA[:MIB]
        assert stage.events() == ["fill_failed"]
        # what is there is kept, and the next one continues
        better = Upstream(DATA)
        assert await stage.pull(DIGEST, better) == DATA
        assert better.offsets == [MIB]

    play(scene(), stage)


def test_a_refusal_to_begin_reaches_whoever_began(tmp_path: Path) -> None:
    stage, upstream = Stage(tmp_path), Upstream(DATA, refusals={1: OciError(404, Code.BLOB_UNKNOWN, "no")})

    async def scene() -> None:
        with pytest.raises(OciError, match="no"):
            await stage.fills.start(FillOrder(UPSTREAM, DIGEST, upstream.fetch))
        await stage.settled()
        assert stage.partials_left() == []
        assert stage.events() == []
        assert await stage.pull(DIGEST, upstream) == DATA

    play(scene(), stage)


@pytest.mark.parametrize(("status", "goes_on"), [(503, True), (429, True), (403, False), (404, False)])
def test_a_refusal_to_continue(tmp_path: Path, status: int, goes_on: bool) -> None:
    refusals: dict[int, Exception] = {2: OciError(status, Code.UNKNOWN, "not now")}
    stage, upstream = Stage(tmp_path), Upstream(DATA, cut_after=3 * MIB, refusals=refusals)

    async def scene() -> None:
        got, failure = await read_until_cut(await stage.open(DIGEST, upstream))
        assert (failure is None) == goes_on
        assert got == DATA[: len(got)]
        await stage.settled()
        assert await stage.pull(DIGEST, Upstream(DATA)) == DATA

    play(scene(), stage)


def test_the_only_reader_leaving_does_not_end_the_fill(tmp_path: Path) -> None:
    stage, upstream = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        body = await stage.open(DIGEST, upstream)
        await body.read()
        await body.close()
        await stage.settled()
        assert await stage.stored(DIGEST) == DATA
        assert upstream.offsets == [0]

    play(scene(), stage)


def test_a_fill_for_nobody_ends_at_its_bound_and_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "GRACE_S", 0.0)
    there = asyncio.Event()

    async def gate(given: int) -> None:
        if given >= MIB // 2:  # or it would end before its first reader, where that is late
            await there.wait()

    stage, upstream = Stage(tmp_path, unwatched_bytes=MIB), Upstream(DATA, piece=1000, gate=gate)

    async def scene() -> None:
        body = await stage.open(DIGEST, upstream)
        there.set()
        await body.read()
        await body.close()
        await stage.settled()
        assert await stage.stored(DIGEST) is None
        assert MIB <= upstream.given_bytes < 3 * MIB
        more = Upstream(DATA)
        assert await stage.pull(DIGEST, more) == DATA
        assert more.offsets[0] >= MIB

    play(scene(), stage)


def test_a_fill_waits_for_whoever_began_it_however_little_is_fetched_for_nobody(tmp_path: Path) -> None:
    stage, upstream = Stage(tmp_path, unwatched_bytes=0), Upstream(DATA)

    async def scene() -> None:
        assert await stage.fills.start(FillOrder(UPSTREAM, DIGEST, upstream.fetch))
        await until(lambda: upstream.given_bytes == len(DATA))
        assert await stage.pull(DIGEST, upstream) == DATA
        assert upstream.offsets == [0]

    play(scene(), stage)


def test_a_slow_reader_slows_nobody(tmp_path: Path) -> None:
    stage, upstream = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        slow = await stage.open(DIGEST, upstream)
        assert await slow.read()
        fast = await asyncio.gather(*(stage.pull(DIGEST, upstream) for _ in range(4)))
        assert all(one == DATA for one in fast)
        await stage.settled()
        got, failure = await read_until_cut(slow)  # it goes on from the file, long after the fill
        assert failure is None
        assert got == DATA[len(DATA) - len(got) :]

    play(scene(), stage)


def test_a_stalled_upstream_is_asked_again(tmp_path: Path) -> None:
    stalls = [True]

    async def gate(given: int) -> None:
        if given >= MIB and stalls:
            stalls.pop()
            raise UpstreamFailure(Cause.TIMEOUT, UPSTREAM, "the body stalled")

    stage, upstream = Stage(tmp_path), Upstream(DATA, gate=gate)

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream) == DATA
        assert len(upstream.offsets) == 2

    play(scene(), stage)


def test_a_fill_that_has_just_ended_is_not_visited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # its task is over and its file closed, but the loop has not yet called what takes it off the list
    stage, upstream = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        monkeypatch.setattr(stage.fills, "_ended", lambda *_: None)
        await stage.fills.start(FillOrder(UPSTREAM, DIGEST, upstream.fetch))
        _, task = stage.fills._running[UPSTREAM, DIGEST]
        await task
        assert await stage.fills.visit(UPSTREAM, DIGEST) is None
        assert await stage.stored(DIGEST) == DATA
        del stage.fills._running[UPSTREAM, DIGEST]

    play(scene(), stage)


def test_stopping_keeps_what_is_there(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def gate(given: int) -> None:
        if given >= 2 * MIB:
            await never.wait()

    first, upstream = Stage(tmp_path), Upstream(DATA, gate=gate)
    second, rest = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        body = await first.open(DIGEST, upstream)
        got = b""
        while len(got) < MIB:
            got += await body.read() or b""
        await until(lambda: upstream.given_bytes >= 2 * MIB)
        await first.fills.close()
        more, failure = await read_until_cut(body)
        assert failure is not None
        assert got + more == DATA[: len(got + more)]
        assert await second.pull(DIGEST, rest) == DATA
        assert rest.offsets[0] >= 2 * MIB

    play(scene(), first, second)
