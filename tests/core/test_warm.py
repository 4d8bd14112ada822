"""Case tables of core.warm: files of images, and the pauses of the schedule."""

import pytest

from hubferry.core.settings import Settings
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.core.values import ConfigError
from hubferry.core.warm import decide_pause_s, parse_list, parse_tagged

LISTED = """
# the base images
nginx:1.27
  ghcr.io/owner/app   # ours

redis\r
"""
DEFAULTS = resolve([])
DIGEST = f"sha256:{'a' * 64}"


def test_a_file_of_images() -> None:
    assert parse_list(LISTED) == [(3, "nginx:1.27"), (4, "ghcr.io/owner/app"), (6, "redis")]
    assert parse_list("") == parse_list("# nothing\n") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1", "docker.io/library/nginx:1"),
        (f"quay.io/a/b@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
    ],
)
def test_without_a_tag_it_is_latest(text: str, expected: str) -> None:
    assert str(parse_tagged(text, DEFAULTS.upstreams, DEFAULTS.default_upstream)) == expected


@pytest.mark.parametrize(
    ("every_s", "has_failed", "expected"),
    [
        (21600, False, 21600),
        (21600, True, 2160),
        (600, True, 60),
        (300, True, 60),
        (30, True, 30),
        (30, False, 30),
    ],
)
def test_what_failed_is_tried_again_sooner(every_s: float, has_failed: bool, expected: float) -> None:
    assert decide_pause_s(every_s, has_failed=has_failed) == expected


def configured(**tables: dict[str, object]) -> Settings:
    return resolve([SettingsSource("hubferry.toml", tables)])


def test_the_section() -> None:
    assert DEFAULTS.warm.images == DEFAULTS.warm.platforms == ()
    settings = configured(warm={"images": ["nginx", "ghcr.io/a/b:1"], "platforms": "linux/amd64", "every": "1d"})
    assert settings.warm.images == ("nginx", "ghcr.io/a/b:1")
    assert (settings.warm.platforms, settings.warm.every.seconds) == (("linux/amd64",), 86400)


MISTAKES: dict[str, tuple[dict[str, dict[str, object]], str]] = {
    "an unknown upstream": (
        {"warm": {"images": ["nginx", "reg.example.com/x"]}},
        "hubferry.toml: warm.images: 'reg.example.com/x' names reg.example.com, which is none of the upstreams",
    ),
    "no image": ({"warm": {"images": ["UPPER"]}}, "warm.images: 'UPPER' is no image"),
    "no platform": ({"warm": {"platforms": ["amd64"]}}, "warm.platforms: 'amd64' is no platform"),
    "never": ({"warm": {"every": "0s"}}, "warm.every: expected more than nothing"),
    "without a cache": (
        {"warm": {"images": ["nginx"]}, "cache": {"enabled": False}},
        "warm.images: nothing is kept with cache.enabled = false",
    ),
}


@pytest.mark.parametrize(("tables", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_can_never_be_warm_stops_the_start(tables: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured(**tables)
    assert message in str(raised.value)
