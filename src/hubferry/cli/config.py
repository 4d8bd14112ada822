"""`hubferry config`: look at the configuration without starting anything."""

from pathlib import Path

import click

from hubferry.cli.load import fail, load_settings
from hubferry.core.exposure import describe_exposure, problem_of_openness
from hubferry.core.settings import describe
from hubferry.core.values import ConfigError


@click.group()
def config() -> None:
    """Check or show the configuration."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Say whether FILE (with the environment) can be served, or what is wrong with it.

    Also says what a stranger could do with such a gateway.
    """
    from hubferry.server.compose import build_upstreams, check_issuers, load_tls  # noqa: PLC0415 - `config show` needs no server
    from hubferry.server.user_files import read_directory  # noqa: PLC0415

    try:
        settings = load_settings(file)
        build_upstreams(settings)
        check_issuers(settings)
        load_tls(settings)
        if settings.access.login == "users":
            read_directory(settings.access)
    except ConfigError as error:
        raise fail(error, file) from None
    if problem := problem_of_openness(settings):
        raise fail(ConfigError("server.listen", problem), file)
    click.echo(f"{file}: fine")
    for sentence in describe_exposure(settings):
        click.echo(f"  {sentence}")


@config.command()
@click.option("--config", "-c", "config_file", type=click.Path(path_type=Path), help="TOML file to read first.")
def show(config_file: Path | None) -> None:
    """Print every setting as it resolves, with its meaning; secrets are masked."""
    try:
        settings = load_settings(config_file)
    except ConfigError as error:
        raise fail(error, config_file) from None
    for section, options in describe(settings):
        click.echo(f"[{section}]")
        for key, value, help_line in options:
            click.echo(f"{key} = {value}  # {help_line}")
        click.echo()
