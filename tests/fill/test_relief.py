"""One connection that is far behind the others holds up nobody for long, in virtual time."""

import pytest

from hubferry.fill.parallel.links import Links
from hubferry.ports.upstream import UpstreamFailure
from tests.fill.fakes import MIB
from tests.fill.slow_net import AT_BEST_S, EACH_BYTES_PER_S, PIECE, SIZE, Net, fill, play


@pytest.mark.parametrize("slow_bytes_per_s", [100e3, 40e3, 10e3, 3e3])
@pytest.mark.parametrize("number", [0, 3])
def test_one_that_trickles_is_relieved_of_its_range(number: int, slow_bytes_per_s: float) -> None:
    net = Net(SIZE, lambda seen, for_s: slow_bytes_per_s if seen == number and for_s > 1 else EACH_BYTES_PER_S)
    took = play(fill(net, Links()))
    assert took.seconds < AT_BEST_S + 6
    assert took.standstill_s < 6
    assert net.given_bytes < SIZE + MIB  # what a range that was shared had read already


@pytest.mark.parametrize("slow_bytes_per_s", [20e3, 3e3, 0])
def test_the_last_of_them_is_relieved_although_the_others_get_nothing_any_more(slow_bytes_per_s: float) -> None:
    slow: set[int] = set()

    def rate(number: int, _: float) -> float:
        if not slow and net.given_bytes > SIZE - MIB:
            slow.add(number)
        return slow_bytes_per_s if number in slow else EACH_BYTES_PER_S

    net = Net(SIZE, rate)
    took = play(fill(net, Links()))
    assert took.seconds < AT_BEST_S + 9
    assert net.given_bytes < SIZE + MIB


def test_a_moment_of_silence_is_not_slow() -> None:
    """Three seconds of it, as while what was lost is sent again."""
    pauses: dict[int, float] = {}

    def rate(number: int, for_s: float) -> float:
        if for_s > 2.2 and number not in pauses:
            pauses[number] = for_s
            return PIECE / 3
        return EACH_BYTES_PER_S

    net = Net(SIZE, rate)
    play(fill(net, Links()))
    paused = len(pauses)
    even = Net(SIZE, lambda *_: EACH_BYTES_PER_S)
    play(fill(even, Links()))
    assert paused > 3
    assert len(net.requests) <= len(even.requests) + 4


def test_where_all_become_slow_nobody_is_relieved() -> None:
    """It is the line: another request would get no more."""

    def rate(number: int, for_s: float) -> float:
        return EACH_BYTES_PER_S if number == 0 and for_s < 1 else 60e3

    net = Net(24 * MIB, rate)
    play(fill(net, Links()))
    assert len(net.requests) < 30


def test_at_the_end_of_a_line_that_has_become_slow_it_is_doubted_that_another_request_helps() -> None:
    """Some ranges are done then, which is why the others are taken for slow ones."""
    is_slow = False

    def rate(*_: object) -> float:
        nonlocal is_slow
        is_slow = is_slow or net.given_bytes > SIZE - MIB
        return 5e3 if is_slow else EACH_BYTES_PER_S

    net = Net(SIZE, rate)
    play(fill(net, Links()))
    late = [start for start, _ in net.requests if start > SIZE - 16 * MIB]
    assert len(late) < 20


def test_an_upstream_that_is_silent_at_the_end_is_given_up() -> None:
    net = Net(SIZE, lambda *_: 0.0 if net.given_bytes > SIZE - MIB else EACH_BYTES_PER_S)
    with pytest.raises(UpstreamFailure, match="stalled"):
        play(fill(net, Links()))
    assert net.open_now == 0
