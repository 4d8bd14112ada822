"""`hubferry setup`: make a client on this machine, or in a root folder, use a gateway; and take it back.

Exit status: 0 it is as asked for; 1 something could not be taken back, or not all could be written, and the output says
what to do; 2 the command or a file is wrong, and nothing was done. Not here: what a client has to be told
(core/client_files), merging and files (setup).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubferry.cli.load import Misuse
from hubferry.cli.output import print_json, print_marked
from hubferry.core.client_files import (
    CLIENTS,
    RESTARTS,
    SOURCES,
    Plan,
    PlanRequest,
    parse_gateway,
    parse_registries,
    parse_version,
    plan_client,
)
from hubferry.core.client_files.shown import format_diff, mask_line
from hubferry.core.finding import Mark

if TYPE_CHECKING:
    from hubferry.setup.steps import Change, Setup

PROGRAMS = {"docker": "dockerd", "containerd": "containerd"}
VERSION_TIMEOUT_S = 10
MAX_SHOWN_LINES = 400


@dataclass(frozen=True)
class Wanted:
    """What the command line says: of which client, what, and how it is to be done."""

    client: str
    gateway: str | None
    registries: tuple[str, ...]
    version: str | None
    is_undo: bool
    is_dry: bool
    is_agreed: bool
    as_json: bool
    root: str

    def place_of(self, path: str) -> str:
        """Return a path as a person on this machine finds it."""
        return self.root + path


@click.command()
@click.argument("client", type=click.Choice(CLIENTS), metavar="CLIENT")
@click.option("--gateway", metavar="URL", help="The gateway, as this machine reaches it; a secret in its path is kept.")
@click.option(
    "--registry",
    "registries",
    multiple=True,
    metavar="HOST",
    help="A registry to pull through the gateway; may be repeated. Without: the built-in ones. '*': every registry.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Show the difference and change nothing.")
@click.option("--undo", "is_undo", is_flag=True, help="Take back what setup did for the client.")
@click.option("--yes", "-y", "is_agreed", is_flag=True, help="Do not ask.")
@click.option(
    "--rootfs", type=click.Path(path_type=Path, file_okay=False, exists=True), default="/", help="Root of the files."
)
@click.option("--client-version", "version", metavar="X.Y", help="Version of the client; without, it is asked.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def setup(rootfs: Path, **options: Any) -> None:
    """Make docker, containerd, podman and others use a gateway.

    CLIENT is docker, containerd, podman, crio, k3s or buildkit. Its files are changed, and nothing in them is lost.
    Shows the difference and asks. The former text of FILE is kept in FILE.before-hubferry; --undo puts it back. Doing
    it again changes nothing; with another URL it replaces the gateway.

    \b
      sudo hubferry setup docker --gateway https://hub.example.com
      sudo hubferry setup containerd --gateway https://hub.example.com --registry ghcr.io --registry quay.io
      sudo hubferry setup podman --gateway https://hub.example.com --dry-run
      sudo hubferry setup docker --undo
    """
    from hubferry.core.client_files.entries import CannotEditError  # noqa: PLC0415 - other commands start without these
    from hubferry.setup.machine import Machine  # noqa: PLC0415
    from hubferry.setup.steps import Setup  # noqa: PLC0415

    root = str(rootfs.absolute()).rstrip("/")
    wanted = Wanted(root=root, **options)
    if wanted.is_undo == (wanted.gateway is not None):
        raise click.UsageError("say which gateway (--gateway https://hub.example.com), or --undo")
    if not (wanted.is_dry or wanted.is_agreed or sys.stdin.isatty()):
        raise Misuse("nobody can be asked here: look with --dry-run first, then repeat with --yes")
    machine = Machine(rootfs)
    try:
        work = Setup(machine, wanted.client)
        plan = None if wanted.is_undo else make_plan(wanted, machine.find, work, is_here=machine.is_this)
        changes = work.changes(plan)
        _carry_out(wanted, work, plan, changes)
    except CannotEditError as error:
        raise Misuse(mask_line(str(error))) from None
    except OSError as error:
        problem = f"{error.filename or rootfs}: {error.strerror}"
        if machine.has_changed:
            problem += ": not everything was written; make that possible, then give the command again, or take it back "
            raise click.ClickException(f"{problem}with --undo") from None
        hint = "run it with sudo" if os.geteuid() != 0 else "check the path and the file system"
        raise Misuse(f"{problem}: {hint}") from None


def make_plan(wanted: Wanted, find: Callable[[tuple[str, ...]], list[str]], work: "Setup", *, is_here: bool) -> Plan:
    """Return the plan, from the command line and the files that are there. Raises Misuse, CannotEditError, OSError."""
    from hubferry.core.client_files.entries import CannotEditError  # noqa: PLC0415

    try:
        gateway, registries = parse_gateway(wanted.gateway or ""), parse_registries(wanted.registries)
        version = parse_version(wanted.version or (ask_version(wanted.client) if is_here else ""))
        if wanted.version and version is None:
            raise ValueError(f"{wanted.version!r} is no version: write it as 29.1")
        texts = work.texts(find(SOURCES[wanted.client]))
        return plan_client(wanted.client, PlanRequest(gateway, registries, version, texts))
    except CannotEditError:
        raise
    except ValueError as error:
        raise Misuse(str(error)) from None


def ask_version(client: str) -> str:
    """Return what the client's program prints with --version; an empty text if there is none, or it says nothing."""
    folders = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    program = shutil.which(PROGRAMS.get(client, ""), path=folders)
    if program is None:
        return ""
    try:
        finished = subprocess.run(  # noqa: S603 - a fixed name, found in PATH
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return finished.stdout[:1000]


def _carry_out(wanted: Wanted, work: "Setup", plan: Plan | None, changes: "list[Change]") -> None:
    needed = [change for change in changes if change.is_needed]
    if not wanted.as_json:
        _show(wanted, needed)
    if needed and not wanted.is_dry and not wanted.is_agreed:
        files = "1 file" if len(needed) == 1 else f"{len(needed)} files"
        click.confirm(f"Change {files}?", abort=True, err=wanted.as_json)
    if not wanted.is_dry:
        work.write(changes)
    problems = [change for change in changes if plan is None and change.base.problem]
    if wanted.as_json:
        print_json(_document(wanted, plan, changes))
    else:
        _report(wanted, plan, changes)
    if problems:
        raise SystemExit(1)


def _show(wanted: Wanted, needed: "Sequence[Change]") -> None:
    for change in needed:
        lines = _diff_of(wanted, change)
        for line in lines[:MAX_SHOWN_LINES]:
            click.secho(line, **_style_of(line))
        if len(lines) > MAX_SHOWN_LINES:
            click.echo(f"... and {len(lines) - MAX_SHOWN_LINES} lines more")


def _style_of(line: str) -> dict[str, Any]:
    if line.startswith(("---", "+++")):
        return {"bold": True}
    return {"fg": {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])}


def _diff_of(wanted: Wanted, change: "Change") -> list[str]:
    before, after = change.seen, change.after
    return format_diff(wanted.place_of(change.path), before.text if before else None, after.text if after else None)


def _report(wanted: Wanted, plan: Plan | None, changes: "list[Change]") -> None:
    for change in changes:
        mark, text, remedy = _told(wanted, change)
        print_marked(mark, text, remedy)
    if not changes:
        print_marked("ok", f"nothing to undo: hubferry setup {wanted.client} was not run here, or it was undone")
    for note in () if plan is None else plan.notes:
        click.echo(f"note: {note}")
    if wanted.is_dry:
        return
    restart = _restart(wanted.client, changes)
    if restart:
        click.echo(f"now run{' on that machine' if wanted.root else ''}: {restart}")
    for check in () if plan is None else plan.checks:
        click.echo(f"then check: {check}")
    if plan is not None:
        where = f" --rootfs {wanted.root}" if wanted.root else ""
        click.echo(f"to take it back: hubferry setup {wanted.client} --undo{where}")


def _told(wanted: Wanted, change: "Change") -> tuple[Mark, str, str]:
    """Return the line about a file: its mark, what was or would be done, and what else to do."""
    from hubferry.setup.record import BACKUP  # noqa: PLC0415

    path, base = wanted.place_of(change.path), change.base
    if base.problem:
        return "failed", f"{path}: {base.problem}", f"take the gateway out by hand; as it was: {path}{BACKUP}"
    if change.done is None and base.is_changed:
        if change.seen is None:
            return "warning", f"{path} is gone", f"as it was, if it was there: {path}{BACKUP}"
        return "ok", f"{path}: somebody changed it since, so only what hubferry added is taken out", ""
    would = "would be " if wanted.is_dry else ""
    if not change.is_needed:
        return "ok", f"{path} is as it should be", ""
    if change.after is None:
        return "ok", f"{path} {would}removed", ""
    if change.seen is None:
        return "ok", f"{path} {would}made", ""
    if change.done is None:
        return "ok", f"{path} {would}put back as it was", ""
    if change.done.mode is None:
        return "ok", f"{path} {would}changed", ""
    return "ok", f"{path} {would}changed, as it was: {path}{BACKUP}", ""


def _restart(client: str, changes: "list[Change]") -> str:
    """Return the command that makes the client read its files again; an empty text if it does so by itself."""
    return RESTARTS[client] if any(change.is_needed and change.format != "hosts.toml" for change in changes) else ""


def _document(wanted: Wanted, plan: Plan | None, changes: "list[Change]") -> dict[str, object]:
    return {
        "client": wanted.client,
        "dry_run": wanted.is_dry,
        "changed": any(change.is_needed for change in changes),
        "files": [
            {
                "path": wanted.place_of(change.path),
                "changed": change.is_needed,
                "exists": change.after is not None,
                "problem": change.base.problem or None,
                "diff": _diff_of(wanted, change),
            }
            for change in changes
        ],
        "restart": _restart(wanted.client, changes) or None,
        "checks": [] if plan is None else list(plan.checks),
        "notes": [] if plan is None else list(plan.notes),
    }
