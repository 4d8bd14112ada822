"""The clock, the room and the pulls left -> a mark, and what to do."""

import pytest

from hubferry.core.diagnosis_machine import judge_clock, judge_quota, judge_room, skew_s

CLOCKS: dict[str, tuple[dict[str, float], str, str]] = {
    "nobody answers": ({}, "skipped", "nobody"),
    "it agrees": ({"a.test": 1.0, "b.test": -2.0}, "ok", "2 hosts"),
    "a little ahead": ({"a.test": 90.0}, "warning", "90 s ahead of a.test"),
    "exactly five minutes": ({"a.test": -300.0}, "warning", "5 min behind"),
    "more": ({"a.test": -301.0}, "failed", "5 min behind a.test"),
    "days": ({"a.test": 864000.0}, "failed", "10 days ahead of"),
    "one server is wrong": ({"a.test": 0.0, "b.test": 9000.0, "c.test": 1.0}, "ok", "3 hosts"),
}


@pytest.mark.parametrize(("skews", "mark", "words"), CLOCKS.values(), ids=CLOCKS.keys())
def test_clock(skews: dict[str, float], mark: str, words: str) -> None:
    found = judge_clock(skews)
    assert (found.mark, bool(found.remedy)) == (mark, mark in ("warning", "failed"))
    assert words in found.text


def test_the_date_of_an_answer() -> None:
    assert skew_s((("date", "Thu, 01 Jan 1970 00:01:40 GMT"),), 160.0) == 60.0
    for value in ("", "yesterday", "Thu, 01 Jan 99999999999 00:00:00 GMT", "x" * 1000):
        assert skew_s((("date", value),), 160.0) is None


def test_room() -> None:
    assert judge_room("/data", 100, 100, ("100B", "100B")).mark == "ok"
    full = judge_room("/data", 99, 100, ("99B", "100B"))
    assert full.mark == "failed"
    assert "min_free" in full.remedy


def quota(limit: int, left: int) -> tuple[tuple[str, str], ...]:
    return (("ratelimit-limit", f"{limit};w=21600"), ("ratelimit-remaining", f"{left};w=21600"))


QUOTAS: dict[str, tuple[int, tuple[tuple[str, str], ...], bool, str, str, str]] = {
    "none is stated": (200, (), False, "ok", "no limit", ""),
    "plenty": (200, quota(100, 76), False, "ok", "76 of 100 pulls are left; all are again within 6 h", ""),
    "scarce": (200, quota(100, 9), False, "warning", "9 of 100", "username"),
    "scarce, with an account": (200, quota(200, 3), True, "warning", "3 of 200", "hubferry warm"),
    "none left": (200, quota(100, 0), False, "failed", "no pull is left; some are again within 6 h", "username"),
    "429 with a time": (429, (("retry-after", "1800"),), False, "failed", "within 30 min", "wait"),
    "429": (429, (), False, "failed", "within some time", "wait"),
}


@pytest.mark.parametrize("case", QUOTAS.values(), ids=QUOTAS.keys())
def test_quota(case: tuple[int, tuple[tuple[str, str], ...], bool, str, str, str]) -> None:
    status, headers, has_account, mark, words, remedy = case
    found = judge_quota("quota", status, headers, 0.0, has_account=has_account)
    assert found.mark == mark
    assert words in found.text
    assert remedy in found.remedy
