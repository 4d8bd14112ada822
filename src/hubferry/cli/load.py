"""Settings from their sources: a TOML file, the environment, the command line; the only place that reads them."""

import contextlib
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from hubferry.core.no_proxy import no_proxy_of
from hubferry.core.settings import BUILT_IN, SECTIONS, AccessSettings, Settings
from hubferry.core.settings_sources import SettingsSource, from_environment, resolve
from hubferry.core.values import ConfigError, parse_duration, parse_size

T = TypeVar("T")
MAX_BYTES = 2**18
MAX_LINE_BYTES = 4096  # tomllib takes time by the square of how long a dotted key is
MAX_DEPTH = 16


config_option = click.option(
    "--config", "-c", "config_file", type=click.Path(path_type=Path), help="TOML file that the server uses."
)


class ParsedText(click.ParamType[T]):
    """Reads a value of the command line as the settings read it."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> T:
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = ParsedText("duration", parse_duration)
SIZE = ParsedText("size", parse_size)


class Misuse(click.ClickException):
    """The command or the configuration is wrong: nothing was begun, and the exit status is 2."""

    exit_code = 2


@contextlib.contextmanager
def as_misuse() -> Iterator[None]:
    """Let a ValueError, such as a ConfigError, end the command as Misuse with its text."""
    try:
        yield
    except ValueError as error:
        raise Misuse(str(error)) from None


def load_or_misuse(config: Path | None) -> Settings:
    """Return the settings of a command that is about them. Raises Misuse."""
    try:
        return load_settings(config)
    except ConfigError as error:
        raise Misuse(fail(error, config).message) from None


def user_settings(config: Path | None) -> AccessSettings:
    """Return the settings of `[access]` for a command about users. Raises Misuse when the gateway has none."""
    return check_users(load_or_misuse(config))


def check_users(settings: Settings) -> AccessSettings:
    """Return the settings of `[access]`. Raises Misuse when the gateway has no users of its own."""
    access = settings.access
    if access.login != "users":
        raise Misuse('the gateway has no users of its own: set login = "users" and users_file in [access]')
    return access


def load_settings(config: Path | None, overrides: Iterable[tuple[str, object]] = ()) -> Settings:
    """Resolve defaults, file, environment and command line. `overrides` are (dotted key, value). Raises ConfigError."""
    layers = []
    names = list(BUILT_IN)
    if config is not None:
        tables = read_toml(config)
        layers.append(SettingsSource(str(config), tables))
        upstreams = tables.get("upstreams")
        names += list(upstreams) if isinstance(upstreams, dict) else []
    layers.append(from_environment(os.environ, names))
    command_line: dict[str, dict[str, object]] = {}
    for key, value in overrides:
        section, _, name = key.partition(".")
        command_line.setdefault(section, {})[name] = value
    layers.append(SettingsSource("command line", command_line))
    _refuse_worker_settings(layers)
    return replace(resolve(layers), no_proxy=no_proxy_of(os.environ))


def _refuse_worker_settings(layers: Iterable[SettingsSource]) -> None:
    """Raises ConfigError for a setting that would do nothing here."""
    for layer in layers:
        for section, cls in SECTIONS.items():
            table = layer.tables.get(section)
            for one in fields(cls):
                if one.metadata.get("only_worker") and isinstance(table, dict) and one.name in table:
                    problem = "it has a meaning on Cloudflare Workers only: remove it"
                    raise ConfigError(f"{section}.{one.name}", problem, layer.source)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError naming the file, and the line of a mistake."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            problem = f"is larger than {MAX_BYTES} bytes, and no configuration is: check the path given with --config"
            raise ConfigError(str(path), problem)
        for number, line in enumerate(content.splitlines(), start=1):
            if len(line) > MAX_LINE_BYTES:
                problem = f"line {number} is longer than {MAX_LINE_BYTES} bytes: write a long list in several lines"
                raise ConfigError(str(path), problem)
        tables = tomllib.loads(content.decode())
        _check_depth(tables)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror}): check the path given with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not valid TOML: {error}") from None
    except RecursionError:
        problem = f"nests tables or lists more than {MAX_DEPTH} deep, and no setting does: remove what is not its own"
        raise ConfigError(str(path), problem) from None
    return tables


def _check_depth(tables: Any, depth: int = 0) -> None:
    """Raises RecursionError for what is nested deeper than MAX_DEPTH."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(tables, dict | list):
        for value in tables.values() if isinstance(tables, dict) else tables:
            _check_depth(value, depth + 1)


def fail(error: ConfigError, config: Path | None) -> click.ClickException:
    """A configuration mistake as the one line that the user sees, naming the file; exit status 1."""
    where = "" if error.source or config is None or error.key == str(config) else f"{config}: "
    return click.ClickException(where + " ".join(str(error).split()))
