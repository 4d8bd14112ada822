"""Values of settings (sizes, durations, addresses, URLs): parse, check and format them.

Pure. A value that is refused raises ValueError, whose text says what to write instead. No such text repeats a password
or key.
"""

import base64
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass
from ipaddress import ip_network
from typing import Any, Self, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

from hubferry.core import reference
from hubferry.core.masking import shown
from hubferry.core.platforms import parse_platforms
from hubferry.core.proxy import parse_proxy


class ConfigError(ValueError):
    """A setting that cannot be used. The message is one line with the source, the key and the remedy."""

    def __init__(self, key: str, problem: str, source: str = "") -> None:
        self.key = key
        self.problem = problem
        self.source = source
        super().__init__(f"{source}: {key}: {problem}" if source else f"{key}: {problem}")


@dataclass(frozen=True)
class Size:
    """A number of bytes. Its text form is such as `20GiB`, in the largest unit without a fraction."""

    size_bytes: int

    def __str__(self) -> str:
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            if self.size_bytes and self.size_bytes % UNITS_BYTES[unit] == 0:
                return f"{self.size_bytes // UNITS_BYTES[unit]}{unit}"
        return f"{self.size_bytes}B"


@dataclass(frozen=True)
class Duration:
    """A span of time in seconds. Its text form is such as `90s` or `7d`, in the largest unit without a fraction."""

    seconds: float

    def __str__(self) -> str:
        for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
            if self.seconds and self.seconds % length == 0:
                return f"{int(self.seconds // length)}{unit}"
        return f"{self.seconds:.6f}".rstrip("0").rstrip(".") + "s"


class ParsedValue(ABC):
    """A value that has a form of its own, such as a table."""

    @classmethod
    @abstractmethod
    def parse(cls, raw: Any) -> Self:
        """Return the value for what TOML has, or for a text of the environment. Raises ValueError with the remedy."""

    @abstractmethod
    def to_toml(self) -> str:
        """Return the value in one line of TOML."""


T = TypeVar("T")


def parse_tables(
    raw: Any, name: str, most: int, parse: Callable[[Mapping[str, Any]], T], *, things: str = "tables"
) -> tuple[T, ...]:
    """Return what `parse` makes of each table of a TOML array, or of the same as JSON from the environment.

    `name` is that of the setting, such as access.rules, and `things` what its tables are. Raises ValueError with the
    number of a table that is refused.
    """
    if isinstance(raw, str):
        try:
            raw = json.loads(raw or "[]")
        except (ValueError, RecursionError):
            raise ValueError(f"expected a JSON list of {things}") from None
    if not isinstance(raw, list) or not all(isinstance(one, Mapping) for one in raw):
        raise ValueError(f"expected tables such as [[{name}]]")
    if len(raw) > most:
        raise ValueError(f"expected at most {most} {things}")
    rows = []
    for number, table in enumerate(raw, 1):
        try:
            rows.append(parse(table))
        except ValueError as error:
            raise ValueError(f"number {number}: {error}") from None
    return tuple(rows)


@dataclass(frozen=True)
class TagTtls(ParsedValue):
    """The TTLs of tags by image: pairs of a pattern of image names and a duration, in the order they were written."""

    rows: tuple[tuple[str, Duration], ...] = ()

    @classmethod
    def parse(cls, raw: Any) -> "TagTtls":
        """Convert a TOML table, or the text `PATTERN=DURATION, PATTERN=DURATION` from the environment."""
        if isinstance(raw, str):
            parts = [part.partition("=") for part in raw.split(",") if part.strip()]
            if any(not equals for _, equals, _ in parts):
                raise ValueError(
                    f"{shown(raw)} is no table: write PATTERN=DURATION, such as *:latest=30s, divided by commas"
                )
            raw = {pattern.strip(): ttl for pattern, _, ttl in parts}
        if not isinstance(raw, Mapping):
            raise ValueError('expected a table of image patterns and durations, such as "*:latest" = "30s"')
        rows = []
        for pattern, ttl in raw.items():
            _check_pattern(pattern)
            try:
                rows.append((pattern, _typed(ttl, Duration)))
            except ValueError as error:
                raise ValueError(f"{pattern}: {error}") from None
        return cls(tuple(rows))

    def to_toml(self) -> str:
        return "{" + ", ".join(f"{toml_key(pattern)} = {format_toml(ttl)}" for pattern, ttl in self.rows) + "}"


UNITS_BYTES = {
    "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> Size:
    """Parse a size such as `20GiB`, `1.5GB` or `512B`.

    Raises ValueError with the remedy, also for a number without a unit.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)", text.strip())
    if match is not None and not match[2]:
        number = match[1]
        raise ValueError(
            f"{shown(text)} has no unit, and a size needs its unit: write {number}GiB, {number}MiB or {number}B"
        )
    units = {unit.lower(): size for unit, size in UNITS_BYTES.items()}
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{shown(text)} is no size: write a number and B, KiB, MiB, GiB or TiB, such as 20GiB")
    return Size(int(float(match[1]) * units[match[2].lower()]))


def parse_duration(text: str) -> Duration:
    """Parse a duration such as `500ms`, `60s`, `5m`, `1.5h` or `7d`. Raises ValueError with the remedy."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)", text.strip())
    if match is None:
        raise ValueError(f"{shown(text)} is no duration: write a number and ms, s, m, h or d, such as 60s or 7d")
    return Duration(round(float(match[1]) * UNITS_S[match[2]], 6))


def parse_listen(text: str) -> tuple[str, int]:
    """Parse an address such as `127.0.0.1:5000`, `[::]:5000` or `:5000`. Return its host and its port.

    Raises ValueError with the remedy.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65535 or (":" in host and host[0] != "["):
        raise ValueError(f"{shown(text)} is no address: write HOST:PORT, such as 127.0.0.1:5000 or [::]:5000")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - `:5000` asks for every address


TOKEN_KEY_BYTES = 32


def parse_token_key(text: str) -> bytes:
    """Parse the key that seals tokens: 32 bytes in base64url or base64, with or without padding. Raises ValueError."""
    text = text.strip()
    if not re.fullmatch(r"[A-Za-z0-9_+/-]{43}=?", text):
        raise ValueError("expected base64url of 32 bytes; `openssl rand -base64 32 | tr '+/' '-_'` makes one")
    return base64.urlsafe_b64decode(text[:43] + "=")  # accepts both alphabets


def parse_accounts(text: str) -> list[tuple[str, str]]:
    """Parse the lines `user:password` of an accounts file. Empty lines and lines that begin with # are skipped.

    Raises ValueError with the number of the line, but without its content.
    """
    accounts = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        username, colon, password = line.strip().partition(":")
        if not (username and colon and password):
            raise ValueError(f"line {number} is no user:password")
        accounts.append((username, password))
    if not accounts:
        raise ValueError("it holds no user:password")
    return accounts


def toml_key(name: str) -> str:
    """Return a name as a TOML key: without quotes where TOML allows that, else in quotes."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def format_toml(value: Any) -> str:
    """Return the value of a resolved setting in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, ParsedValue):
        return value.to_toml()
    if isinstance(value, tuple):
        return "[" + ", ".join(format_toml(item) for item in value) + "]"
    if isinstance(value, int):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


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


def convert(raw: Any, f: Field[Any]) -> Any:
    """Convert a value from TOML, the environment or the command line to the type of option `f`, and check it.

    Raises ValueError with the remedy.
    """
    value = _typed(raw, f.type)
    if f.metadata["secret"]:
        value = value.strip()
    choices = f.metadata.get("choices")
    if choices and value not in choices:
        near = f": {shown(value)} is not" if isinstance(value, str) else ""
        raise ValueError(f"expected one of {', '.join(choices)}{near}")
    check = f.metadata.get("check")
    if check and value != f.default:
        CHECKS[check](value)
    return value


def _typed(raw: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        return tuple(_typed(item, get_args(kind)[0]) for item in texts(raw))
    if isinstance(kind, type) and issubclass(kind, ParsedValue):
        return raw if isinstance(raw, kind) else kind.parse(raw)
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
        return _whole_number(raw)
    if not isinstance(raw, str):
        raise ValueError("expected a text in quotes")
    return raw


def _whole_number(raw: Any) -> int:
    if isinstance(raw, str) and re.fullmatch(r"-?\d{1,9}", raw):
        return int(raw)
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError("expected a whole number")
    return raw


def texts(raw: Any) -> tuple[Any, ...]:
    """Return the items of a list, or of a text that is divided by commas. Raises ValueError for anything else."""
    if isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    if not isinstance(raw, list | tuple):
        raise ValueError("expected a text or a list of texts")
    return tuple(raw)


_IMAGE_PATTERN = re.compile(
    r"\*\*|(?:[A-Za-z0-9.*-]+(?::\d{1,5})?/)?(?:(?:\*\*|[a-z0-9._*-]+)/)*(?:\*\*|[a-z0-9._*-]+)(?::[A-Za-z0-9_.*-]+)?"
)


def check_image_patterns(values: tuple[str, ...]) -> None:
    """Raise ValueError for what has not the form of a pattern of images, which core/rules.py describes."""
    for value in values:
        parts = re.split("[/:]", value)
        if len(value) > 500 or not _IMAGE_PATTERN.fullmatch(value) or any("**" in one and one != "**" for one in parts):
            raise ValueError(
                f"{shown(value)} is no pattern of images: write UPSTREAM/REPOSITORY or UPSTREAM/REPOSITORY:TAG, with * "
                "for any part of a name and ** for any number of whole parts"
            )


_PATTERN = re.compile(r"(?:[A-Za-z0-9._/:*?-]|\[!?[A-Za-z0-9._-]+\])+")


def _check_pattern(pattern: str) -> None:
    """Raise ValueError for a pattern that can match no image. The names of images are REGISTRY/REPOSITORY:TAG."""
    if not _PATTERN.fullmatch(pattern) or not ("/" in pattern or "*" in pattern):
        raise ValueError(
            f"{shown(pattern)} is no pattern of images: write docker.io/library/*, docker.io/*:1.* or *:latest"
        )


def _check_positive(value: int) -> None:
    if value < 1:
        raise ValueError("expected a number from 1 on")


def _check_count(value: int) -> None:
    if value < 0:
        raise ValueError("expected a number from 0 on")


def _check_listen(values: tuple[str, ...]) -> None:
    if not values:
        raise ValueError("at least one address is needed, such as 127.0.0.1:5000")
    for value in values:
        parse_listen(value)


def check_url(value: str) -> None:
    """Raise ValueError for a text that is no base URL, such as an empty one."""
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "https") and reference.is_host(parts.netloc) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment:
        raise ValueError(f"{shown(value)} is no base URL: write http(s)://HOST[:PORT][/PATH], without credentials")


def _check_urls(values: tuple[str, ...]) -> None:
    for value in values:
        check_url(value)


def _check_proxy(value: str) -> None:
    parse_proxy(value)


def _check_hosts(values: tuple[str, ...]) -> None:
    for value in values:
        if not reference.is_host(value):
            raise ValueError(f"{shown(value)} is no host name: write names such as hub.example.com, without https://")
    names = [value.lower() for value in values]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"{shown(twice)} is there twice: write each name once")


def _check_realm_hosts(values: tuple[str, ...]) -> None:
    for value in values:
        if not reference.is_host(value) or reference.host_without_port(value).lower() != value:
            raise ValueError(
                f"{shown(value)} is no host name: write names in lower case without a port, auth.example.com"
            )


def _check_span(value: Duration) -> None:
    if value.seconds <= 0:
        raise ValueError("expected more than nothing, such as 5s")


def _check_platforms(values: tuple[str, ...]) -> None:
    parse_platforms(values, "")


def _check_token_key(value: str) -> None:
    parse_token_key(value)


def _check_networks(values: tuple[str, ...]) -> None:
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            raise ValueError(f"{shown(value)} is no network: write 10.0.0.0/8 or 127.0.0.1/32") from None


CHECKS: Mapping[str, Callable[[Any], None]] = {
    "image_patterns": check_image_patterns,
    "positive": _check_positive,
    "count": _check_count,
    "listen": _check_listen,
    "url": check_url,
    "urls": _check_urls,
    "proxy": _check_proxy,
    "hosts": _check_hosts,
    "networks": _check_networks,
    "realm_hosts": _check_realm_hosts,
    "span": _check_span,
    "platforms": _check_platforms,
    "token_key": _check_token_key,
}
