"""What an upstream says of its limits, and what follows: how long a kept tag answers, when to ask again.

Pure: takes headers and times. Docker Hub: `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 76;w=21600`, nothing
at all when there is no limit (docs.docker.com, "Docker Hub usage and limits"); Retry-After: RFC 9110 section 10.2.3.

    left of the limit     a kept tag answers for
    half or more          its TTL
    less                  up to STRETCH times its TTL, the more the less is left
    under a tenth         as long as it may cover a failure: what is left is for what is not kept
"""

from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

from hubferry.core.http import Headers, get

DEFAULT_WINDOW_S = 60.0  # where none is said: what is unknown should not hold for long
DEFAULT_BLOCK_S = 60.0  # a 429 that does not say for how long; doubled each time it comes again
MAX_GUESSED_BLOCK_S = 900.0
MAX_BLOCK_S = 21600.0
MAX_DATE = 100  # characters; HTTP's own have 29
EASY_SHARE = 0.5
SCARCE_SHARE = 0.1
STRETCH = 10.0


@dataclass(frozen=True, slots=True)
class Quota:
    """So many pulls are left of so many within a window of seconds."""

    limit: int
    remaining: int
    window_s: float

    def share(self, age_s: float) -> float:
        """What is left, from 0 to 1, `age_s` after the upstream said so: by the end of the window everything is."""
        said = min(max(self.remaining / self.limit, 0.0), 1.0)
        return min(said + (1.0 - said) * max(age_s, 0.0) / self.window_s, 1.0)


def parse_quota(headers: Headers) -> Quota | None:
    """The limit that an answer tells of; None when it tells of none, or unreadably."""
    limit, window_s = _parse_item(get(headers, "ratelimit-limit"))
    remaining, _ = _parse_item(get(headers, "ratelimit-remaining"))
    if not limit or remaining is None:
        return None
    return Quota(limit, remaining, window_s or DEFAULT_WINDOW_S)


def _parse_item(value: str | None) -> tuple[int | None, float | None]:
    """`100;w=21600` -> (100, 21600.0)."""
    number, _, rest = (value or "").partition(";")
    number = number.strip()
    if not (number.isascii() and number.isdecimal() and len(number) <= 9):
        return None, None
    window_s = None
    for parameter in rest.split(";"):
        name, _, said = parameter.strip().partition("=")
        if name == "w" and said.isascii() and said.isdecimal() and 0 < len(said) <= 9 and int(said):
            window_s = float(said)
    return int(number), window_s


def retry_after_s(headers: Headers, now: float) -> float | None:
    """How long Retry-After asks to wait, at most MAX_BLOCK_S; None when it is absent or unreadable.

    A date counts from the answer's own Date, so that no wrong clock of ours matters; without one from `now`, in
    seconds since 1970.
    """
    said = (get(headers, "retry-after") or "").strip()
    if said.isascii() and said.isdecimal():
        return min(float(said[:9]), MAX_BLOCK_S)
    until = _parse_date(said)
    if until is None:
        return None
    sent = _parse_date(get(headers, "date") or "")
    return min(max(until - (now if sent is None else sent), 0.0), MAX_BLOCK_S)


def _parse_date(value: str) -> float | None:
    """Seconds since 1970 of a date as HTTP writes it."""
    try:
        parsed = parsedate_tz(value) if len(value) <= MAX_DATE else None
        return None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, TypeError, IndexError, OverflowError):  # what the parser of mail dates has raised in its time
        return None


def block_s(headers: Headers, now: float, refused_before: int) -> float:
    """For how long not to ask again after a 429 that `refused_before` others came before, without an answer between."""
    said = retry_after_s(headers, now)
    if said is not None:
        return max(said, 1.0)
    return min(DEFAULT_BLOCK_S * 2.0 ** min(refused_before, 10), MAX_GUESSED_BLOCK_S)


def stretched_ttl_s(ttl_s: float, share: float, stale_s: float) -> float:
    """How long a kept tag answers unasked, by what is left of the limit; see the table above.

    A TTL of zero is an operator's word that every time is to be asked, and stays.
    """
    if not ttl_s or share >= EASY_SHARE:
        return ttl_s
    if share < SCARCE_SHARE:
        return max(ttl_s, stale_s)
    lack = (EASY_SHARE - share) / (EASY_SHARE - SCARCE_SHARE)
    return ttl_s * (1.0 + (STRETCH - 1.0) * lack)
