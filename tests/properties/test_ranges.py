"""Ranges against a model: an upstream with a list of bytes that answers right, or wrong in every way there is."""

from hypothesis import assume, given
from hypothesis import strategies as st

from hubferry.core.errors import OciError
from hubferry.core.ranges import ByteRange, ContentRange, answers, parse_content_range, parse_range
from tests.properties.inputs import hostile, refused_with

sizes = st.integers(1, 40)
offsets = st.integers(0, 50)
asked_ranges = st.one_of(
    st.builds(ByteRange, offsets, st.none()),
    st.tuples(offsets, offsets).map(lambda pair: ByteRange(min(pair), max(pair))),
    st.builds(ByteRange, st.none(), offsets),
)


def wanted(asked: ByteRange, size: int) -> range:
    """RFC 9110 section 14.1.2: the positions that a range selects."""
    if asked.start is None:
        return range(max(size - (asked.end or 0), 0), size)
    return range(asked.start, size if asked.end is None else min(asked.end + 1, size))


@given(asked_ranges, sizes)
def test_the_right_answer_is_one(asked: ByteRange, size: int) -> None:
    selected = wanted(asked, size)
    assume(len(selected) > 0)
    assert answers(asked, ContentRange(selected[0], selected[-1], size))


@given(asked_ranges, sizes, offsets, offsets)
def test_an_answer_with_another_start_or_bytes_beyond_is_none(
    asked: ByteRange, size: int, first: int, last: int
) -> None:
    assume(first <= last < size)
    selected = wanted(asked, size)
    if answers(asked, ContentRange(first, last, size)):
        assert len(selected) > 0
        assert first == selected[0]
        assert last <= selected[-1]


@given(asked_ranges)
def test_a_range_is_read_as_it_was_written(asked: ByteRange) -> None:
    assert parse_range(asked.format()) == asked


@given(st.one_of(hostile, hostile.map("bytes={}".format), st.text("bytes=0123456789-, ", max_size=60)))
def test_any_range_header_is_a_range_or_ignored_or_refused(value: str) -> None:
    try:
        parsed = parse_range(value)
    except OciError as error:
        refused_with(error, 400)
        return
    if parsed is not None:
        assert parsed.start is not None or parsed.end is not None
        assert parsed.start is None or parsed.end is None or parsed.start <= parsed.end


@given(st.one_of(hostile, st.builds("bytes {}-{}/{}".format, offsets, offsets, st.one_of(offsets, st.just("*")))))
def test_any_content_range_makes_sense_or_is_none(value: str) -> None:
    parsed = parse_content_range(value)
    if parsed is not None:
        assert parsed.length >= 1
        assert parsed.total is None or parsed.last < parsed.total
