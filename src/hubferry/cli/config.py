"""`hubferry config`: look at the configuration without starting anything."""

import getpass
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from hubferry.cli.load import config_option, fail, load_or_misuse, load_settings
from hubferry.core.exposure import describe_exposure, problem_of_openness
from hubferry.core.human import human_size
from hubferry.core.settings import CacheSettings, Settings, describe
from hubferry.core.values import ConfigError
from hubferry.core.workable import find_unworkable


@click.group()
def config() -> None:
    """Check or show the configuration.

    \b
      hubferry config check hubferry.toml
      hubferry config show --config hubferry.toml
    """


@config.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--config", "-c", "config_file", type=click.Path(path_type=Path), help="The same as FILE.")
def check(file: Path | None, config_file: Path | None) -> None:
    """Say whether FILE can be served, or what is wrong with it.

    The environment counts too. Without FILE it is what `hubferry serve` serves without one: the defaults. Also says
    what a stranger could do with such a gateway.
    """
    if file is not None and config_file is not None:
        raise click.UsageError("FILE and --config are the same: give one of them")
    file = file or config_file
    try:
        settings = load_settings(file)
        check_files(settings)
    except ConfigError as error:
        raise fail(error, file) from None
    problems = [*find_unworkable(settings), *_folder_problems(settings.cache), *openness_problems(settings)]
    for one in problems:
        fail(one, file).show()
    if problems:
        raise SystemExit(1)
    click.echo(f"{file or 'defaults and environment'}: fine")
    for sentence in describe_exposure(settings):
        click.echo(f"  {sentence}")


def check_files(settings: Settings) -> None:
    """Raise ConfigError for the first file that the settings name and that cannot be used."""
    from hubferry.server.compose import build_upstreams, check_issuers, load_tls  # noqa: PLC0415 - `config show` needs no server
    from hubferry.server.user_files import read_directory  # noqa: PLC0415

    build_upstreams(settings)
    check_issuers(settings)
    load_tls(settings)
    if settings.access.login == "users":
        read_directory(settings.access)


def openness_problems(settings: Settings) -> Iterator[ConfigError]:
    """Return what keeps a server from starting because it would be open to strangers."""
    if problem := problem_of_openness(settings):
        yield ConfigError("server.listen", problem)


def _folder_problems(cache: CacheSettings) -> Iterator[ConfigError]:
    """Return what keeps the cache folder from keeping anything, as far as it can be seen now."""
    if not cache.enabled:
        return
    folder = Path(cache.dir).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        yield ConfigError("cache.dir", f"{there} is a file: name a folder")
    elif not os.access(there, os.W_OK | os.X_OK):
        user = getpass.getuser()
        yield ConfigError(
            "cache.dir", f"{there} cannot be written by {user}: check as the user that the gateway runs as"
        )
    elif (total := shutil.disk_usage(there).total) < cache.min_free.size_bytes:
        problem = f"{cache.min_free} are to stay free, and the disk of {there} has {human_size(total)}: nothing is kept"
        yield ConfigError("cache.min_free", f"{problem}; lower it")


@config.command()
@config_option
def show(config_file: Path | None) -> None:
    """Print every setting and its meaning; secrets are masked."""
    for section, options in describe(load_or_misuse(config_file)):
        click.echo(f"[{section}]")
        for key, value, help_line in options:
            click.echo(f"{key} = {value}  # {help_line}")
        click.echo()
