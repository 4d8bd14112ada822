"""The command line: one module per command."""

import os

import click

from hubferry import __version__
from hubferry.cli.access import access
from hubferry.cli.cache import cache
from hubferry.cli.commands import Commands
from hubferry.cli.config import config
from hubferry.cli.doctor import doctor
from hubferry.cli.export import export
from hubferry.cli.inspect import inspect
from hubferry.cli.rehearse import rehearse
from hubferry.cli.search import search
from hubferry.cli.serve import serve
from hubferry.cli.setup import setup
from hubferry.cli.tags import tags
from hubferry.cli.token import token
from hubferry.cli.user import user
from hubferry.cli.warm import warm
from hubferry.store.private import UMASK


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hubferry")
def main() -> None:
    """A gateway that makes `docker pull` work where public registries are blocked, slow or rationed."""
    os.umask(UMASK)


for command in (
    serve,
    config,
    setup,
    doctor,
    search,
    tags,
    inspect,
    warm,
    rehearse,
    export,
    cache,
    access,
    user,
    token,
):
    main.add_command(command)
