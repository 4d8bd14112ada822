"""Read Settings from a Worker's variables and secrets: the server's names, without options that mean nothing here.

An option that has no effect on a Worker is refused. Otherwise the operator would believe that it has one.
"""

from collections.abc import Mapping

from hubferry.core.settings import BUILT_IN, Settings
from hubferry.core.settings_sources import PREFIX, from_environment, resolve
from hubferry.core.users import NO_PASSWORD, parse_users
from hubferry.core.values import ConfigError, Size, toml_key

# section -> keys that mean something in a Worker
MEANT: Mapping[str, frozenset[str]] = {
    "server": frozenset({"public_url", "cors_origins", "log_level"}),
    "access": frozenset(
        {"login", "token_key", "networks", "deny_networks", "deny", "rules", "allow", "users", "secrets", "groups"}
    ),
    "limits": frozenset(),  # isolates share no counts; Cloudflare has rate limits of its own
    "cache": frozenset({"enabled", "tag_ttl", "tag_ttls", "max_copied"}),
    "audit": frozenset(),  # there are no files
    "pages": frozenset(),  # nobody adds up what isolates do
    "warm": frozenset(),  # nothing runs between requests
    "upstreams": frozenset(
        {
            "url", "default", "hosts", "library", "mirrors", "username", "password", "allow_private_addresses",
            "realm_hosts", "search_url", "response_timeout",
        }
    ),
}  # fmt: skip


SOURCE = "variables"
# the limit for all blobs that are copied at a time: the part that a slow client has not read yet waits in the 128 MB of
# memory that an isolate has
MAX_COPIED_BYTES = 64 * 2**20


class Unsuitable(ConfigError):
    """A problem whose text contains no value of a variable, so that it may be shown to everybody."""


def read_settings(bindings: Mapping[str, object]) -> Settings:
    """Return the Settings from the variables and secrets named `HUBFERRY_...`. Raises ConfigError."""
    variables: dict[str, str] = {}
    for name, value in bindings.items():
        if name.startswith(PREFIX):
            if not isinstance(value, str):
                raise Unsuitable(name, "its value is no text: write it in quotation marks", SOURCE)
            variables[name] = value
    layer = from_environment(variables, list(BUILT_IN), SOURCE)
    settings = resolve([layer])  # comes first, because it finds names that are no settings at all
    for section, table in layer.tables.items():
        tables = {section: table}
        if section == "upstreams":
            tables = {f"upstreams.{toml_key(name)}": values for name, values in table.items() if name != "only"}
        for name, values in tables.items():
            for key in values:
                if key not in MEANT[section]:
                    raise Unsuitable(f"{name}.{key}", "it has no meaning on Cloudflare Workers: remove it", SOURCE)
    if settings.cache.max_copied.size_bytes > MAX_COPIED_BYTES:
        most = Size(MAX_COPIED_BYTES)
        raise Unsuitable("cache.max_copied", f"{most} is the most, because a copy may wait in memory", SOURCE)
    if any(hashed != NO_PASSWORD for hashed in parse_users(settings.access.users).values()):
        problem = f"a Worker checks no passwords: write NAME:{NO_PASSWORD} for users who have access tokens"
        raise Unsuitable("access.users", problem, SOURCE)
    if not settings.access.token_key:
        raise Unsuitable(
            "HUBFERRY_ACCESS__TOKEN_KEY",
            "the secret that seals tokens is missing: make one with `openssl rand -base64 32` "
            "and set it with `uv run pywrangler secret put HUBFERRY_ACCESS__TOKEN_KEY`",
            SOURCE,
        )
    return settings
