"""What commands print: tables and marked lines in colours for people, JSON documents for scripts.

Colours and columns that fit the width are Rich's, on a terminal. Elsewhere a table is plain lines, one for each row and
never cut, so that `grep` and `awk` work on it. `NO_COLOR` and `TERM=dumb` are obeyed.

Exit statuses of all commands: 0 everything is as asked for; 1 something is not, and the output says what; 2 the command
or the configuration is wrong, and nothing was done; 130 and 143 after Ctrl-C and SIGTERM.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hubferry.core.finding import Mark

if TYPE_CHECKING:
    from rich.console import Console

COLOURS: dict[Mark, str] = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "bright_black"}
MARK_WIDTH = max(map(len, COLOURS))


def console(*, err: bool = False) -> "Console":
    """Return a Rich console on standard output, or on standard error. It prints text as it is, without markup."""
    from rich.console import Console  # noqa: PLC0415 - commands that print no table start without it

    out = sys.stderr if err else sys.stdout
    return Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=not out.isatty())


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), wrap: Sequence[str] = ()
) -> None:
    """Print rows below their headings; the columns whose heading is in `right` are aligned to the right.

    Where a terminal is too narrow, the cells of the columns in `wrap` get several lines; of the first one without any.
    """
    if not sys.stdout.isatty():
        _print_plain(head, rows, right)
        return
    from rich import box  # noqa: PLC0415 - as in `console`
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, title in enumerate(head):
        may_wrap = title in wrap if wrap else number == 0
        table.add_column(title, justify="right" if title in right else "left", overflow="fold", no_wrap=not may_wrap)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def print_marked(mark: Mark, text: str, remedy: str = "") -> None:
    """Print a line that begins with its mark in colour, and the remedy in a line below it."""
    click.echo(f"{click.style(mark.ljust(MARK_WIDTH), fg=COLOURS[mark])}  {text}")
    if remedy:
        click.echo(f"{'':{MARK_WIDTH}}  -> {remedy}")


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print a line for each fact: its name, and what it is."""
    for name, value in facts:
        click.echo(f"{name:<12} {value}")


def print_json(document: object) -> None:
    """Print one JSON document in one line, as scripts read it."""
    click.echo(json.dumps(document, ensure_ascii=False))


def _print_plain(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if title in right else cell.ljust(width)
            for title, cell, width in zip(head, row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def human_moment(moment: float) -> str:
    """Format a time, in seconds since 1970, to the minute in UTC: `2024-05-01 12:00 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
