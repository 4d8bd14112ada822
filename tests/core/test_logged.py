"""Case table of core.logged: what the log repeats of others' words."""

import pytest

from hubferry.core.logged import MAX_FIELD, MAX_TRACE, logged, logged_fields

TEXTS: dict[str, tuple[object, object]] = {
    "as it is": ("docker.io/library/nginx", "docker.io/library/nginx"),
    "Chinese": ("\u955c\u50cf", "\u955c\u50cf"),
    "a line break": ('x\n{"event": "forged"}', 'x\\n{"event": "forged"}'),
    "a terminal's escape": ("\x1b[2J", "\\x1b[2J"),
    "the same in one byte": ("\x9b2J", "\\x9b2J"),
    "right to left": ("\u202etxt", "\\u202etxt"),
    "a line of Unicode's own": ("a\u2028b", "a\\u2028b"),
    "long": ("x" * 513, "x" * 509 + "..."),
    "long when it is escaped": ("\n" * 300, "\\n" * 254 + "\\..."),
    "a number": (5, 5),
    "nothing": (None, None),
}


@pytest.mark.parametrize(("value", "expected"), TEXTS.values(), ids=TEXTS.keys())
def test_a_field_of_the_log(value: object, expected: object) -> None:
    assert logged(value) == expected
    assert len(str(expected)) <= MAX_FIELD


def test_a_traceback_keeps_its_lines_and_its_end() -> None:
    shown = logged_fields({"exception": "first\n" * 10_000 + "last\n", "path": "/\n"})
    assert str(shown["exception"]).endswith("first\nlast\n")
    assert len(str(shown["exception"])) == MAX_TRACE
    assert shown["path"] == "/\\n"
