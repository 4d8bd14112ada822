"""Case tables of core.ranges."""

import pytest

from hubferry.core.errors import OciError
from hubferry.core.ranges import ByteRange, ContentRange, answers, parse_content_range, parse_range

PARSED: dict[str, tuple[str | None, ByteRange | None]] = {
    "absent": (None, None),
    "empty": ("", None),
    "containerd's first": ("bytes=0-", ByteRange(0, None)),
    "stargz's probe": ("bytes=0-1", ByteRange(0, 1)),
    "one byte": ("bytes=7-7", ByteRange(7, 7)),
    "the last bytes": ("bytes=-5", ByteRange(None, 5)),
    "spaces": ("bytes= 0-1 ", ByteRange(0, 1)),
    "another unit": ("lines=0-1", None),
    "no unit": ("0-1", None),
    "nothing": ("bytes=", None),
    "only a dash": ("bytes=-", None),
    "backwards": ("bytes=5-4", None),
    "negative": ("bytes=--5", None),
    "no digits": ("bytes=a-b", None),
    "a sign": ("bytes=+1-2", None),
    "too many digits": ("bytes=0-" + "9" * 19, None),
    "endless digits": ("bytes=" + "1" * 15000, None),
}


@pytest.mark.parametrize(("value", "expected"), PARSED.values(), ids=PARSED.keys())
def test_a_malformed_range_is_ignored(value: str | None, expected: ByteRange | None) -> None:
    assert parse_range(value) == expected


@pytest.mark.parametrize("value", ["bytes=0-1,3-4", "bytes=0-1,", "bytes=" + "0-1," * 4000, "bytes=,,,,,"])
def test_several_ranges_are_refused_rather_than_answered_with_one(value: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_range(value)
    assert caught.value.status == 400


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-1", "bytes=-5"])
def test_a_range_is_written_as_it_was_read(value: str) -> None:
    parsed = parse_range(value)
    assert parsed is not None
    assert parsed.format() == value


CONTENT: dict[str, tuple[str | None, ContentRange | None]] = {
    "whole": ("bytes 0-9/10", ContentRange(0, 9, 10)),
    "spaces around": (" bytes 0-9/10 ", ContentRange(0, 9, 10)),
    "unknown total": ("bytes 0-9/*", ContentRange(0, 9, None)),
    "absent": (None, None),
    "unsatisfied": ("bytes */10", None),
    "backwards": ("bytes 5-4/10", None),
    "beyond its own total": ("bytes 0-10/10", None),
    "another unit": ("lines 0-9/10", None),
    "nonsense": ("bytes 0-9", None),
}


@pytest.mark.parametrize(("value", "expected"), CONTENT.values(), ids=CONTENT.keys())
def test_a_content_range_that_contradicts_itself_is_none(value: str | None, expected: ContentRange | None) -> None:
    assert parse_content_range(value) == expected


def test_a_content_range_counts_both_ends() -> None:
    assert ContentRange(2, 4, 10).length == 3


ANSWERS: list[object] = [
    pytest.param(ByteRange(0, None), ContentRange(0, 9, 10), True, id="open from the start"),
    pytest.param(ByteRange(5, None), ContentRange(5, 9, 10), True, id="open from the middle"),
    pytest.param(ByteRange(5, None), ContentRange(0, 9, 10), False, id="everything instead of the tail"),
    pytest.param(ByteRange(5, 7), ContentRange(5, 7, 10), True, id="exact"),
    pytest.param(ByteRange(5, 70), ContentRange(5, 9, 10), True, id="clamped to the end"),
    pytest.param(ByteRange(5, 7), ContentRange(5, 9, 10), False, id="more than asked for"),
    pytest.param(ByteRange(5, 7), ContentRange(6, 7, 10), False, id="wrong start"),
    pytest.param(ByteRange(None, 3), ContentRange(7, 9, 10), True, id="the last bytes"),
    pytest.param(ByteRange(None, 30), ContentRange(0, 9, 10), True, id="more last bytes than there are"),
    pytest.param(ByteRange(None, 3), ContentRange(0, 9, 10), False, id="everything instead of the last bytes"),
    pytest.param(ByteRange(None, 3), ContentRange(7, 9, None), True, id="the last bytes of an unknown total"),
    pytest.param(ByteRange(None, 3), ContentRange(7, 8, 10), False, id="last bytes that are not the last"),
    pytest.param(
        ByteRange(None, 3),
        ContentRange(0, 9, None),
        False,
        id="more bytes than the last ones asked for",
    ),
    pytest.param(ByteRange(None, 0), ContentRange(0, 9, 10), False, id="no last bytes"),
]


@pytest.mark.parametrize(("asked", "got", "expected"), ANSWERS)
def test_a_206_answers_only_what_was_asked(asked: ByteRange, got: ContentRange, expected: bool) -> None:
    assert answers(asked, got) is expected
