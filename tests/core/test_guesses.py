"""Case tables of core.guesses: how long the next password has to wait, and whose guesses an address's are."""

import pytest

from hubferry.core.client import address_group
from hubferry.core.guesses import FORGET_S, FREE, MAX_S, Failures, decide_wait_s

WAITS: dict[str, tuple[int, float, int, float]] = {
    # wrong ones, seconds since the last, others at this moment -> wait
    "nothing was wrong": (0, 0.0, 0, 0.0),
    "the last free one": (FREE - 1, 0.0, 0, 0.0),
    "the last free one is being tried": (FREE - 1, 0.0, 1, 1.0),
    "many at once": (0, 0.0, FREE, 1.0),
    "after the free ones": (FREE, 0.25, 0, 0.75),
    "after the pause": (FREE, 1.0, 0, 0.0),
    "the pauses double": (FREE + 3, 0.0, 0, 8.0),
    "up to a bound": (10_000, 0.0, 0, MAX_S),
    "all are forgotten": (10_000, FORGET_S, 0, 0.0),
}


@pytest.mark.parametrize(("count", "since_s", "others", "expected"), WAITS.values(), ids=WAITS.keys())
def test_how_long_the_next_password_waits(count: int, since_s: float, others: int, expected: float) -> None:
    assert decide_wait_s(Failures(count, 1000.0), others, 1000.0 + since_s) == expected


def test_one_more_after_a_long_time_is_the_first() -> None:
    assert Failures(100, 0.0).after(FORGET_S).count == 1
    assert Failures(100, 0.0).after(1.0).count == 101


PLACES = {
    "192.0.2.1": "192.0.2.1",
    "2001:db8::1": "2001:db8::/64",
    "2001:db8:0:1::1": "2001:db8:0:1::/64",
    "unknown": "unknown",
    "x" * 10_000: "x" * 64,
    "": "",
}


@pytest.mark.parametrize(("peer", "expected"), PLACES.items(), ids=[name[:20] for name in PLACES])
def test_whose_guesses_an_address_has(peer: str, expected: str) -> None:
    assert address_group(peer) == expected
