"""Decide whether a kept tag may answer a request.

Pure: takes ages as arguments, performs no I/O. Digests are immutable and never come here.

    kept?   age                      ->
    no      -                           MISS
    yes     0 <= age <= ttl             FRESH        no upstream request
    yes     anything else               REVALIDATE   HEAD; a failure may be covered by the kept tag

An age below zero means that the clock was set back, which proves nothing. RFC 9111 section 4.2, RFC 5861 section 4.
Not here: who may read the entry (access.py).
"""

from enum import Enum, auto

from hubferry.core.errors import OciError
from hubferry.core.http import Headers

NEGATIVE_TTL_S = 5.0  # how long "there is no such tag" is believed
COVERED = frozenset({429, 502, 503, 504})  # what an upstream's 408, 429, 5xx and silence become (errors.py)


class Freshness(Enum):
    """What to do with a kept tag."""

    FRESH = auto()
    REVALIDATE = auto()
    MISS = auto()


def decide_freshness(age_s: float | None, ttl_s: float) -> Freshness:
    """`age_s` is the time since the upstream last confirmed the tag, None when none is kept."""
    if age_s is None:
        return Freshness.MISS
    return Freshness.FRESH if 0 <= age_s <= ttl_s else Freshness.REVALIDATE


def may_cover(error: OciError, age_s: float | None, stale_if_error_s: float) -> bool:
    """Whether a kept tag may answer instead of an upstream's failure; never instead of its 401, 403 or 404."""
    return age_s is not None and error.status in COVERED and age_s <= stale_if_error_s


def stale_headers(age_s: float) -> Headers:
    """What marks an answer as stale: RFC 9111 section 5.1, RFC 7234 section 5.5.1."""
    return (("age", str(max(0, int(age_s)))), ("warning", '110 hubferry "Response is Stale"'))
