"""Too little over a window of waiting is a stall; waiting is all that counts."""

import pytest

from hubferry.core.arrival_rate import ArrivalRate

Piece = tuple[int, float]  # bytes, and the seconds that were waited for them
WINDOW_S, RATE = 10.0, 1000
CASES: dict[str, tuple[list[Piece], int | None]] = {
    "nothing was waited for": ([(1, 0.0)] * 1000, None),
    "less than a window of waiting": ([(1, 1.0)] * 9, None),
    "drops for a window": ([(1, 1.0)] * 20, 9),
    "just enough": ([(1000, 1.0)] * 100, None),
    "just too little": ([(999, 1.0)] * 100, 9),
    "a pause made good before": ([(10_000, 0.1), (1, 9.9)], None),
    "a pause made good with what ends it": ([(20_000, 14.9)], None),
    "pauses that nothing makes good": ([(1, 9.0), (1, 9.0)], 1),
    "much at first helps one window only": ([(10**6, 1.0)] + [(1, 1.0)] * 30, 19),
    "quick pieces between count": ([(1, 1.0), (5000, 0.0)] * 100, None),
}


@pytest.mark.parametrize(("pieces", "stalls_at"), CASES.values(), ids=CASES.keys())
def test_when_a_body_is_as_good_as_stalled(pieces: list[Piece], stalls_at: int | None) -> None:
    trickle = ArrivalRate(RATE, WINDOW_S)
    verdicts = [trickle.is_stalled(size, waited_s) for size, waited_s in pieces]
    assert (verdicts.index(True) if True in verdicts else None) == stalls_at


def test_a_rate_of_nothing_finds_fault_with_nothing() -> None:
    trickle = ArrivalRate(0, WINDOW_S)
    assert not any(trickle.is_stalled(0, 9.0) for _ in range(100))
