"""One frozen Settings, every option with its help line, and how layers of configuration become one.

Pure: takes parsed tables, reads no file and no environment. Defaults < TOML < environment < command line; an
unknown key is an error that names the key and the nearest known one. The dataclasses below are the only place
where an option, its type, default and help are written down: `hubferry config show` and docs/configuration.md
are made from them. The contract of names is in docs/configuration.md.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from ipaddress import ip_network
from types import MappingProxyType
from typing import Any, get_args, get_origin
from urllib.parse import urlsplit

from hubferry.core import reference


class ConfigError(ValueError):
    """A setting that cannot be used: one line naming source, key and remedy."""

    def __init__(self, key: str, problem: str, source: str = "") -> None:
        self.key = key
        self.problem = problem
        self.source = source
        super().__init__(f"{source}: {key}: {problem}" if source else f"{key}: {problem}")


@dataclass(frozen=True)
class Size:
    """A number of bytes, written `20GiB`."""

    size_bytes: int

    def __str__(self) -> str:
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            if self.size_bytes and self.size_bytes % UNITS_BYTES[unit] == 0:
                return f"{self.size_bytes // UNITS_BYTES[unit]}{unit}"
        return f"{self.size_bytes}B"


@dataclass(frozen=True)
class Duration:
    """A span of time, written `60s`, `1.5h`, `7d`."""

    seconds: float

    def __str__(self) -> str:
        for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
            if self.seconds and self.seconds % length == 0:
                return f"{int(self.seconds // length)}{unit}"
        return f"{self.seconds:.6f}".rstrip("0").rstrip(".") + "s"


UNITS_BYTES = {
    "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> Size:
    """`20GiB`, `1.5GB`, `512`. Raises ValueError with the remedy."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)", text.strip())
    units = {unit.lower(): size for unit, size in UNITS_BYTES.items()} | {"": 1}
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{text!r} is no size: write a number and B, KiB, MiB, GiB or TiB, such as 20GiB")
    return Size(int(float(match[1]) * units[match[2].lower()]))


def parse_duration(text: str) -> Duration:
    """`500ms`, `60s`, `5m`, `1.5h`, `7d`. Raises ValueError with the remedy."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: write a number and ms, s, m, h or d, such as 60s or 7d")
    return Duration(round(float(match[1]) * UNITS_S[match[2]], 6))


def option(default: Any, help_line: str, **metadata: Any) -> Any:
    """A field with its help line. `choices` lists the allowed values, `check` names a rule of CHECKS."""
    if isinstance(default, list):
        raise TypeError("defaults are immutable: use a tuple")
    return field(default=default, metadata={"help": help_line, **metadata})


@dataclass(frozen=True)
class ServerSettings:
    """[server]"""

    listen: tuple[str, ...] = option(
        ("127.0.0.1:5000",), "address and port, or a list of them: 127.0.0.1:5000, [::]:5000", check="listen"
    )
    public_url: str = option(
        "",
        "what realms and pages name, e.g. https://hub.example.com; empty: what the client said",
        check="url",
    )
    tls_cert: str = option("", "PEM file with the certificate chain; empty: plain HTTP")
    tls_key: str = option("", "PEM file with the private key of tls_cert")
    workers: int = option(1, "worker processes", check="positive")
    trusted_proxies: tuple[str, ...] = option(
        (),
        "networks whose X-Forwarded-For, -Proto and -Host are believed, e.g. 127.0.0.1/32",
        check="networks",
    )
    cors_origins: tuple[str, ...] = option((), "origins that browsers may call from, e.g. https://ui.example.com")
    shutdown_grace: Duration = option(
        Duration(30.0), "how long running pulls may go on after SIGTERM before they are cut"
    )
    log_format: str = option(
        "auto",
        "auto: readable on a terminal, JSON otherwise; text; json",
        choices=("auto", "text", "json"),
    )


@dataclass(frozen=True)
class UpstreamSettings:
    """[upstreams."NAME"]: NAME is what people write in front of the image."""

    url: str = option("", "base URL of the registry; empty: https://NAME", check="url")
    default: bool = option(False, "answers requests that name no registry; exactly one upstream has it")
    hosts: tuple[str, ...] = option((), "host names whose requests go to this upstream", check="hosts")
    library: bool = option(False, "complete single names: busybox -> library/busybox")
    mirrors: tuple[str, ...] = option((), "base URLs tried in order when url fails", check="urls")
    username: str = option("", "the gateway's own account there, used for anonymous clients")
    password_file: str = option("", "file with the password or access token of username")
    proxy: str = option("", "reach it through http://[user:password@]host:port or socks5://...", check="proxy")
    ca_file: str = option("", "PEM file with further certificate authorities to trust")
    allow_private_addresses: bool = option(
        False, "allow the upstream, its realm and its redirects on private or loopback addresses"
    )
    realm_hosts: tuple[str, ...] = option(
        (), "further hosts that its token realm may be on, beside its own registrable domain", check="realm_hosts"
    )
    search_url: str = option("", "where `docker search` is answered from; empty: it is not", check="url")
    connect_timeout: Duration = option(Duration(5.0), "for DNS, TCP and TLS together", check="span")
    response_timeout: Duration = option(Duration(20.0), "for the first byte of an answer's header", check="span")
    read_timeout: Duration = option(Duration(30.0), "between two pieces of a body", check="span")


@dataclass(frozen=True)
class AccessSettings:
    """[access]"""

    login: str = option(
        "upstream",
        "upstream: clients log in with their account of the upstream, or pull anonymously; open: no login asked",
        choices=("upstream", "open"),
    )
    token_key_file: str = option(
        "", "file with the key that seals tokens, made on first start; empty: token.key in cache.dir"
    )


@dataclass(frozen=True)
class CacheSettings:
    """[cache]"""

    enabled: bool = option(True, "false: stream through, keep nothing")
    dir: str = option("./data", "folder for what hubferry keeps")
    max_size: Size = option(Size(20 * 2**30), "hard cap of what is kept")
    min_free: Size = option(Size(2**30), "what is always left free on the disk")
    tag_ttl: Duration = option(Duration(60.0), "how long a tag is answered without asking the upstream")
    stale_if_error: Duration = option(Duration(7 * 86400.0), "how long a tag is answered when the upstream cannot")


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured, resolved and checked."""

    server: ServerSettings
    upstreams: Mapping[str, UpstreamSettings]
    access: AccessSettings
    cache: CacheSettings

    @property
    def default_upstream(self) -> str:
        """The name of the upstream that answers requests without a registry."""
        return next(name for name, upstream in self.upstreams.items() if upstream.default)


SECTIONS: Mapping[str, type] = MappingProxyType(
    {"server": ServerSettings, "access": AccessSettings, "cache": CacheSettings}
)

BUILT_IN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "docker.io": {
            "url": "https://registry-1.docker.io",
            "default": True,
            "library": True,
            "search_url": "https://index.docker.io/v1/search",
        },
        "ghcr.io": {},
        "quay.io": {},
        "gcr.io": {},
        "registry.k8s.io": {},
        "mcr.microsoft.com": {},
        "nvcr.io": {},
        "public.ecr.aws": {},
        # linuxserver.io's name for ghcr.io/linuxserver: it challenges with GitHub's realm
        "lscr.io": {"realm_hosts": ["ghcr.io"]},
    }
)


@dataclass(frozen=True)
class Layer:
    """One source of settings: its name for messages (a file, `environment`, `command line`) and its tables."""

    source: str
    tables: Mapping[str, Any]


def resolve(layers: list[Layer]) -> Settings:
    """Settings out of layers, later ones before earlier ones.

    Raises ConfigError naming the source, the key and what to do.
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
                raise ConfigError(section, _unknown(section, [*SECTIONS, "upstreams"]), layer.source)
    built = {name: _build(UpstreamSettings, values) for name, values in upstreams.items()}
    built = {name: _with_url(name, upstream) for name, upstream in built.items()}
    settings = Settings(
        server=_build(ServerSettings, merged["server"]),
        upstreams=MappingProxyType(built),
        access=_build(AccessSettings, merged["access"]),
        cache=_build(CacheSettings, merged["cache"]),
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
        # what is named so far starts from its built-in values, the others go
        for name in [name for name in upstreams if name in BUILT_IN and name not in named]:
            del upstreams[name]
    chosen = None
    for name, values in table.items():
        key = f"upstreams.{toml_key(name)}"
        if not reference.is_host(name) or reference.normal_host(name) != name:
            raise ConfigError(key, "expected a table named by a registry host such as docker.io", source)
        known = upstreams.setdefault(name, {})
        checked = _checked(UpstreamSettings, key, values, source, origins)
        if "url" in checked and checked["url"] != known.get("url"):
            known.pop("search_url", None)  # what is searched elsewhere is not Docker Hub's to know
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


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
    return f"unknown key; {hint}"


def toml_key(name: str) -> str:
    """A name as a TOML key: bare where TOML allows it, else quoted."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def convert(raw: Any, f: Field[Any]) -> Any:
    """A value of TOML, environment or command line as the option's type. Raises ValueError with the remedy."""
    value = _typed(raw, f.type)
    choices = f.metadata.get("choices")
    if choices and value not in choices:
        near = f": {value!r} is not" if isinstance(value, str) else ""
        raise ValueError(f"expected one of {', '.join(choices)}{near}")
    check = f.metadata.get("check")
    if check and value != f.default:
        CHECKS[check](value)
    return value


def _typed(raw: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        return _strings(raw, get_args(kind)[0])
    if kind is Size or kind is Duration:
        if isinstance(raw, kind):
            return raw
        if not isinstance(raw, str):
            raise ValueError('expected a text with a unit in quotes, such as "60s" or "20GiB"')
        return parse_size(raw) if kind is Size else parse_duration(raw)
    if kind is bool:
        if isinstance(raw, str) and raw.lower() in TRUTH:
            return TRUTH[raw.lower()]
        if not isinstance(raw, bool):
            raise ValueError("expected true or false")
        return raw
    if kind is int:
        if isinstance(raw, str) and re.fullmatch(r"-?\d{1,9}", raw):
            return int(raw)
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise ValueError("expected a whole number")
        return raw
    if not isinstance(raw, str):
        raise ValueError("expected a text in quotes")
    return raw


TRUTH = {
    "true": True,
    "false": False,
    "1": True,
    "0": False,
    "yes": True,
    "no": False,
    "on": True,
    "off": False,
}


def _strings(raw: Any, kind: Any) -> tuple[Any, ...]:
    if isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    if not isinstance(raw, list | tuple):
        raise ValueError("expected a text or a list of texts")
    return tuple(_typed(item, kind) for item in raw)


def _check_positive(value: int) -> None:
    if value < 1:
        raise ValueError("expected a number from 1 on")


def parse_listen(text: str) -> tuple[str, int]:
    """`127.0.0.1:5000`, `[::]:5000`, `:5000` -> host and port. Raises ValueError with the remedy."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65535 or (":" in host and host[0] != "["):
        raise ValueError(f"{text!r} is no address: write HOST:PORT, such as 127.0.0.1:5000 or [::]:5000")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - `:5000` asks for every address


def _check_listen(values: tuple[str, ...]) -> None:
    if not values:
        raise ValueError("at least one address is needed, such as 127.0.0.1:5000")
    for value in values:
        parse_listen(value)


def _check_url(value: str) -> None:
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "https") and reference.is_host(parts.netloc) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment:
        shown = mask_userinfo(value)
        raise ValueError(f"{shown!r} is no base URL: write http(s)://HOST[:PORT][/PATH], without credentials")


def _check_urls(values: tuple[str, ...]) -> None:
    for value in values:
        _check_url(value)


def _check_proxy(value: str) -> None:
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "socks5", "socks5h") and parts.hostname and parts.port
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("expected http://[user:password@]HOST:PORT or socks5://[user:password@]HOST:PORT")


def _check_hosts(values: tuple[str, ...]) -> None:
    for value in values:
        if not reference.is_host(value):
            raise ValueError(f"{value!r} is no host name: write names such as hub.example.com, without https://")


def _check_realm_hosts(values: tuple[str, ...]) -> None:
    for value in values:
        if not reference.is_host(value) or reference.host_without_port(value).lower() != value:
            raise ValueError(f"{value!r} is no host name: write names in lower case without a port, auth.example.com")


def _check_span(value: Duration) -> None:
    if value.seconds <= 0:
        raise ValueError("expected more than nothing, such as 5s")


def _check_networks(values: tuple[str, ...]) -> None:
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            raise ValueError(f"{value!r} is no network: write 10.0.0.0/8 or 127.0.0.1/32") from None


CHECKS: Mapping[str, Callable[[Any], None]] = {
    "positive": _check_positive,
    "listen": _check_listen,
    "url": _check_url,
    "urls": _check_urls,
    "proxy": _check_proxy,
    "hosts": _check_hosts,
    "networks": _check_networks,
    "realm_hosts": _check_realm_hosts,
    "span": _check_span,
}


def _check_whole(settings: Settings, origins: Mapping[str, str]) -> None:
    """What no single key can tell. Raises ConfigError."""
    server = settings.server
    if bool(server.tls_cert) != bool(server.tls_key):
        key = "server.tls_key" if server.tls_cert else "server.tls_cert"
        raise ConfigError(
            key,
            "tls_cert and tls_key belong together: set both or neither",
            origins.get("server.tls_cert") or origins.get("server.tls_key", ""),
        )
    defaults = [name for name, upstream in settings.upstreams.items() if upstream.default]
    if len(defaults) != 1:
        said = f"it stands at {', '.join(defaults)}" if defaults else "no upstream has it"
        raise ConfigError("upstreams", f"exactly one upstream needs default = true; {said}", origins.get("", ""))
    owners: dict[str, str] = {}
    for name, upstream in settings.upstreams.items():
        key = f"upstreams.{toml_key(name)}"
        if bool(upstream.username) != bool(upstream.password_file):
            missing = "password_file" if upstream.username else "username"
            raise ConfigError(
                f"{key}.{missing}",
                "username and password_file belong together: set both or neither",
                origins.get(key, ""),
            )
        for host in upstream.hosts:
            if owners.setdefault(host.lower(), name) != name:
                raise ConfigError(
                    f"{key}.hosts",
                    f"{host} is listed for {owners[host.lower()]} as well",
                    origins.get(f"{key}.hosts", ""),
                )


PREFIX = "HUBFERRY_"


def from_environment(environ: Mapping[str, str], upstream_names: list[str]) -> Layer:
    """The layer of `HUBFERRY_SECTION__KEY` variables; `__` divides levels.

    In the name of an upstream `.`, `-` and `:` may be written `_`: HUBFERRY_UPSTREAMS__DOCKER_IO__USERNAME.
    Raises ConfigError for a variable that names no option; variables named `HUBFERRY_...` without `__` are
    not settings, and errors as well.
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
                raise ConfigError(variable, problem, "environment")
            tables.setdefault("upstreams", {}).setdefault(name, {})[path[2]] = value
        elif path == ["upstreams", "only"]:
            tables.setdefault("upstreams", {})["only"] = TRUTH.get(value.lower(), value)
        elif len(path) == 2 and path[0] in SECTIONS:
            tables.setdefault(path[0], {})[path[1]] = value
        else:
            near = get_close_matches(variable, _variables(), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "settings are HUBFERRY_SECTION__KEY"
            raise ConfigError(variable, f"unknown variable; {hint}", "environment")
    return Layer("environment", tables)


def _variables() -> list[str]:
    return [f"{PREFIX}{section}__{f.name}".upper() for section, cls in SECTIONS.items() for f in fields(cls)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def describe(settings: Settings) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Every section of resolved settings: its TOML name and (key, value as TOML, help line); secrets masked."""
    for section in SECTIONS:
        yield (
            section,
            [_shown(f, getattr(getattr(settings, section), f.name)) for f in fields(SECTIONS[section])],
        )
    for name, upstream in settings.upstreams.items():
        shown = [_shown(f, getattr(upstream, f.name)) for f in fields(UpstreamSettings)]
        yield f"upstreams.{toml_key(name)}", shown


def _shown(f: Field[Any], value: Any) -> tuple[str, str, str]:
    if f.name == "proxy" and value:
        value = mask_userinfo(value)
    return f.name, format_toml(value), f.metadata["help"]


def mask_userinfo(url: str) -> str:
    """`http://user:secret@host` -> `http://********@host`."""
    return re.sub(r"//.*@", "//********@", url)


def format_toml(value: Any) -> str:
    """A resolved value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(format_toml(item) for item in value) + "]"
    if isinstance(value, int):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
