"""Find what cannot work in a configuration, although each of its values is one that a setting may have.

Pure. `hubferry config check` says it; a server starts nevertheless, because the rest of it works. Not here: values that
are wrong by themselves (values.py), what contradicts each other (settings_sources.py).
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from hubferry.core.masking import mask_userinfo
from hubferry.core.redirect import literal_problem
from hubferry.core.reference import names_registry
from hubferry.core.settings import Settings, UpstreamSettings
from hubferry.core.values import ConfigError, toml_key


def find_unworkable(settings: Settings) -> Iterator[ConfigError]:
    """Return what cannot work, with the setting and the remedy."""
    for name, upstream in settings.upstreams.items():
        key = f"upstreams.{toml_key(name)}"
        if not (names_registry(name) or upstream.hosts or upstream.default):
            problem = "no request can mean it, because its name has no dot: set hosts, or name it reg.example.com"
            yield ConfigError(key, problem)
        yield from _bases(key, upstream)


def _bases(key: str, upstream: UpstreamSettings) -> Iterator[ConfigError]:
    for option, urls in (("url", (upstream.url,)), ("mirrors", upstream.mirrors)):
        for url in urls:
            parts = urlsplit(url)
            if not upstream.allow_private_addresses and (problem := literal_problem(parts.hostname or "")):
                remedy = "it is never connected to unless allow_private_addresses = true"
                yield ConfigError(f"{key}.{option}", f"{mask_userinfo(url)} is {problem}: {remedy}")
            first = parts.path.strip("/").partition("/")[0]
            if names_registry(first):
                problem = f"a registry is asked at /{first}/v2/, where a gateway answers 404"
                remedy = f"write the registry's own address, or a host name that the gateway has for {first}"
                yield ConfigError(f"{key}.{option}", f"{mask_userinfo(url)}: {problem}: {remedy}")
