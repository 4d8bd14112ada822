"""Challenges: what is formatted is what is parsed, and arbitrary text neither crashes nor takes its time."""

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubferry.core.challenge import MAX_LENGTH, Challenge, format_challenge, parse_challenges
from hubferry.core.exchange import choose
from tests.properties.inputs import hostile

printable = st.text(string.printable.replace("\r", "").replace("\n", ""), min_size=1, max_size=60)
TOKENS = "!#$%&'*+.^_`|~" + string.ascii_letters + string.digits + "-"


@given(printable, printable, st.one_of(st.just(""), printable), st.one_of(st.just(""), printable))
def test_parsing_undoes_formatting(realm: str, service: str, scope: str, error: str) -> None:
    params = [("realm", realm), ("service", service), ("scope", scope), ("error", error)]
    expected = Challenge("bearer", tuple((name, text) for name, text in params if text))
    assert parse_challenges([format_challenge(realm, service, scope, error)]) == [expected]


@given(st.lists(st.tuples(printable, printable), min_size=1, max_size=4), st.booleans())
def test_several_challenges_are_read_from_one_line_or_from_several(pairs: list[tuple[str, str]], joined: bool) -> None:
    lines = [format_challenge(realm, service) for realm, service in pairs]
    found = parse_challenges([", ".join(lines)] if joined else lines)
    assert [(one.param("realm"), one.param("service")) for one in found] == pairs


@given(st.lists(st.one_of(hostile, st.text('Bearer realm="\\,= \t', max_size=80)), max_size=4))
def test_arbitrary_text_never_crashes(values: list[str]) -> None:
    found = parse_challenges(values)
    for challenge in found:
        assert challenge.scheme == challenge.scheme.lower()
        assert len(dict(challenge.params)) == len(challenge.params)
    choose(found)


UNITS = [
    'a="',
    "a=",
    "a ",
    " ",
    "\t",
    ",",
    '"',
    "\\",
    '\\"',
    'a="\\',
    "=",
    'a="b",',
    "a" * 50 + " ",
    "a b=",
    'a ="',
    "Bearer ",
    "~",
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("tail", ["", '"', "\x00", "=", '="'])
def test_a_line_of_any_repetition_is_read_in_linear_time(unit: str, tail: str) -> None:
    line = "Bearer " + unit * ((MAX_LENGTH - 20) // len(unit)) + tail
    assert len(line) <= MAX_LENGTH
    started = time.process_time()
    parse_challenges([line])
    # a line of 8 KiB takes about 2 ms; a quadratic expression takes seconds
    assert time.process_time() - started < 0.5
