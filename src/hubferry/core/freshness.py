"""Decide whether a kept tag or list may answer a request without asking its upstream.

Pure: takes ages as arguments, performs no I/O. Only tags and lists come here: what a digest stands for never changes.

    kept?   age                      ->
    no      -                           MISS
    yes     0 <= age < ttl              FRESH        no upstream request
    yes     anything else               REVALIDATE   HEAD; a failure may be covered by the kept tag

An age below zero means that the clock was set back, so the tag does not count as fresh. With a TTL of zero the
upstream is asked every time. RFC 9111 section 4.2, RFC 5861 section 4.

The TTL is that of the first pattern in `cache.tag_ttls` that matches `REGISTRY/REPOSITORY:TAG`, with names as they were
resolved (docker.io/library/nginx:1.27), or `cache.tag_ttl` when none matches. In a pattern `*` is any text, including
slashes and colons; `?` and `[...]` are one character; upper and lower case differ. A pattern without a colon behind its
last slash applies to every tag.
Not here: who may have the content (pull/rights.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from fnmatch import translate

from hubferry.core.errors import OciError
from hubferry.core.http import Headers
from hubferry.core.settings import CacheSettings
from hubferry.core.values import Duration, TagTtls

NEGATIVE_TTL_S = 5.0  # how long a 404 ("there is no such tag") is believed
COVERED = frozenset({429, 502, 503, 504})  # what we answer when an upstream fails, limits us or is of no use


class Freshness(Enum):
    """What to do about a tag: the results of the table at the top."""

    FRESH = auto()
    REVALIDATE = auto()
    MISS = auto()


def decide_freshness(age_s: float | None, ttl_s: float) -> Freshness:
    """Return what to do with a tag: see the table at the top.

    `age_s` is the time since the upstream last confirmed the tag; None: no such tag is kept.
    """
    if age_s is None:
        return Freshness.MISS
    return Freshness.FRESH if 0 <= age_s < ttl_s else Freshness.REVALIDATE


@dataclass(frozen=True, slots=True)
class TtlRule:
    """One row of `cache.tag_ttls`, compiled. `names_tag` is whether the pattern includes a tag."""

    pattern: re.Pattern[str]
    names_tag: bool
    ttl_s: float


def ttl_rules(ttls: TagTtls) -> tuple[TtlRule, ...]:
    """Compile the rows of `cache.tag_ttls`, in their order."""
    return tuple(
        TtlRule(re.compile(translate(pattern)), ":" in pattern.rpartition("/")[2], ttl.seconds)
        for pattern, ttl in ttls.rows
    )


def decide_ttl(image: str, tag: str, rules: Sequence[TtlRule], otherwise_s: float) -> float:
    """Return the TTL of a tag in seconds: that of the first rule that matches, else `otherwise_s`.

    `image` is `REGISTRY/REPOSITORY`.
    """
    named = f"{image}:{tag}"
    for rule in rules:
        if rule.pattern.match(named if rule.names_tag else image):
            return rule.ttl_s
    return otherwise_s


def may_cover(error: OciError) -> bool:
    """Return whether a kept tag may answer in place of this error.

    It may when the upstream failed, and never when the upstream answered 401, 403 or 404.
    """
    return error.status in COVERED


def stale_headers(age_s: float, upstream: str) -> Headers:
    """Return the headers that mark an answer as stale: `Age`, `Warning: 110`, and a warning for people.

    `age_s` is the time since the tag was last confirmed. RFC 9111 section 5.1, RFC 7234 section 5.5.1.
    """
    since = f"it was last confirmed {Duration(float(max(0, int(age_s))))} ago"
    said = warning(f"{upstream} is not asked now: this is answered from the cache, {since}")
    return (("age", str(max(0, int(age_s)))), ("warning", '110 hubferry "Response is Stale"'), said)


def warning(text: str) -> tuple[str, str]:
    """Return a `Warning` header whose text clients show to people (OCI distribution specification, "Warnings").

    `text` must be plain ASCII without quotation marks, and must not contain text from an upstream or a client.
    """
    return ("warning", f'299 - "{text}"')


@dataclass(frozen=True, slots=True)
class Timing:
    """How long kept tags may be used, in seconds since their upstream last confirmed them.

    For `tag_ttl_s` a tag answers without asking the upstream; `ttl_rules` set another time for some images. For
    `stale_if_error_s` a tag may answer when the upstream fails.
    """

    tag_ttl_s: float
    stale_if_error_s: float
    ttl_rules: tuple[TtlRule, ...] = ()

    def ttl_s(self, upstream: str, repository: str, tag: str) -> float:
        """Return for how many seconds after its last confirmation this tag answers without asking the upstream."""
        return decide_ttl(f"{upstream}/{repository}", tag, self.ttl_rules, self.tag_ttl_s)


def timing_of(cache: CacheSettings) -> Timing:
    """Return the timing that the `[cache]` settings ask for."""
    return Timing(cache.tag_ttl.seconds, cache.stale_if_error.seconds, ttl_rules(cache.tag_ttls))
