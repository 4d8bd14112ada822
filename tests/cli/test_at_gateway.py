"""Settings with which a running gateway is asked instead of the upstreams."""

import pytest

from hubferry.cli.at_gateway import image_at, settings_at
from hubferry.core.image import ImageName


def ask_nobody() -> str:
    raise AssertionError("a password is asked for")


def test_the_gateway_is_the_only_upstream_and_nothing_is_kept() -> None:
    settings = settings_at("https://Hub.example.com:8443/", ask_nobody)
    assert list(settings.upstreams) == [settings.default_upstream] == ["hub.example.com:8443"]
    assert settings.upstreams[settings.default_upstream].url.rstrip("/") == "https://hub.example.com:8443"
    assert not settings.cache.enabled
    assert str(image_at(settings, ImageName("ghcr.io", "o/app", "1"))) == "hub.example.com:8443/ghcr.io/o/app:1"


LOGINS = {
    "both": ("https://alice:p%40ss@hub.example.com", "p@ss"),
    "a name": ("https://alice@hub.example.com", "typed"),
    "an empty password": ("https://alice:@hub.example.com", "typed"),
}


@pytest.mark.parametrize(("url", "password"), LOGINS.values(), ids=LOGINS.keys())
def test_a_login_is_in_the_url_or_asked_for(url: str, password: str) -> None:
    upstream = settings_at(url, lambda: "typed").upstreams["hub.example.com"]
    assert (upstream.username, upstream.password, upstream.url) == ("alice", password, "https://hub.example.com")


@pytest.mark.parametrize("url", ["hub.example.com", "ftp://hub.example.com", "https://", "https://a b/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        settings_at(url, ask_nobody)
