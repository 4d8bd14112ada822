"""Case tables of core.quota: what limits say, how long to wait, how far a TTL stretches."""

import pytest

from hubferry.core.http import Headers
from hubferry.core.quota import Quota, block_s, parse_quota, retry_after_s, stretched_ttl_s

NOW = 1_764_000_000.0  # Mon, 24 Nov 2025 16:00:00 GMT
LIMIT = "ratelimit-limit"
LEFT = "ratelimit-remaining"

QUOTAS: list[tuple[Headers, Quota | None]] = [
    (((LIMIT, "100;w=21600"), (LEFT, "76;w=21600")), Quota(100, 76, 21600.0)),
    (((LIMIT, " 200 ; w=3600"), (LEFT, "0")), Quota(200, 0, 3600.0)),
    (((LIMIT, "100"), (LEFT, "5")), Quota(100, 5, 60.0)),
    (((LIMIT, "100;w=0"), (LEFT, "5")), Quota(100, 5, 60.0)),
    (((LIMIT, "100;burst=5;w=60"), (LEFT, "5")), Quota(100, 5, 60.0)),
    (((LIMIT, "100;w=21600"),), None),
    (((LEFT, "76"),), None),
    (((LIMIT, "0;w=21600"), (LEFT, "0")), None),
    (((LIMIT, "many"), (LEFT, "5")), None),
    (((LIMIT, "-1"), (LEFT, "5")), None),
    (((LIMIT, "²"), (LEFT, "5")), None),
    (((LIMIT, "9" * 400), (LEFT, "5")), None),
    ((), None),
]


@pytest.mark.parametrize(("headers", "expected"), QUOTAS)
def test_quotas_are_read_or_are_none(headers: Headers, expected: Quota | None) -> None:
    assert parse_quota(headers) == expected


@pytest.mark.parametrize(
    ("remaining", "age_s", "share"),
    [(100, 0, 1.0), (50, 0, 0.5), (0, 0, 0.0), (0, 50, 0.5), (0, 100, 1.0), (50, 50, 0.75), (0, 1000, 1.0),
     (120, 0, 1.0), (0, -5, 0.0)],
)  # fmt: skip
def test_what_is_left_comes_back_within_the_window(remaining: int, age_s: float, share: float) -> None:
    assert Quota(100, remaining, 100.0).left(age_s) == pytest.approx(share)


WAITS: list[tuple[Headers, float | None]] = [
    ((("retry-after", "30"),), 30.0),
    ((("retry-after", "0"),), 0.0),
    ((("retry-after", "99999999999999"),), 21600.0),
    ((("retry-after", "-5"),), None),
    ((("retry-after", "1.5"),), None),
    ((("retry-after", "soon"),), None),
    ((("retry-after", "Mon, 24 Nov 2025 16:01:00 GMT"),), 60.0),
    ((("retry-after", "Mon, 24 Nov 2025 15:00:00 GMT"),), 0.0),
    # a server whose clock is a day ahead, or ours a day behind: only what lies between its two dates counts
    ((("retry-after", "Tue, 25 Nov 2025 16:00:30 GMT"), ("date", "Tue, 25 Nov 2025 16:00:00 GMT")), 30.0),
    ((("retry-after", "Mon, 24 Brumaire 2025 16:00:00"),), None),
    ((), None),
]


@pytest.mark.parametrize(("headers", "expected"), WAITS)
def test_retry_after_is_seconds_or_a_date(headers: Headers, expected: float | None) -> None:
    assert retry_after_s(headers, NOW) == expected


@pytest.mark.parametrize(
    ("headers", "before", "expected"),
    [((), 0, 60.0), ((), 1, 120.0), ((), 3, 480.0), ((), 4, 900.0), ((), 1000, 900.0),
     ((("retry-after", "7"),), 5, 7.0), ((("retry-after", "0"),), 0, 1.0)],
)  # fmt: skip
def test_a_429_blocks_for_as_long_as_it_says_or_longer_each_time(
    headers: Headers, before: int, expected: float
) -> None:
    assert block_s(headers, NOW, before) == expected


@pytest.mark.parametrize(
    ("ttl_s", "share", "expected"),
    [(60, 1.0, 60), (60, 0.5, 60), (60, 0.3, 330), (60, 0.1, 600), (60, 0.09, 7000), (60, 0.0, 7000),
     (9000, 0.0, 9000), (0, 0.0, 0), (0, 0.3, 0)],
)  # fmt: skip
def test_a_ttl_stretches_as_the_limit_is_used_up(ttl_s: float, share: float, expected: float) -> None:
    assert stretched_ttl_s(ttl_s, share, 7000) == pytest.approx(expected)
