"""Case tables of core.freshness: whether a kept tag may answer, and for how long that holds."""

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.freshness import Freshness, decide_freshness, decide_ttl, may_cover, stale_headers, ttl_rules
from hubferry.core.http import get_all
from hubferry.core.values import Duration, TagTtls

FRESHNESS = [
    (None, 60, Freshness.MISS),
    (0, 60, Freshness.FRESH),
    (59.9, 60, Freshness.FRESH),
    (60, 60, Freshness.REVALIDATE),
    (-0.1, 60, Freshness.REVALIDATE),
    (0, 0, Freshness.REVALIDATE),
    (1, 0, Freshness.REVALIDATE),
    (None, 0, Freshness.MISS),
]


@pytest.mark.parametrize(("age_s", "ttl_s", "expected"), FRESHNESS)
def test_a_tag_is_fresh_for_its_ttl(age_s: float | None, ttl_s: float, expected: Freshness) -> None:
    assert decide_freshness(age_s, ttl_s) is expected


@pytest.mark.parametrize(
    ("status", "covers"),
    [(429, True), (502, True), (503, True), (504, True), (400, False), (401, False), (403, False), (404, False)],
)
def test_a_kept_tag_covers_failures_and_no_refusals(status: int, covers: bool) -> None:
    assert may_cover(OciError(status, Code.UNKNOWN, "")) is covers


def test_a_stale_answer_says_how_old_it_is() -> None:
    assert dict(stale_headers(12.7, "docker.io"))["age"] == "12"
    assert dict(stale_headers(-3, "docker.io"))["age"] == "0"
    warnings = get_all(stale_headers(7200.0, "docker.io"), "warning")
    assert warnings[0].startswith("110 ")
    assert warnings[1:] == [
        '299 - "docker.io is not asked now: this is answered from the cache, it was last confirmed 2h ago"'
    ]


NGINX = ("docker.io/library/nginx", "1.27")
OTHERWISE_S = -1.0
TTLS: dict[str, tuple[list[str], tuple[str, str], int | None]] = {
    # name: patterns, image and tag, which of the patterns counts
    "none": ([], NGINX, None),
    "itself": (["docker.io/library/nginx:1.27"], NGINX, 0),
    "itself without its tag": (["docker.io/library/nginx"], NGINX, 0),
    "the beginning of it": (["docker.io/library/ngin"], NGINX, None),
    "the end of it": (["*nginx:1.27"], NGINX, 0),
    "an end that only looks like one": (["library/nginx"], NGINX, None),
    "a star crosses slashes": (["docker.io/*"], NGINX, 0),
    "a star crosses the colon": (["docker.io/*7"], NGINX, None),
    "a star crosses the colon where the tag is meant": (["docker.io/*:*7"], NGINX, 0),
    "everything": (["*"], NGINX, 0),
    "every image of a tag": (["*:1.27"], NGINX, 0),
    "another tag": (["*:1.2"], NGINX, None),
    "one character": (["*:1.2?"], NGINX, 0),
    "one character of some": (["*:1.2[6-8]"], NGINX, 0),
    "one character of none of some": (["*:1.2[!6-8]"], NGINX, None),
    "a dot is a dot": (["docker?io/library/nginx", "docker.io/library/nginx"], ("dockerXio/library/nginx", "1"), 0),
    "a dot is no other character": (["docker.io/library/nginx"], ("dockerXio/library/nginx", "1"), None),
    "the case counts": (["*:latest"], ("docker.io/library/nginx", "Latest"), None),
    "the first in the order written": (["*:1", "*:1.27", "docker.io/*", "*"], NGINX, 1),
    "the more exact one behind it does not": (["docker.io/*", "docker.io/library/nginx:1.27"], NGINX, 0),
    "a port is no tag": (["localhost:5000/*"], ("localhost:5000/team/app", "1"), 0),
    "a port and a tag": (["localhost:5000/*:2"], ("localhost:5000/team/app", "1"), None),
}


@pytest.mark.parametrize(("patterns", "image", "counts"), TTLS.values(), ids=TTLS.keys())
def test_the_first_pattern_that_matches_says_how_long(
    patterns: list[str], image: tuple[str, str], counts: int | None
) -> None:
    rules = ttl_rules(TagTtls(tuple((pattern, Duration(number)) for number, pattern in enumerate(patterns))))
    assert decide_ttl(*image, rules, OTHERWISE_S) == (OTHERWISE_S if counts is None else counts)
