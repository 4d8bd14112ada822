"""Read an upstream's rate limit, and decide how long a kept tag answers and when to ask again after a 429.

Pure: takes headers and times. Docker Hub sends `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`,
and neither of them when there is no limit (docs.docker.com, "Docker Hub usage and limits"). Retry-After: RFC 9110
section 10.2.3.

    left of the limit     a kept tag answers without asking the upstream for
    half or more          its TTL
    less                  up to STRETCH times its TTL: the less is left, the longer
    under a tenth         as long as it may answer when the upstream fails; the rest is saved for content not kept yet
"""

from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

from hubferry.core.http import Headers, get

DEFAULT_WINDOW_S = 60.0  # for a limit without a window: a guess should not have effect for long
DEFAULT_BLOCK_S = 60.0  # after a 429 that does not say for how long; doubled with each further 429
MAX_GUESSED_BLOCK_S = 900.0
MAX_BLOCK_S = 21600.0
MAX_DATE = 100  # characters; a date as HTTP writes it has 29
EASY_SHARE = 0.5
SCARCE_SHARE = 0.1
STRETCH = 10.0


@dataclass(frozen=True, slots=True)
class Quota:
    """An upstream's limit: `remaining` pulls are left of the `limit` pulls within `window_s` seconds."""

    limit: int
    remaining: int
    window_s: float

    def left(self, age_s: float) -> float:
        """Return the share of the limit that is left, from 0 to 1, `age_s` seconds after the upstream stated it.

        The share grows with time, and is 1 at the end of the window.
        """
        said = min(max(self.remaining / self.limit, 0.0), 1.0)
        return min(said + (1.0 - said) * max(age_s, 0.0) / self.window_s, 1.0)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the limit of one account of the gateway's own, or of its address.

    Of `limit` pulls `remaining` were left when the upstream last said so; None: it never did. They are all there again
    in at most `resets_s` seconds. `waits` are kinds of requests that an upstream's 429 keeps from being sent, and for
    how many seconds yet.
    """

    account: str
    limit: int | None
    remaining: int | None
    resets_s: float
    waits: tuple[tuple[str, float], ...]


def parse_quota(headers: Headers) -> Quota | None:
    """Return the limit that an upstream's answer states; None when it states none, or none that can be read."""
    limit, window_s = _parse_item(get(headers, "ratelimit-limit"))
    remaining, _ = _parse_item(get(headers, "ratelimit-remaining"))
    if not limit or remaining is None:
        return None
    return Quota(limit, remaining, window_s or DEFAULT_WINDOW_S)


def _parse_item(value: str | None) -> tuple[int | None, float | None]:
    """Return the number in a header such as `100;w=21600`, and the window in seconds; None for what it does not say."""
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
    """Return how many seconds Retry-After asks to wait, at most MAX_BLOCK_S; None when it is absent or unreadable.

    When Retry-After is a date, it is compared with the answer's own Date, so that an error of our clock does not
    matter. Without a Date it is compared with `now`, in seconds since 1970.
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
    """Return a date as HTTP writes it in seconds since 1970, or None when it cannot be read."""
    try:
        parsed = parsedate_tz(value) if len(value) <= MAX_DATE else None
        return None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, TypeError, IndexError, OverflowError):  # all have been raised by Python's parser of mail dates
        return None


def block_s(headers: Headers, now: float, refused_before: int) -> float:
    """Return for how many seconds not to ask an upstream again after a 429.

    `refused_before` is how many 429s came directly before this one, without another answer between.
    """
    said = retry_after_s(headers, now)
    if said is not None:
        return max(said, 1.0)
    return min(DEFAULT_BLOCK_S * 2.0 ** min(refused_before, 10), MAX_GUESSED_BLOCK_S)


def stretched_ttl_s(ttl_s: float, share: float, stale_s: float) -> float:
    """Return for how many seconds a kept tag answers without asking the upstream; see the table at the top.

    `share` is what is left of the limit, `stale_s` how long the tag may answer when the upstream fails. A TTL of zero
    stays zero: with it the operator demands that the upstream is asked every time.
    """
    if not ttl_s or share >= EASY_SHARE:
        return ttl_s
    if share < SCARCE_SHARE:
        return max(ttl_s, stale_s)
    lack = (EASY_SHARE - share) / (EASY_SHARE - SCARCE_SHARE)
    return ttl_s * (1.0 + (STRETCH - 1.0) * lack)
