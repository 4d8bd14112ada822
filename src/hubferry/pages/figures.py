"""Numbers and times as a visitor reads them, in both languages. Pure."""

from datetime import UTC, datetime

from hubferry.core.human import human_size

_UNITS = (
    (86400 * 365, "year", "年"),
    (86400 * 30, "month", "个月"),
    (86400, "day", "天"),
    (3600, "hour", "小时"),
    (60, "minute", "分钟"),
)


def shown_size(size_bytes: int | None) -> str:
    """Return a size with its unit, a dash when it is not known."""
    return "-" if size_bytes is None else human_size(size_bytes)


def shown_count(count: int | None) -> str:
    """Return a number with separators, a dash when it is not known."""
    return "-" if count is None else f"{count:,}"


def shown_share(share: float | None) -> str:
    """Return a share from 0 to 1 in per cent, a dash when it is not known. Only all of it is 100%."""
    if share is None:
        return "-"
    return f"{min(round(share * 100), 99 if share < 1 else 100)}%"


def shown_date(moment: float) -> str:
    """Return a moment in seconds since 1970 to the minute in UTC: `2024-05-01 12:00 UTC`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def machine_date(moment: float) -> str:
    """Return a moment as the `datetime` attribute of HTML has it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def ago(moment: float, now: float, language: str) -> str:
    """Return how long ago a moment was, in the largest unit that fits: `3 days ago`."""
    seconds = max(0.0, now - moment)
    for length, english, chinese in _UNITS:
        count = int(seconds // length)
        if count:
            return f"{count} {chinese}前" if language == "zh" else f"{count} {english}{'s' if count > 1 else ''} ago"
    return "刚刚" if language == "zh" else "just now"
