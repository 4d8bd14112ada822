"""When something that failed is tried again."""

import pytest

from hubferry.core.backoff import decide_pause, parse_retry_after

NOW_S = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("tries", "chance", "pause_s"),
    [
        (0, 1.0, 0.0),
        (1, 1.0, 0.25),
        (1, 0.0, 0.0),
        (2, 1.0, 0.5),
        (2, 0.5, 0.25),
        (3, 1.0, 1.0),
        (5, 1.0, 4.0),
        (6, 1.0, 8.0),
        (7, 1.0, 8.0),
        (100_000, 1.0, 8.0),
        (100_000, 0.25, 2.0),
    ],
)
def test_the_pause_doubles_up_to_its_cap(tries: int, chance: float, pause_s: float) -> None:
    assert decide_pause(tries, chance) == pause_s


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("9" * 5000, 999_999_999.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("Sun, 99 Nov 1994 08:50:07 GMT", None),
    ],
)
def test_retry_after(value: str | None, wait_s: float | None) -> None:
    assert parse_retry_after(value, NOW_S) == wait_s
