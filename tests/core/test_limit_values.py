"""The values of `[limits]`: what may be written, what it means, and how it is shown."""

from typing import Any

import pytest

from hubferry.core.limit_values import ByteRate, RateSchedule, RequestRate
from hubferry.core.settings import LimitSettings
from hubferry.core.settings_sources import SettingsSource, from_environment, resolve
from hubferry.core.values import ConfigError

ROW = {"from": "22:30", "to": "6:00", "upstream_rate": "10MiB/s"}


def limits_of(**limits: Any) -> LimitSettings:
    return resolve([SettingsSource("test", {"limits": limits})]).limits


VALUES: dict[str, tuple[str, str, Any]] = {
    "requests a second": ("requests", "50/s", RequestRate(50, 1)),
    "requests a minute": ("requests", " 1000 / m ", RequestRate(1000, 60)),
    "requests an hour": ("requests", "1/h", RequestRate(1, 3600)),
    "any number": ("requests", "", RequestRate()),
    "bytes a second": ("rate", "100MiB/s", ByteRate(100 * 2**20, "100MiB/s")),
    "as fast as they can": ("upstream_rate", "", ByteRate()),
}


@pytest.mark.parametrize(("name", "text", "value"), VALUES.values(), ids=VALUES.keys())
def test_a_limit_is_read_from_a_text(name: str, text: str, value: Any) -> None:
    assert getattr(limits_of(**{name: text}), name) == value
    layer = from_environment({f"HUBFERRY_LIMITS__{name.upper()}": text}, [])
    assert getattr(resolve([layer]).limits, name) == value
    assert getattr(limits_of(**{name: value.to_toml().strip('"')}), name) == value, "as it is shown"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a number": ({"requests": 50}, "such as"),
    "no unit": ({"requests": "50"}, "write 50/s"),
    "a day": ({"requests": "50/d"}, "write 50/s"),
    "none": ({"requests": "0/s"}, "write 50/s"),
    "less than none": ({"requests": "-1/s"}, "write 50/s"),
    "a rate without a time": ({"rate": "100MiB"}, "is no rate"),
    "a rate without a unit": ({"rate": "100/s"}, "is no rate"),
    "a rate in a minute": ({"rate": "100MiB/m"}, "is no rate"),
    "hardly a rate": ({"rate": "1B/s"}, "is no rate"),
    "a rate that is a number": ({"rate": 5}, "such as"),
    "no span": ({"burst": "0s"}, "more than nothing"),
    "less than no download": ({"downloads": -1}, "from 0 on"),
    "a time that is none": ({"schedule": [{**ROW, "from": "24:00"}]}, "number 1: from: expected a time"),
    "no time": ({"schedule": [{"from": "22:00"}]}, "to: expected a time"),
    "a time without end": ({"schedule": [{**ROW, "to": "22:30"}]}, "the same time"),
    "an unknown key": ({"schedule": [{**ROW, "rate": "1MiB/s"}]}, "unknown key"),
    "a rate that is none": ({"schedule": [{**ROW, "upstream_rate": "fast"}]}, "upstream_rate: 'fast' is no rate"),
    "no tables": ({"schedule": 7}, "expected tables"),
    "no JSON": ({"schedule": "night"}, "expected a JSON list"),
    "too many": ({"schedule": [ROW] * 101}, "at most 100"),
}


@pytest.mark.parametrize(("limits", "words"), BAD.values(), ids=BAD.keys())
def test_a_limit_that_says_nothing_stops_the_start(limits: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        limits_of(**limits)


TIMES = {"22:29": False, "22:30": True, "23:59": True, "0:00": True, "5:59": True, "6:00": False, "12:00": False}


@pytest.mark.parametrize(("time", "holds"), TIMES.items())
def test_a_row_holds_over_midnight(time: str, holds: bool) -> None:
    hours, _, minutes = time.partition(":")
    row = limits_of(schedule=[ROW]).schedule.at(int(hours) * 60 + int(minutes))
    assert (row is not None) is holds
    if row is not None:
        assert (row.upstream_rate.bytes_per_s, row.total_rate.bytes_per_s) == (10 * 2**20, 0)


def test_the_first_row_that_holds_counts_and_all_are_shown() -> None:
    schedule = limits_of(
        schedule=[
            {"from": "8:00", "to": "12:00"},
            {
                "from": "8:00",
                "to": "18:00",
            },
        ]
    ).schedule
    assert schedule.at(9 * 60) is schedule.rows[0]
    assert schedule.at(13 * 60) is schedule.rows[1]
    assert RateSchedule((schedule.rows[0],)).to_toml() == (
        '[{from = "08:00", to = "12:00", total_rate = "", upstream_rate = ""}]'
    )
