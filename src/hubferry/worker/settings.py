"""Settings out of a Worker's variables and secrets: the server's names, less what means nothing here.

What has no effect is refused: an option that does nothing would be taken for one that does.
"""

from collections.abc import Mapping

from hubferry.core.layers import PREFIX, from_environment, resolve
from hubferry.core.settings import BUILT_IN, Settings
from hubferry.core.values import ConfigError, toml_key

# section -> keys that mean something in a Worker
MEANT: Mapping[str, frozenset[str]] = {
    "server": frozenset({"public_url", "cors_origins", "log_level"}),
    "access": frozenset({"login", "token_key"}),
    "cache": frozenset({"enabled", "tag_ttl", "tag_ttls"}),
    "warm": frozenset(),  # nothing runs between requests
    "upstreams": frozenset(
        {
            "url", "default", "hosts", "library", "mirrors", "username", "password", "allow_private_addresses",
            "realm_hosts", "search_url", "response_timeout",
        }
    ),
}  # fmt: skip


SOURCE = "variables"


class Unsuitable(ConfigError):
    """A problem whose words hold no value of a variable, so that everybody may read them."""


def read_settings(bindings: Mapping[str, object]) -> Settings:
    """Settings of the variables and secrets named `HUBFERRY_...`. Raises ConfigError."""
    variables: dict[str, str] = {}
    for name, value in bindings.items():
        if name.startswith(PREFIX):
            if not isinstance(value, str):
                raise Unsuitable(name, "its value is no text: write it in quotation marks", SOURCE)
            variables[name] = value
    layer = from_environment(variables, list(BUILT_IN), SOURCE)
    settings = resolve([layer])  # first: it knows what is no setting at all
    for section, table in layer.tables.items():
        tables = {section: table}
        if section == "upstreams":
            tables = {f"upstreams.{toml_key(name)}": values for name, values in table.items() if name != "only"}
        for name, values in tables.items():
            for key in values:
                if key not in MEANT[section]:
                    raise Unsuitable(f"{name}.{key}", "it has no meaning on Cloudflare Workers: remove it", SOURCE)
    if not settings.access.token_key:
        raise Unsuitable(
            "HUBFERRY_ACCESS__TOKEN_KEY",
            "the secret that seals tokens is missing: make one with `openssl rand -base64 32` "
            "and set it with `uv run pywrangler secret put HUBFERRY_ACCESS__TOKEN_KEY`",
            SOURCE,
        )
    return settings
