"""The rules of core/rights.py, each row of its tables."""

import pytest

from hubferry.core.rights import RIGHT_S, Holding, Right, Step, judge_right, next_step

TTL_S = 100.0
GIVE, ASK_IF_HERE, ASK_FIRST, FETCH = Step.GIVE, Step.ASK_IF_HERE, Step.ASK_FIRST, Step.FETCH

STEPS = {  # for a right that is PROVEN, DUE, NONE, and for whoever the upstream said yes to a moment ago
    Holding.YES: (GIVE, ASK_IF_HERE, ASK_FIRST, GIVE),
    Holding.BEGUN: (GIVE, ASK_IF_HERE, ASK_FIRST, GIVE),
    Holding.RUNNING: (ASK_IF_HERE, ASK_IF_HERE, ASK_FIRST, GIVE),
    Holding.NAMED: (ASK_IF_HERE, ASK_IF_HERE, FETCH, GIVE),
    Holding.UNKNOWN_ORIGIN: (ASK_IF_HERE, ASK_IF_HERE, ASK_IF_HERE, GIVE),
    Holding.NONE: (FETCH, FETCH, FETCH, FETCH),
}


@pytest.mark.parametrize("holding", Holding)
def test_what_is_done_next_follows_from_the_right_and_the_holding(holding: Holding) -> None:
    rights = (Right.PROVEN, Right.DUE, Right.NONE)
    found = [next_step(right, holding, is_proven=False) for right in rights]
    assert (*found, next_step(Right.NONE, holding, is_proven=True)) == STEPS[holding]


@pytest.mark.parametrize("holding", Holding)
def test_without_a_right_nothing_is_given_unasked(holding: Holding) -> None:
    assert next_step(Right.NONE, holding, is_proven=False) is not GIVE


@pytest.mark.parametrize("holding", Holding)
@pytest.mark.parametrize("right", Right)
def test_the_upstreams_word_is_as_good_as_any_right(right: Right, holding: Holding) -> None:
    assert next_step(right, holding, is_proven=True) is STEPS[holding][3]


def test_only_what_the_upstream_itself_gave_is_proven() -> None:
    assert {holding for holding in Holding if holding.is_proven} == {Holding.YES, Holding.BEGUN}
    assert {right for right in Right if right.covers} == {Right.PROVEN, Right.DUE}


WORTH = {  # an age in seconds: what it is worth as everybody's, as everybody's while deferred, and as a login's
    None: (Right.NONE, Right.NONE, Right.NONE),
    -0.1: (Right.DUE, Right.PROVEN, Right.NONE),
    0.0: (Right.PROVEN, Right.PROVEN, Right.PROVEN),
    TTL_S - 0.1: (Right.PROVEN, Right.PROVEN, Right.PROVEN),
    TTL_S: (Right.DUE, Right.PROVEN, Right.PROVEN),
    RIGHT_S - 0.1: (Right.DUE, Right.PROVEN, Right.PROVEN),
    RIGHT_S: (Right.DUE, Right.PROVEN, Right.NONE),
    1e9: (Right.DUE, Right.PROVEN, Right.NONE),
}


@pytest.mark.parametrize("age_s", WORTH)
def test_what_a_right_of_that_age_is_worth(age_s: float | None) -> None:
    def judge(*, is_everybodys: bool, is_deferred: bool) -> Right:
        return judge_right(age_s, is_everybodys=is_everybodys, public_ttl_s=TTL_S, is_deferred=lambda: is_deferred)

    public = judge(is_everybodys=True, is_deferred=False)
    login = judge(is_everybodys=False, is_deferred=False)
    assert (public, judge(is_everybodys=True, is_deferred=True), login) == WORTH[age_s]
    assert judge(is_everybodys=False, is_deferred=True) is login
