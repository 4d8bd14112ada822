"""Settings with which a command asks a running gateway, as a client of its registry, instead of the upstreams.

There is one upstream, the gateway, and no cache: what it has is passed on. Names stay those of the registries.
"""

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from hubferry.core.image import ImageName
from hubferry.core.settings import Settings
from hubferry.core.settings_sources import SettingsSource, resolve


def settings_at(url: str, ask_password: Callable[[], str]) -> Settings:
    """Return the settings for a gateway at this URL, which may have a user name and a password.

    A password that is not there is asked for: other users of the machine can see what is written in a command.
    Raises ValueError, such as ConfigError, for a URL that is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("--gateway is no URL: write https://hub.example.com")
    host = parts.netloc.rpartition("@")[2].lower()
    where = {"url": f"{parts.scheme}://{host}{parts.path}", "allow_private_addresses": True, "default": True}
    login = {}
    if parts.username:
        password = unquote(parts.password) if parts.password else ask_password()
        login = {"username": unquote(parts.username), "password": password}
    tables = {"upstreams": {"only": True, host: {**where, **login}}, "cache": {"enabled": False}}
    return resolve([SettingsSource("--gateway", tables)])


def image_at(settings: Settings, image: ImageName) -> ImageName:
    """Return what an image is called at the gateway of `settings_at`: its registry host is in front of the name."""
    return ImageName(settings.default_upstream, f"{image.upstream}/{image.repository}", image.reference)
