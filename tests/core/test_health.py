"""Case tables of core.health: which base is asked, and when one that failed is asked again."""

import pytest

from hubferry.core.health import DISTRUST_S, Health, claim_order


def test_a_base_that_fails_is_left_alone_for_longer_each_time() -> None:
    health, now, pauses = Health(), 0.0, []
    assert health.is_free(now)
    for _ in range(8):
        health.failed(now)
        assert not health.is_free(now)
        pauses.append(health.down_until - now)
        now = health.down_until
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    health.answered()
    assert health.is_free(now)
    health.failed(now)
    assert health.down_until - now == 1


def test_failures_at_the_same_time_are_one() -> None:
    health = Health()
    for _ in range(500):
        health.failed(10.0)
    assert (health.failures, health.down_until) == (1, 11.0)


def test_one_at_a_time_finds_out_whether_it_is_back() -> None:
    health = Health()
    assert health.reserve_probe(0.0)
    assert health.reserve_probe(0.0), "one that is up is for everybody"
    health.failed(0.0)
    assert not health.reserve_probe(0.9)
    assert health.is_free(1.0)
    assert health.reserve_probe(1.0)
    assert not health.is_free(1.0), "somebody is trying"
    health.failed(1.4)
    assert health.down_until == 3.4, "and so the next pause is longer"
    assert health.reserve_probe(3.4)
    assert not health.reserve_probe(5.3)
    assert health.reserve_probe(5.4), "whoever tried did not come back"
    health.answered()
    assert health.reserve_probe(5.4)
    assert health.reserve_probe(5.4)


def a_hundred_and(failed: tuple[int, ...], distrusted: tuple[int, ...] = ()) -> list[Health]:
    healths = [Health() for _ in range(3)]
    for number in failed:
        healths[number].failed(100.0)
    for number in distrusted:
        healths[number].distrust(100.0)
    return healths


@pytest.mark.parametrize(
    ("down", "distrusted", "order"),
    [
        ((), (), [0, 1, 2]),
        ((0,), (), [1, 2, 0]),
        ((0, 1), (), [2, 0, 1]),
        ((0, 1, 2), (), [0, 1, 2]),
        ((), (1,), [0, 2]),
        ((0,), (1, 2), [0]),
        ((), (0,), [1, 2, 0]),
    ],
)
def test_bases_are_asked_in_order_those_that_are_down_last_and_liars_never(
    down: tuple[int, ...], distrusted: tuple[int, ...], order: list[int]
) -> None:
    healths = a_hundred_and(down, distrusted)
    assert claim_order(healths, 100.5) == order
    assert claim_order(healths, 100.5) == order
    for health in healths:
        health.answered()
    assert claim_order(healths, 100.0 + DISTRUST_S) == [0, 1, 2]


def test_after_its_pause_one_request_asks_it_first_and_everybody_else_last() -> None:
    healths = a_hundred_and((0,))
    assert claim_order(healths, 101.0) == [0, 1, 2]
    assert claim_order(healths, 101.0) == [1, 2, 0]
    healths[0].answered()
    assert claim_order(healths, 101.0) == [0, 1, 2]


def test_nobody_finds_out_about_two_at_once() -> None:
    healths = a_hundred_and((0, 1))
    assert claim_order(healths, 101.0) == [0, 2, 1]
    assert claim_order(healths, 101.0) == [1, 2, 0]
    assert claim_order(healths, 101.0) == [2, 0, 1]
