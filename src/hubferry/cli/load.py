"""Settings from their sources: a TOML file, the environment, the command line; the only place that reads them."""

import os
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hubferry.core.layers import Layer, from_environment, resolve
from hubferry.core.no_proxy import no_proxy_of
from hubferry.core.settings import BUILT_IN, Settings
from hubferry.core.values import ConfigError


def load_settings(config: Path | None, overrides: Iterable[tuple[str, object]] = ()) -> Settings:
    """Resolve every layer. `overrides` are (dotted key of a section, value). Raises ConfigError."""
    layers = []
    names = list(BUILT_IN)
    if config is not None:
        tables = read_toml(config)
        layers.append(Layer(str(config), tables))
        upstreams = tables.get("upstreams")
        names += list(upstreams) if isinstance(upstreams, dict) else []
    layers.append(from_environment(os.environ, names))
    command_line: dict[str, dict[str, object]] = {}
    for key, value in overrides:
        section, _, name = key.partition(".")
        command_line.setdefault(section, {})[name] = value
    layers.append(Layer("command line", command_line))
    return replace(resolve(layers), no_proxy=no_proxy_of(os.environ))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError naming the file, and the line of a mistake."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror}): check the path given with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not valid TOML: {error}") from None


def fail(error: ConfigError, config: Path | None) -> click.ClickException:
    """A configuration mistake as the one line that the user sees, naming the file; exit status 1."""
    where = "" if error.source or config is None or error.key == str(config) else f"{config}: "
    return click.ClickException(where + " ".join(str(error).split()))
