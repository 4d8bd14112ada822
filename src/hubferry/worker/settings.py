"""Settings out of a Worker's variables and secrets: the server's names, less what means nothing here.

What has no effect is refused: an option that does nothing would be taken for one that does.
"""

from collections.abc import Mapping

from hubferry.core.layers import PREFIX, from_environment, resolve
from hubferry.core.settings import BUILT_IN, Settings
from hubferry.core.values import ConfigError

# section -> keys that mean something in a Worker
MEANT: Mapping[str, frozenset[str]] = {
    "server": frozenset({"public_url", "cors_origins"}),
    "access": frozenset({"login", "token_key"}),
    "cache": frozenset({"enabled", "tag_ttl", "tag_ttls"}),
    "upstreams": frozenset(
        {
            "url", "default", "hosts", "library", "mirrors", "username", "password", "allow_private_addresses",
            "realm_hosts", "search_url", "response_timeout",
        }
    ),
}  # fmt: skip


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Settings of the variables named `HUBFERRY_...`. Raises ConfigError."""
    variables = {name: value for name, value in variables.items() if name.startswith(PREFIX)}
    layer = from_environment(variables, list(BUILT_IN))
    settings = resolve([layer])
    for section, table in layer.tables.items():
        tables = {section: table}
        if section == "upstreams":
            tables = {f"upstreams.{name}": values for name, values in table.items() if name != "only"}
        for name, values in tables.items():
            for key in values:
                if key not in MEANT[section]:
                    raise ConfigError(
                        f"{name}.{key}", "it has no meaning on Cloudflare Workers: remove it", "variables"
                    )
    settings = resolve([layer])
    if not settings.access.token_key:
        raise ConfigError(
            "HUBFERRY_ACCESS__TOKEN_KEY",
            "the secret that seals tokens is missing: make one with `openssl rand -base64 32` "
            "and set it with `uv run pywrangler secret put HUBFERRY_ACCESS__TOKEN_KEY`",
            "variables",
        )
    return settings
