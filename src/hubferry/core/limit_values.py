"""The values of `[limits]`: requests a second, bytes a second, and times of day; parse, check and format them.

Pure. A value that is refused raises ValueError, whose text says what to write instead.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubferry.core.masking import shown
from hubferry.core.values import ParsedValue, format_toml, parse_size, parse_tables

_SPANS_S = {"s": 1, "m": 60, "h": 3600}
DAY_MINUTES = 24 * 60
MAX_ROWS = 100


@dataclass(frozen=True)
class RequestRate(ParsedValue):
    """How many requests in how many seconds, written such as `50/s` or `1000/m`. A count of 0: any number."""

    count: int = 0
    per_s: int = 1

    @classmethod
    def parse(cls, raw: Any) -> "RequestRate":
        if not isinstance(raw, str):
            raise ValueError('expected a text such as "50/s"')
        if not raw.strip():
            return cls()
        match = re.fullmatch(r"(\d{1,9})\s*/\s*([smh])", raw.strip())
        if match is None or not int(match[1]):
            raise ValueError(f"{shown(raw)} is no number of requests in a time: write 50/s, 1000/m or 10000/h")
        return cls(int(match[1]), _SPANS_S[match[2]])

    def to_toml(self) -> str:
        return format_toml(str(self))

    def __str__(self) -> str:
        unit = next(unit for unit, span_s in _SPANS_S.items() if span_s == self.per_s)
        return f"{self.count}/{unit}" if self.count else ""


@dataclass(frozen=True)
class ByteRate(ParsedValue):
    """How many bytes a second, written such as `100MiB/s`. 0: any number."""

    bytes_per_s: int = 0
    text: str = ""

    @classmethod
    def parse(cls, raw: Any) -> "ByteRate":
        if not isinstance(raw, str):
            raise ValueError('expected a text such as "100MiB/s"')
        text = raw.strip()
        if not text:
            return cls()
        size, slash, unit = text.partition("/")
        try:
            size_bytes = parse_size(size).size_bytes if slash and unit.strip() == "s" else 0
        except ValueError:
            size_bytes = 0
        if size_bytes < MIN_BYTES_PER_S:
            raise ValueError(f"{shown(raw)} is no rate: write a size in a second, such as 100MiB/s or 500KiB/s")
        return cls(size_bytes, text)

    def to_toml(self) -> str:
        return format_toml(self.text)

    def __str__(self) -> str:
        return self.text


MIN_BYTES_PER_S = 1024


@dataclass(frozen=True)
class ScheduledRates:
    """One row of `[[limits.schedule]]`: the rates of all clients together from one minute of a day to another."""

    start: int
    end: int
    total_rate: ByteRate
    upstream_rate: ByteRate

    def is_at(self, minute: int) -> bool:
        """Return whether the row holds at a minute of the day; it may go on over midnight."""
        if self.start <= self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


@dataclass(frozen=True)
class RateSchedule(ParsedValue):
    """The rows of `[[limits.schedule]]` in the order they were written."""

    rows: tuple[ScheduledRates, ...] = ()

    @classmethod
    def parse(cls, raw: Any) -> "RateSchedule":
        return cls(parse_tables(raw, "limits.schedule", MAX_ROWS, _parse_row))

    def to_toml(self) -> str:
        return "[" + ", ".join(map(_format_row, self.rows)) + "]"

    def at(self, minute: int) -> ScheduledRates | None:
        """Return the first row that holds at a minute of the day, None: none does."""
        return next((row for row in self.rows if row.is_at(minute)), None)


_ROW_KEYS = ("from", "to", "total_rate", "upstream_rate")


def _parse_row(table: Mapping[str, Any]) -> ScheduledRates:
    for key in table:
        if key not in _ROW_KEYS:
            raise ValueError(f"unknown key {shown(str(key))}; known are {', '.join(_ROW_KEYS)}")
    start, end = (_parse_minute(key, table.get(key)) for key in ("from", "to"))
    if start == end:
        raise ValueError("from and to are the same time")
    rates = []
    for key in _ROW_KEYS[2:]:
        try:
            rates.append(ByteRate.parse(table.get(key, "")))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return ScheduledRates(start, end, *rates)


def _parse_minute(key: str, raw: Any) -> int:
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", raw.strip()) if isinstance(raw, str) else None
    if match is None:
        raise ValueError(f'{key}: expected a time of day in quotes, such as "22:30"')
    return int(match[1]) * 60 + int(match[2])


def _format_row(row: ScheduledRates) -> str:
    times = [f"{minute // 60:02}:{minute % 60:02}" for minute in (row.start, row.end)]
    values = (*times, row.total_rate.text, row.upstream_rate.text)
    return "{" + ", ".join(f"{key} = {format_toml(value)}" for key, value in zip(_ROW_KEYS, values, strict=True)) + "}"
