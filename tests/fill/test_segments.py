"""Which range is fetched next: in order, every byte once, and nobody waits for one slow connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubferry.fill.parallel.segments import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, Segments, decide_chunk
from hubferry.fill.segment import Segment

MIB = 2**20


def of(start: int, size: int) -> Segments:
    """With chunks of at least 20 bytes, and nothing below 10 worth a request."""
    return Segments(start, size, min_chunk_bytes=20, min_share_bytes=10)


def shown(segment: Segment | None) -> tuple[int, int] | None:
    return None if segment is None else (segment.at, segment.end)


@pytest.mark.parametrize(
    ("bytes_per_s", "chunk"),
    [
        (0, MIN_CHUNK_BYTES),
        (MIB, 3 * MIB),
        (4 * MIB, 12 * MIB),
        (5.5 * MIB, MAX_CHUNK_BYTES),
        (1e12, MAX_CHUNK_BYTES),
    ],
)
def test_a_chunk_is_three_seconds_of_a_connection(bytes_per_s: float, chunk: int) -> None:
    assert decide_chunk(bytes_per_s) == chunk


@pytest.mark.parametrize(
    ("size", "chunk", "connections", "expected"),
    [
        (1000, 100, 4, [(0, 100), (100, 200), (200, 300), (300, 400)]),
        (1000, 1000, 4, [(0, 250), (250, 437), (437, 577), (577, 682)]),  # no more than a fair part of what is free
        (100, 100, 4, [(0, 25), (25, 45), (45, 65), (65, 85), (85, 100)]),
        (65, 20, 4, [(0, 20), (20, 40), (40, 65)]),  # no crumbs
        (5, 20, 4, [(0, 5)]),
        (0, 20, 4, []),
    ],
)
def test_free_ranges_are_given_out_in_order(
    size: int, chunk: int, connections: int, expected: list[tuple[int, int]]
) -> None:
    segments = of(0, size)
    assert [shown(segments.take(chunk, connections)) for _ in expected] == expected
    if len(expected) < 4:
        assert segments.take(chunk, connections) is None


def test_the_first_connection_keeps_a_chunk_and_frees_the_rest() -> None:
    segments = of(100, 1000)
    first = segments.take_gap()
    assert first is not None
    assert shown(first) == (100, 1000)
    assert segments.take(50, 4) is None
    segments.fetched(first, 33)
    segments.shorten(first, 50)
    assert shown(first) == (133, 183)
    assert shown(segments.take(50, 4)) == (183, 233)
    assert segments.left_bytes == 1000 - 133


def test_an_answer_goes_on_into_what_is_free_behind_it() -> None:
    segments = of(0, 1000)
    first = segments.take(100, 1)
    assert first is not None
    assert segments.extend(first, 100, 1)
    assert shown(first) == (0, 200)
    second = segments.take(100, 1)
    assert shown(second) == (200, 300)
    assert not segments.extend(first, 100, 1)


def test_when_nothing_is_free_the_segment_with_most_left_is_shared() -> None:
    segments = of(0, 300)
    first, second = segments.take(150, 1), segments.take(150, 1)
    assert first is not None
    assert second is not None
    segments.fetched(first, 100)
    assert segments.take(150, 1) is None
    assert shown(segments.share()) == (225, 300)
    assert shown(second) == (150, 225)
    assert shown(segments.share(first)) == (125, 150)
    assert segments.share(first) is not None
    assert segments.share(first) is None  # too little to be worth a request


def test_what_was_given_back_is_next() -> None:
    segments = of(0, 400)
    first, second = segments.take(100, 1), segments.take(100, 1)
    assert first is not None
    assert second is not None
    segments.fetched(first, 40)
    segments.finish(first)
    assert segments.first is None
    assert shown(segments.take(100, 1)) == (40, 100)
    segments.fetched(second, 60)
    segments.finish(second)
    assert shown(segments.take(1000, 1)) == (160, 400)  # it grew together with what was free behind it


def test_the_first_segment_is_the_one_that_readers_wait_for() -> None:
    segments = of(0, 300)
    first, second = segments.take(100, 1), segments.take(100, 1)
    assert segments.first is first
    assert first is not None
    segments.fetched(first, 100)
    segments.finish(first)
    assert segments.first is second


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "share", "share first", "extend", "shorten", "come", "come", "come", "give back"]),
        st.integers(0, 7),
        st.integers(1, 400),
    ),
    max_size=80,
)


@given(start=st.integers(0, 500), size=st.integers(0, 3000), steps=steps, connections=st.integers(1, 8))
def test_every_byte_is_fetched_once_whatever_happens(
    start: int, size: int, steps: list[tuple[str, int, int]], connections: int
) -> None:
    segments = of(start, size)
    fetched = bytearray(size)
    front = start

    def come(segment: Segment, size_bytes: int) -> None:
        taken = min(size_bytes, segment.left_bytes)
        for at in range(segment.at, segment.at + taken):
            fetched[at] += 1
        segments.fetched(segment, taken)
        if not segment.left_bytes:
            segments.finish(segment)

    for what, which, amount in steps:
        running = list(segments.running)
        one = running[which % len(running)] if running else None
        if what == "take":
            segments.take(amount, connections)
        elif what == "share":
            segments.share()
        elif one is None:
            continue
        elif what == "share first":
            segments.share(segments.first or one)
        elif what == "extend":
            segments.extend(one, amount, connections)
        elif what == "shorten":
            segments.shorten(one, amount)
        elif what == "come":
            come(one, amount)
        else:
            segments.finish(one)
        assert segments.left_bytes == max(size - start, 0) - sum(fetched)
        reached = next((at for at in range(front, size) if not fetched[at]), max(size, start))
        assert reached >= front
        front = reached
    for _ in range(2 * size + 2):  # whoever goes on comes to the end
        if segments.is_done:
            break
        segment = next(segments.running, None) or segments.take(1, connections)
        assert segment is not None
        come(segment, 400)
    assert segments.is_done
    assert bytes(fetched[start:]) == b"\1" * max(size - start, 0)
    assert not any(fetched[:start])
