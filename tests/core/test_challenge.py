"""Case tables of core.challenge: what upstreams really send, and what hostile ones might."""

import pytest

from hubferry.core.challenge import MAX_LENGTH, Challenge, format_challenge, parse_challenges

PARSED: dict[str, tuple[list[str], list[Challenge]]] = {
    "docker hub": (
        ['Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"'],
        [
            Challenge(
                "bearer",
                (
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:a/b:pull"),
                ),
            )
        ],
    ),
    "scheme and names in any case": (['BEARER Realm="x"'], [Challenge("bearer", (("realm", "x"),))]),
    "unquoted value": (["Basic realm=x"], [Challenge("basic", (("realm", "x"),))]),
    "space around the equals sign": (['Basic realm =\t"x"'], [Challenge("basic", (("realm", "x"),))]),
    "escaped quote and backslash": (['Basic realm="a\\"b\\\\c"'], [Challenge("basic", (("realm", 'a"b\\c'),))]),
    "comma inside quotes": (['Bearer scope="a,b"'], [Challenge("bearer", (("scope", "a,b"),))]),
    "empty quoted value": (['Bearer realm=""'], [Challenge("bearer", (("realm", ""),))]),
    "two challenges in one line": (
        ['Basic realm="a", Bearer realm="b",service="c"'],
        [Challenge("basic", (("realm", "a"),)), Challenge("bearer", (("realm", "b"), ("service", "c")))],
    ),
    "two lines": (
        ["Negotiate", 'Basic realm="a"'],
        [Challenge("negotiate"), Challenge("basic", (("realm", "a"),))],
    ),
    "empty list elements": ([', ,Basic realm="a",,'], [Challenge("basic", (("realm", "a"),))]),
    "the first of a repeated parameter": (
        ['Bearer realm="https://good.example",realm="https://evil.example"'],
        [Challenge("bearer", (("realm", "https://good.example"),))],
    ),
    "a parameter before any scheme": (['realm="x"'], []),
    "unterminated quotes end the line": (['Bearer realm="x'], [Challenge("bearer"), Challenge("realm=")]),
    "unreadable": (["\x00\x01"], []),
    "empty": (["", "   "], []),
    "no line": ([], []),
    "too long a line is not read, the next one is": (
        ["Bearer " + "x" * MAX_LENGTH, "Basic realm=y"],
        [Challenge("basic", (("realm", "y"),))],
    ),
}


@pytest.mark.parametrize(("values", "expected"), PARSED.values(), ids=PARSED.keys())
def test_what_can_be_read_is_read(values: list[str], expected: list[Challenge]) -> None:
    assert parse_challenges(values) == expected


def test_a_parameter_that_is_not_there_is_empty() -> None:
    assert Challenge("bearer").param("realm") == ""


FORMATTED = [
    (("https://gw/token", "gw"), 'Bearer realm="https://gw/token",service="gw"'),
    (("r", "s", "repository:a:pull"), 'Bearer realm="r",service="s",scope="repository:a:pull"'),
    (("r", "s", "", "invalid_token"), 'Bearer realm="r",service="s",error="invalid_token"'),
    (('a"b\\', "s"), 'Bearer realm="a\\"b\\\\",service="s"'),
]


@pytest.mark.parametrize(("parts", "line"), FORMATTED)
def test_our_challenge_is_one_bearer_line_without_empty_parameters(parts: tuple[str, ...], line: str) -> None:
    assert format_challenge(*parts) == line
