"""`hubferry serve`: run the gateway."""

import gc
from pathlib import Path

import click

from hubferry.cli.load import fail, load_settings
from hubferry.core.values import ConfigError


@click.command()
@click.option(
    "--config",
    "-c",
    "config_file",
    type=click.Path(path_type=Path),
    help="TOML file; without one the defaults serve.",
)
@click.option("--listen", multiple=True, metavar="ADDR", help="HOST:PORT to listen on; replaces server.listen.")
@click.option("--public", is_flag=True, help="Serve everybody, although nothing restricts them: server.public.")
def serve(config_file: Path | None, listen: tuple[str, ...], public: bool) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish running pulls.

    \b
      hubferry serve
      hubferry serve --config hubferry.toml --listen 127.0.0.1:5000
    """
    gc.disable()  # a fifth of the start would be looking for garbage among modules; server.run turns it on again
    from hubferry.server.run import serve as run  # noqa: PLC0415 - other commands start without the server

    overrides: list[tuple[str, object]] = [("server.listen", list(listen))] if listen else []
    overrides += [("server.public", True)] if public else []
    try:
        run(load_settings(config_file, overrides), config_file)
    except ConfigError as error:
        raise fail(error, config_file) from None
