"""Decide how long to wait before something that failed is tried again.

Pure: takes the time and the chance. The first retry is at once, because most bodies break off on a line that works;
then the pause doubles from FIRST_S to at most MAX_S, and each is a random part of that ("full jitter"), so that many
who failed at the same moment do not come back at the same moment. RFC 9110 section 10.2.3 for Retry-After.
Not here: how often, and for how long altogether (fill/source.py).
"""

from email.utils import parsedate_to_datetime

FIRST_S = 0.25
MAX_S = 8.0
_DOUBLINGS = 5  # from FIRST_S to MAX_S


def decide_pause(tries: int, chance: float) -> float:
    """Seconds before the next try after `tries` that got nowhere; `chance` is between 0 and 1."""
    if tries <= 0:
        return 0.0
    return chance * min(MAX_S, FIRST_S * 2.0 ** min(tries - 1, _DOUBLINGS))


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """How many seconds from `now_s` (since 1970) on it asks to wait; None when it is absent or unreadable."""
    text = (value or "").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None
