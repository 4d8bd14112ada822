"""What all commands have in common: their order in --help, no colours where none are wanted, the end after Ctrl-C."""

import os
import signal
import sys
from typing import Any

import click


class Commands(click.Group):
    """The commands in the order in which they were added, not in that of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the name in click
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Ctrl-C ends it with status 130, also where it asks something."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as error:
            if isinstance(error, click.Abort) and not isinstance(error.__context__, KeyboardInterrupt):
                raise
            if sys.stderr.isatty():
                click.echo(err=True)  # behind ^C
            raise SystemExit(128 + signal.SIGINT) from None
