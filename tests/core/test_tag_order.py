"""The order in which people look for tags."""

import random

import pytest

from hubferry.core import tag_order
from hubferry.core.tag_order import filter_tags, sort_tags

ORDERS: dict[str, list[str]] = {
    "latest, then the newest": ["latest", "2.0", "1.10", "1.9", "1.2"],
    "the more exact one first": ["1.27.3", "1.27.2", "1.27", "1.26", "1"],
    "with a v": ["v2.0.0", "v1.30.1", "v1.4.0"],
    "variants behind the plain tag": ["1.27", "1.27-alpine", "1.27-alpine3.20", "1.27-alpine3.19", "1.27-bookworm"],
    "what was before behind what came": ["2.0", "2.0-alpine", "2.0-rc2", "2.0-rc1", "2.0-beta1", "2.0-alpha2", "1.9"],
    "names behind versions": ["latest", "3", "alpine", "mainline", "stable"],
    "numbers in names": ["focal-20240530", "focal-20240427", "jammy-20240530"],
    "what machines write at the end": [
        "1", "edge", "3f1c9a7be01", "git-3f1c9a7be0", "sha-0a1b2c3d", "sha256-" + "a" * 64 + ".sig",
    ],
    "dates": ["20240530", "20240427"],
    "no numbers that are too long": ["1", "9" * 40],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_tags_are_sorted_as_people_look_for_them(name: str) -> None:
    expected = ORDERS[name]
    shuffled = [*expected, *expected]
    random.Random(1).shuffle(shuffled)
    assert sort_tags(shuffled) == expected


def test_long_lists_are_sorted_like_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = [f"1.{number}" for number in range(50)]
    expected = sort_tags(tags)
    monkeypatch.setattr(tag_order, "SORTED_AT_ONCE", 7)
    assert sort_tags(tags) == expected == tags[::-1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["1.27", "1.27-alpine", "Alpine"]),
        ("1.27", ["1.27", "1.27-alpine"]),
        ("alpine 27", ["1.27-alpine"]),
        ("Alp", ["1.27-alpine", "Alpine"]),
        ("x", []),
    ],
)
def test_a_filter_leaves_what_has_every_word(text: str, found: list[str]) -> None:
    assert filter_tags(["1.27", "1.27-alpine", "Alpine"], text) == found
