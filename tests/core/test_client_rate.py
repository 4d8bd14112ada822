"""Who takes nothing for a window, or too little over one, is at fault; who is given nothing is not."""

import pytest

from hubferry.core.client_rate import ClientRate, Fault

WINDOW_S, RATE = 10.0, 1000
Look = tuple[int, float, bool]  # bytes taken since it came, seconds since the last look, is backlogged


def steady(bytes_per_look: int, looks: int, *, is_backlogged: bool = True) -> list[Look]:
    return [(number * bytes_per_look, 1.0, is_backlogged) for number in range(looks)]


CASES: dict[str, tuple[list[Look], tuple[int, Fault] | None]] = {
    "nothing": (steady(0, 30), (10, "nothing")),
    "nothing, of what its connection holds": (steady(0, 30, is_backlogged=False), (10, "nothing")),
    "nothing for less than a window": ([*steady(0, 10), (5 * 10**4, 1.0, True)], None),
    "nothing after a lot": ([(0, 1.0, True), (10**6, 1.0, True), *[(10**6, 1.0, True)] * 20], (11, "nothing")),
    "a byte a second": (steady(1, 30), (10, "too little")),
    "a byte a second, and no more is there": (steady(1, 30, is_backlogged=False), None),
    "just too little": (steady(RATE - 1, 30), (10, "too little")),
    "just enough": (steady(RATE, 30), None),
    "much at first helps one window only": (
        [(0, 1.0, True), *[(10**6 + number, 1.0, True) for number in range(30)]],
        (20, "too little"),
    ),
    "bytes that come back into the queue are not taken": (
        [(0, 1.0, True), (-50, 9.0, True), (-1, 1.0, True)],
        (2, "nothing"),
    ),
    "a backlog that ends now and then": (
        [(number, 1.0, number % 5 != 0) for number in range(40)],
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("looks", "expected"), CASES.values(), ids=CASES.keys())
def test_when_a_client_takes_too_little(looks: list[Look], expected: tuple[int, Fault] | None) -> None:
    uptake = ClientRate(WINDOW_S, RATE)
    verdicts = [uptake.judge(taken, passed_s, is_backlogged=backlogged) for taken, passed_s, backlogged in looks]
    found = next(((at, fault) for at, fault in enumerate(verdicts) if fault is not None), None)
    assert found == expected


def test_a_rest_makes_good_everything_before() -> None:
    uptake = ClientRate(WINDOW_S, RATE)
    for _ in range(20):
        assert [uptake.judge(0, 4.0, is_backlogged=True) for _ in range(3)] == [None] * 3
        uptake.rest()


def test_any_rate_will_do_but_not_nothing() -> None:
    uptake = ClientRate(WINDOW_S, 0)
    assert {uptake.judge(number, 1.0, is_backlogged=True) for number in range(50)} == {None}
    assert [uptake.judge(49, 5.0, is_backlogged=True) for _ in range(2)] == [None, "nothing"]
