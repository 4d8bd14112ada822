"""Combine the sources of settings into one Settings.

Pure: takes parsed tables; does not read files or the environment itself. Later sources override earlier ones: defaults
< TOML < environment < command line. An unknown key is an error that names the key and the most similar known one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from hubferry.core import reference
from hubferry.core.access_values import Groups, Issuers
from hubferry.core.image import parse_image
from hubferry.core.masking import mask_userinfo
from hubferry.core.rules import GATEWAY, AccessPolicy
from hubferry.core.settings import (
    BUILT_IN,
    SECTIONS,
    AccessSettings,
    AuditSettings,
    CacheSettings,
    LimitSettings,
    PagesSettings,
    ServerSettings,
    Settings,
    UpstreamSettings,
    WarmSettings,
)
from hubferry.core.users import parse_secrets, parse_users
from hubferry.core.values import TRUTH, ConfigError, convert, toml_key


@dataclass(frozen=True)
class SettingsSource:
    """One source of settings: its name for messages (a file, `environment`, `command line`) and its tables."""

    source: str
    tables: Mapping[str, Any]


def resolve(layers: list[SettingsSource]) -> Settings:
    """Combine sources into Settings. Later sources override earlier ones, and all of them the built-in values.

    Raises ConfigError with the source, the key and what to do.
    """
    merged: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    upstreams: dict[str, dict[str, Any]] = {name: dict(values) for name, values in BUILT_IN.items()}
    origins: dict[str, str] = {}
    named: set[str] = set()
    for layer in layers:
        if "upstreams" in layer.tables:
            origins[""] = layer.source
        for section, table in layer.tables.items():
            if section == "upstreams":
                named |= set(table) if isinstance(table, Mapping) else set()
                _merge_upstreams(upstreams, table, layer.source, origins, named)
            elif section in SECTIONS:
                merged[section].update(_checked(SECTIONS[section], section, table, layer.source, origins))
            else:
                raise ConfigError(section, _unknown_section(section), layer.source)
    built = {name: _build(UpstreamSettings, values) for name, values in upstreams.items()}
    built = {name: _with_url(name, upstream) for name, upstream in built.items()}
    settings = Settings(
        server=_build(ServerSettings, merged["server"]),
        upstreams=MappingProxyType(built),
        access=_build(AccessSettings, merged["access"]),
        cache=_build(CacheSettings, merged["cache"]),
        warm=_build(WarmSettings, merged["warm"]),
        limits=_build(LimitSettings, merged["limits"]),
        audit=_build(AuditSettings, merged["audit"]),
        pages=_build(PagesSettings, merged["pages"]),
    )
    _check_whole(settings, origins)
    return settings


def _merge_upstreams(
    upstreams: dict[str, dict[str, Any]], table: Any, source: str, origins: dict[str, str], named: set[str]
) -> None:
    if not isinstance(table, Mapping):
        raise ConfigError("upstreams", 'expected tables such as [upstreams."docker.io"]', source)
    table = dict(table)
    only = table.pop("only", False)
    if not isinstance(only, bool):
        raise ConfigError("upstreams.only", "expected true or false", source)
    if only:
        # remove the built-in upstreams that no source has named so far; the named ones keep their built-in values
        for name in [name for name in upstreams if name in BUILT_IN and name not in named]:
            del upstreams[name]
    chosen = None
    for name, values in table.items():
        key = f"upstreams.{toml_key(mask_userinfo(name))}"
        if not reference.is_host(name) or reference.normal_host(name) != name:
            raise ConfigError(key, "expected a table named by a registry host such as docker.io", source)
        if isinstance(values, Mapping) and (whole := _unquoted(name, values)) != name:
            problem = f'the name of an upstream needs quotes, because of its dots: [upstreams."{mask_userinfo(whole)}"]'
            raise ConfigError(key, problem, source)
        known = upstreams.setdefault(name, {})
        checked = _checked(UpstreamSettings, key, values, source, origins)
        if "url" in checked and checked["url"] != known.get("url"):
            known.pop("search_url", None)  # Docker Hub or Quay must not learn what is searched on another registry
        known.update(checked)
        origins[key] = source
        chosen = name if known.get("default") and values.get("default") else chosen
    if chosen:
        for name, values in upstreams.items():
            if name != chosen and not table.get(name, {}).get("default"):
                values["default"] = False


def _checked(cls: type, prefix: str, table: Any, source: str, origins: dict[str, str]) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise ConfigError(prefix, "expected a table", source)
    known = {f.name: f for f in fields(cls)}
    values: dict[str, Any] = {}
    for name, raw in table.items():
        key = f"{prefix}.{name}"
        if name not in known:
            raise ConfigError(key, _unknown(name, list(known)), source)
        try:
            values[name] = convert(raw, known[name])
        except ValueError as error:
            raise ConfigError(key, str(error), source) from None
        origins[key] = source
    return values


def _build(cls: type, values: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in fields(cls)}
    return cls(**{name: convert(value, known[name]) for name, value in values.items()})


def _with_url(name: str, upstream: UpstreamSettings) -> UpstreamSettings:
    if upstream.url:
        return upstream
    values = {f.name: getattr(upstream, f.name) for f in fields(UpstreamSettings)}
    return UpstreamSettings(**{**values, "url": f"https://{name}"})


def _unknown_section(name: str) -> str:
    """Return what is wrong with a name at the top level of a source: usually its table is missing above it."""
    owners = [section for section, cls in SECTIONS.items() if name in {f.name for f in fields(cls)}]
    if owners:
        return f"it belongs to a table: write it below [{'] or ['.join(owners)}]"
    return _unknown(name, [*SECTIONS, "upstreams"])


def _unquoted(name: str, values: Mapping[str, Any]) -> str:
    """Return the name of an upstream that was written without quotes, so that TOML took its dots for tables."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            return _unquoted(f"{name}.{key}", value)
    return name


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
    return f"unknown key; {hint}"


def _check_whole(settings: Settings, origins: Mapping[str, str]) -> None:
    """Check the rules that involve several options at once. Raises ConfigError."""
    server = settings.server
    if bool(server.tls_cert) != bool(server.tls_key):
        key = "server.tls_key" if server.tls_cert else "server.tls_cert"
        raise ConfigError(
            key,
            "tls_cert and tls_key belong together: set both or neither",
            origins.get("server.tls_cert") or origins.get("server.tls_key", ""),
        )
    _check_exclusive("access", settings.access, "token_key", "token_key_file", origins)
    defaults = [name for name, upstream in settings.upstreams.items() if upstream.default]
    if len(defaults) != 1:
        said = f"it stands at {', '.join(defaults)}" if defaults else "no upstream has it"
        raise ConfigError("upstreams", f"exactly one upstream needs default = true; {said}", origins.get("", ""))
    owners: dict[str, str] = {}
    for name, upstream in settings.upstreams.items():
        key = f"upstreams.{toml_key(name)}"
        _check_account(key, upstream, origins)
        for host in upstream.hosts:
            if owners.setdefault(host.lower(), name) != name:
                raise ConfigError(
                    f"{key}.hosts",
                    f"{host} is listed for {owners[host.lower()]} as well",
                    origins.get(f"{key}.hosts", ""),
                )
    for pattern, _ in settings.cache.tag_ttls.rows:
        host, slash, _ = pattern.partition("/")
        if slash and reference.is_host(host) and host not in settings.upstreams:
            near = get_close_matches(host, settings.upstreams, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(settings.upstreams)}"
            problem = f"{pattern}: there is no upstream {host}; {hint}"
            raise ConfigError("cache.tag_ttls", problem, origins.get("cache.tag_ttls", ""))
    _check_users(settings.access, origins)
    policy = _check_access(settings, origins)
    if settings.access.login != "users" and (named := settings.pages.operators.named):
        problem = f'{named[0]} is nobody unless access.login = "users": set it, or name networks'
        raise ConfigError("pages.operators", problem, origins.get("pages.operators", ""))
    _check_warm(settings, policy, origins)


def _check_users(access: AccessSettings, origins: Mapping[str, str]) -> None:
    """Check that what is about users comes with `login = "users"`, and the other way round. Raises ConfigError."""
    _check_exclusive("access", access, "users", "users_file", origins)
    _check_exclusive("access", access, "secrets", "secrets_file", origins)
    if access.login == "users":
        if not any((access.users_file, access.users, access.secrets_file, access.secrets, access.issuers.rows)):
            problem = 'login = "users" needs it: make it with `hubferry user add NAME`, or with `htpasswd -B`'
            raise ConfigError("access.users_file", problem, origins.get("access.login", ""))
        for key, parse in (("users", parse_users), ("secrets", parse_secrets)):
            try:
                if text := getattr(access, key):
                    parse(text)
            except ValueError as error:
                raise ConfigError(f"access.{key}", str(error), origins.get(f"access.{key}", "")) from None
        return
    for name in ("users_file", "users", "secrets_file", "secrets", "groups", "issuers"):
        if getattr(access, name) not in ("", Groups(), Issuers()):
            key = f"access.{name}"
            raise ConfigError(key, 'it has no effect unless access.login = "users": set that', origins.get(key, ""))


def _check_access(settings: Settings, origins: Mapping[str, str]) -> AccessPolicy:
    """Return the rules of `[access]`. Raises ConfigError for a pattern that can match no image."""
    try:
        return AccessPolicy(settings.access, settings.upstreams)
    except ValueError as error:
        setting, _, problem = str(error).partition(": ")
        raise ConfigError(setting, problem, origins.get(setting.partition(",")[0], "")) from None


def _check_warm(settings: Settings, policy: AccessPolicy, origins: Mapping[str, str]) -> None:
    """Check that the images in `warm.images` may be pulled, and that the cache is enabled. Raises ConfigError."""
    source = origins.get("warm.images", "")
    for text in settings.warm.images:
        try:
            image = parse_image(text, settings.upstreams, settings.default_upstream)
        except ValueError as error:
            raise ConfigError("warm.images", str(error), source) from None
        decision = policy.decide(GATEWAY, image.upstream, image.repository, image.reference)
        if not decision.is_allowed:
            raise ConfigError("warm.images", f"{text} may not be pulled ({decision.by}): change one of the two", source)
    if settings.warm.images and not settings.cache.enabled:
        problem = "nothing is kept with cache.enabled = false: enable the cache, or remove the images"
        raise ConfigError("warm.images", problem, source)


def _check_account(key: str, upstream: UpstreamSettings, origins: Mapping[str, str]) -> None:
    """Check that a user name comes with exactly one password, and a password with a user name. Raises ConfigError."""
    _check_exclusive(key, upstream, "password", "password_file", origins)
    given = next((name for name in ("password", "password_file") if getattr(upstream, name)), "")
    if upstream.username and not given:
        problem = "username needs a password: set password_file or password, or drop username"
        raise ConfigError(f"{key}.password_file", problem, origins.get(f"{key}.username", ""))
    if given and not upstream.username:
        problem = f"{given} needs a username: set both or neither"
        raise ConfigError(f"{key}.username", problem, origins.get(f"{key}.{given}", ""))


def _check_exclusive(key: str, values: Any, name: str, other: str, origins: Mapping[str, str]) -> None:
    """Check that at most one of two options for the same thing is set. Raises ConfigError.

    When both are set it is not obvious which of them should count.
    """
    if getattr(values, name) and getattr(values, other):
        problem = f"{other} is set as well ({origins.get(f'{key}.{other}', '')}): set one of the two"
        raise ConfigError(f"{key}.{name}", problem, origins.get(f"{key}.{name}", ""))


PREFIX = "HUBFERRY_"


def from_environment(
    environ: Mapping[str, str], upstream_names: list[str], source: str = "environment"
) -> SettingsSource:
    """Return the settings in variables named `HUBFERRY_SECTION__KEY`; `__` separates the levels.

    In the name of an upstream, `.`, `-` and `:` may be written as `_`: HUBFERRY_UPSTREAMS__DOCKER_IO__USERNAME.
    `upstream_names` are the upstreams that are known so far. Raises ConfigError for a variable that begins with
    `HUBFERRY_` and names no option, also when it has no `__`.
    """
    tables: dict[str, Any] = {}
    plain = {_plain(name): name for name in upstream_names}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX):
            continue
        path = [part.lower() for part in variable.removeprefix(PREFIX).split("__")]
        if path[0] == "upstreams" and len(path) == 3:
            name = plain.get(_plain(path[1]), path[1])
            if name not in upstream_names and not reference.names_registry(name):
                problem = f"{_unknown(path[1], [*plain])}; a new upstream is named by a host such as reg.example.com"
                raise ConfigError(variable, problem, source)
            tables.setdefault("upstreams", {}).setdefault(name, {})[path[2]] = value
        elif path == ["upstreams", "only"]:
            tables.setdefault("upstreams", {})["only"] = TRUTH.get(value.lower(), value)
        elif len(path) == 2 and path[0] in SECTIONS:
            tables.setdefault(path[0], {})[path[1]] = value
        else:
            near = get_close_matches(variable, _variables(), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "settings are HUBFERRY_SECTION__KEY"
            raise ConfigError(variable, f"unknown variable; {hint}", source)
    return SettingsSource(source, tables)


def _variables() -> list[str]:
    return [f"{PREFIX}{section}__{f.name}".upper() for section, cls in SECTIONS.items() for f in fields(cls)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())
