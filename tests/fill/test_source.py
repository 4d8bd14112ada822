"""One range as an unbroken stream: continued at the exact byte, for as long as that gets anywhere."""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.fill.bounds import WrongContent
from hubferry.fill.segment import Segment
from hubferry.fill.source import PROGRESS_BYTES, RangesRefused, Source
from hubferry.ports.fills import Fetched
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.fill.fakes import UPSTREAM, Upstream, content
from tests.fill.own_time import OwnTime

DATA = content(1_000_000)
SIZE = len(DATA)


def source(upstream: Upstream, offset: int = 0, end: int | None = None, **more: Any) -> Source:
    segment = None if end is None else Segment(offset, end)
    settings = {"size_bytes": SIZE, "patience_s": 60.0, "segment": segment, **more}
    return Source(upstream.fetch, UPSTREAM, offset, **settings)


async def read_out(one: Source) -> bytes:
    got = b""
    try:
        while (piece := await one.next_piece()) is not None:
            got += piece
    finally:
        await one.close()
    return got


def play(scene: Coroutine[Any, Any, None]) -> float:
    """How many seconds it took, of which none pass."""
    with OwnTime() as loop:
        loop.run_until_complete(scene)
        return loop.time()


@pytest.mark.parametrize(("offset", "end"), [(0, None), (0, SIZE), (5, 5), (17, 300_001), (999_999, None), (7, 8)])
@pytest.mark.parametrize("cut_after", [None, PROGRESS_BYTES, 99_999])
def test_a_range_arrives_as_it_is(offset: int, end: int | None, cut_after: int | None) -> None:
    upstream = Upstream(DATA, cut_after=cut_after)

    async def scene() -> None:
        assert await read_out(source(upstream, offset, end=end)) == DATA[offset:end]
        assert upstream.given_bytes == len(DATA[offset:end])
        assert all(body.closed for body in upstream.bodies)

    assert play(scene()) == 0  # where there is progress nobody waits


def test_it_goes_on_through_a_thousand_cuts() -> None:
    upstream = Upstream(DATA, cut_after=PROGRESS_BYTES)

    async def scene() -> None:
        assert await read_out(source(upstream)) == DATA

    play(scene())
    assert upstream.offsets == list(range(0, SIZE, PROGRESS_BYTES))


def test_without_progress_it_waits_longer_and_longer_and_gives_up() -> None:
    upstream = Upstream(DATA, cut_after=0)

    async def scene() -> None:
        with pytest.raises(UpstreamFailure, match="cut by the script"):
            await read_out(source(upstream))

    assert 40 < play(scene()) <= 60
    assert 10 < len(upstream.offsets) < 80


def test_less_than_a_little_is_no_progress() -> None:
    upstream = Upstream(DATA, cut_after=PROGRESS_BYTES - 1)

    async def scene() -> None:
        with pytest.raises(UpstreamFailure):
            await read_out(source(upstream))

    play(scene())
    assert upstream.offsets == [number * (PROGRESS_BYTES - 1) for number in range(len(upstream.offsets))]


def test_an_upstream_that_is_away_for_half_a_minute_is_waited_for() -> None:
    upstream = Upstream(DATA, cut_after=300_000)

    async def gate(_: int) -> None:
        is_away = len(upstream.offsets) > 1 and asyncio.get_running_loop().time() < 30
        upstream.cut_after = 0 if is_away else None if len(upstream.offsets) > 1 else 300_000

    upstream.gate = gate

    async def scene() -> None:
        assert await read_out(source(upstream)) == DATA

    assert 30 <= play(scene()) < 45
    assert upstream.offsets[0] == 0
    assert set(upstream.offsets[1:]) == {300_000}


def refusal(status: int, retry_after: str | None = None, detail: object = None) -> OciError:
    headers = (("retry-after", retry_after),) if retry_after is not None else ()
    return OciError(status, Code.UNKNOWN, "not now", headers=headers, detail=detail)


@pytest.mark.parametrize(
    ("error", "least_s", "most_s"),
    [
        (refusal(503, "7"), 7, 7),
        (refusal(429, "59"), 59, 59),
        (refusal(429, "Thu, 01 Jan 1970 00:00:00 GMT"), 0, 0),
        (refusal(503), 0, 0.25),
        (refusal(502, "7"), 7, 7),
        (refusal(503, "5", {"upstream": UPSTREAM, "cause": "tcp"}), 0, 0.25),
        (UpstreamFailure(Cause.TCP, UPSTREAM), 0, 0.25),
    ],
)
def test_how_long_a_refusal_is_waited_for(error: Exception, least_s: float, most_s: float) -> None:
    upstream = Upstream(DATA, cut_after=300_000, refusals={2: error})

    async def scene() -> None:
        assert await read_out(source(upstream)) == DATA

    assert least_s <= play(scene()) <= most_s


def test_a_wait_that_is_too_long_is_not_begun() -> None:
    upstream = Upstream(DATA, cut_after=300_000, refusals={2: refusal(429, "61")})

    async def scene() -> None:
        with pytest.raises(UpstreamFailure, match=r"asks to wait 61 s, and .* waits 60 s in all: .*not now"):
            await read_out(source(upstream))

    assert play(scene()) == 0


@pytest.mark.parametrize("status", [401, 403, 404, 451])
def test_a_refusal_for_good_is_not_tried_again(status: int) -> None:
    upstream = Upstream(DATA, cut_after=300_000, refusals={2: refusal(status)})

    async def scene() -> None:
        with pytest.raises(UpstreamFailure, match="not now"):
            await read_out(source(upstream))

    play(scene())
    assert len(upstream.offsets) == 2


class Shifted(Upstream):
    """Answers the first `times` ranges with another one, and says so."""

    def __init__(self, by: int, times: int) -> None:
        super().__init__(DATA)
        self.by = by
        self.times = times

    async def fetch(self, start: int, end: int | None = None) -> Fetched:
        fetched = await super().fetch(start, end)
        if len(self.offsets) <= self.times:
            return replace(fetched, start_bytes=fetched.start_bytes + self.by)
        return fetched


@pytest.mark.parametrize("by", [-1, 1])
def test_an_answer_that_begins_elsewhere_is_not_used(by: int) -> None:
    upstream = Shifted(by, times=2)

    async def scene() -> None:
        assert await read_out(source(upstream, 1000)) == DATA[1000:]

    play(scene())
    assert upstream.offsets == [1000] * 3
    assert all(body.closed for body in upstream.bodies)


OTHER_TOTALS = [lambda real: real - 1, lambda real: real + 1]


@pytest.mark.parametrize("says", OTHER_TOTALS)
@pytest.mark.parametrize("is_alone", [True, False])
def test_an_answer_with_another_total_is_not_used(says: Any, is_alone: bool) -> None:
    upstream = Upstream(DATA)
    upstream.says_size = lambda real: real if len(upstream.offsets) > 2 else says(real)

    async def scene() -> None:
        assert await read_out(source(upstream, 1000, is_alone=is_alone)) == DATA[1000:]

    play_third_time(upstream, scene)


def play_third_time(upstream: Upstream, scene: Any) -> None:
    """Nothing of an answer that is not used is read, and it is closed."""
    play(scene())
    assert upstream.offsets == [1000] * 3
    assert upstream.given_bytes == SIZE - 1000
    assert all(body.closed for body in upstream.bodies)


def test_a_range_that_it_says_to_lie_outside_is_asked_for_again() -> None:
    upstream = Upstream(DATA, refusals=dict.fromkeys((1, 2), refusal(416)))

    async def scene() -> None:
        assert await read_out(source(upstream, 1000)) == DATA[1000:]

    play_third_time(upstream, scene)


@pytest.mark.parametrize(
    "upstream",
    [Upstream(DATA, says_size=lambda real: real + 1), Upstream(DATA, refusals=dict.fromkeys(range(99), refusal(416)))],
    ids=["another total", "416"],
)
def test_who_goes_on_saying_another_size_is_given_up(upstream: Upstream) -> None:
    async def scene() -> None:
        with pytest.raises(UpstreamFailure, match=r"the size of the blob was 1000000|the blob ends before 1000") as got:
            await read_out(source(upstream, 1000))
        assert got.value.cause is Cause.PROTOCOL
        assert all(body.closed for body in upstream.bodies)

    assert 40 < play(scene()) <= 60
    assert not upstream.given_bytes


@pytest.mark.parametrize("first", [999, 1001])
def test_a_size_that_was_not_known_is_what_the_first_possible_answer_says(first: int) -> None:
    upstream = Upstream(DATA)
    upstream.says_size = lambda real: first if len(upstream.offsets) == 1 else real

    async def scene() -> None:
        one = source(upstream, 1000, size_bytes=None, end=5000)
        with pytest.raises(WrongContent) if first > 1000 else contextlib.nullcontext():
            assert await read_out(one) == DATA[1000:5000]
        assert one.size_bytes == (SIZE if first < 1000 else first)

    play(scene())


def test_who_is_alone_skips_what_is_there_when_there_are_no_ranges() -> None:
    upstream = Upstream(DATA, knows_ranges=False)

    async def scene() -> None:
        assert await read_out(source(upstream, 500_001, end=600_000)) == DATA[500_001:600_000]

    play(scene())


@pytest.mark.parametrize("refused", [None, 416, 501])
def test_one_of_several_refuses_an_upstream_without_ranges(refused: int | None) -> None:
    error = relay_error(refused or 0, (), Asked(UPSTREAM, "library/app", "latest"))
    upstream = Upstream(DATA, knows_ranges=bool(refused), refusals={1: error} if refused else {})

    async def scene() -> None:
        with pytest.raises(RangesRefused):
            await read_out(source(upstream, 500_000, is_alone=False))
        assert all(body.closed for body in upstream.bodies)
        assert not upstream.given_bytes

    play(scene())


def test_an_end_that_comes_nearer_is_kept_to_the_byte() -> None:
    upstream = Upstream(DATA)

    async def scene() -> None:
        one = source(upstream)
        got = await one.next_piece() or b""
        one.segment = segment = Segment(0, 150_001)
        assert one.goes_on
        while (piece := await one.next_piece()) is not None:
            got += piece
        assert got == DATA[:150_001]
        assert one.goes_on  # its answer has more, should it be wanted after all
        segment.end = 200_001
        assert await one.next_piece() == DATA[150_001:200_000]

    play(scene())
