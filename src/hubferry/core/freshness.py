"""Decide whether a kept tag may answer a request.

Pure: takes ages as arguments, performs no I/O. Digests are immutable and never come here.

    kept?   age                      ->
    no      -                           MISS
    yes     0 <= age < ttl              FRESH        no upstream request
    yes     anything else               REVALIDATE   HEAD; a failure may be covered by the kept tag

An age below zero means that the clock was set back, which proves nothing. A TTL of zero asks every time.
RFC 9111 section 4.2, RFC 5861 section 4.

The TTL is that of the first pattern that matches `REGISTRY/REPOSITORY:TAG`, names as they were resolved
(docker.io/library/nginx:1.27). `*` is any text, slashes and colons included; `?` and `[...]` are one character; upper
and lower case differ. A pattern without a colon behind its last slash says nothing of the tag and means every one.
Not here: who may read the entry (access.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from fnmatch import translate

from hubferry.core.errors import OciError
from hubferry.core.http import Headers
from hubferry.core.values import Duration, TagTtls

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
    return Freshness.FRESH if 0 <= age_s < ttl_s else Freshness.REVALIDATE


@dataclass(frozen=True, slots=True)
class TtlRule:
    """One row of `cache.tag_ttls`, ready to be matched."""

    pattern: re.Pattern[str]
    names_tag: bool
    ttl_s: float


def ttl_rules(ttls: TagTtls) -> tuple[TtlRule, ...]:
    """The rows of the setting, in their order."""
    return tuple(
        TtlRule(re.compile(translate(pattern)), ":" in pattern.rpartition("/")[2], ttl.seconds)
        for pattern, ttl in ttls.rows
    )


def decide_ttl(image: str, tag: str, rules: Sequence[TtlRule], otherwise_s: float) -> float:
    """How long the tag of an image (`REGISTRY/REPOSITORY`) answers: the first rule that matches, `otherwise_s`."""
    named = f"{image}:{tag}"
    for rule in rules:
        if rule.pattern.match(named if rule.names_tag else image):
            return rule.ttl_s
    return otherwise_s


def may_cover(error: OciError) -> bool:
    """Whether a kept tag may answer instead of an upstream's failure; never instead of its 401, 403 or 404."""
    return error.status in COVERED


def stale_headers(age_s: float, upstream: str) -> Headers:
    """What marks an answer as stale: RFC 9111 section 5.1, RFC 7234 section 5.5.1, and the warning for people."""
    since = f"it was last confirmed {Duration(float(max(0, int(age_s))))} ago"
    said = warning(f"{upstream} is not asked now: this is answered from the cache, {since}")
    return (("age", str(max(0, int(age_s)))), ("warning", '110 hubferry "Response is Stale"'), said)


def warning(text: str) -> tuple[str, str]:
    """A header whose text clients show to people: OCI distribution specification, "Warnings".

    `text` is plain ASCII without quotation marks, and nothing that an upstream or a client made up.
    """
    return ("warning", f'299 - "{text}"')
