"""What all commands have in common: help that teaches, the end after Ctrl-C, colours."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

import hubferry
from hubferry.cli import main
from tests.cli.test_output import on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = ["serve", "config", "setup", "doctor"]
NAMED = re.compile(r"(?<=`)hubferry ([a-z]+(?: [a-z]+)?)|hubferry ((?:access|cache|config|token|user) [a-z]+)")


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands())
GROUPS = [path for path, command in ALL.items() if isinstance(command, click.Group)]


def help_of(*path: str) -> str:
    return CliRunner().invoke(main, [*path, "--help"], terminal_width=80).output


def test_what_comes_first_is_listed_first() -> None:
    listed = re.findall(r"^  (\w+) ", help_of().partition("Commands:")[2], re.MULTILINE)
    assert listed[:4] == FIRST
    assert listed == list(main.commands)


@pytest.mark.parametrize("path", [(), *GROUPS], ids=" ".join)
def test_each_command_is_said_in_one_whole_line(path: tuple[str, ...]) -> None:
    lines = help_of(*path).partition("Commands:")[2].strip().splitlines()
    assert [line for line in lines if line.endswith("...") or not re.match(r" *\w+  ", line)] == []


@pytest.mark.parametrize("path", [path for path in ALL if len(path) == 1], ids=" ".join)
def test_help_teaches_with_an_example_that_the_command_understands(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.txt").touch()
    found = re.findall(rf"^    (?:sudo )?hubferry ({path[0]}\b.*)$", help_of(*path), re.MULTILINE)
    assert found, "an example in a block of its own"
    for line in found:
        words = shlex.split(line.partition("   ")[0])
        command: click.Command = main
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        with command.make_context(command.name, words):
            pass  # what it opens is closed


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_options_of_one_meaning_have_one_name(path: tuple[str, ...]) -> None:
    names = {
        "config_file": ["--config", "-c"],
        "as_json": ["--json"],
        "platforms": ["--platform"],
        "registries": ["--registry"],
        "gateway": ["--gateway"],
    }
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Option) and parameter.name in names:
            assert parameter.opts == names[parameter.name]


def test_commands_that_are_named_are_there() -> None:
    """Remedies tell people what to run."""
    named = {
        (file.name, *(first or second).split())
        for file in Path(hubferry.__file__).parent.rglob("*.py")
        for first, second in NAMED.findall(file.read_text())
    }
    assert len(named) > 20
    unknown = [
        (file, *words) for file, *words in named if tuple(words) not in ALL and (words[0],) not in {*ALL} - {*GROUPS}
    ]
    assert unknown == []


def raising(error: BaseException, context: BaseException | None = None) -> click.Group:
    group = type(main)("hubferry")

    @group.command()
    def stop() -> None:
        error.__context__ = context
        raise error

    return group


def test_ctrl_c_ends_every_command_with_130() -> None:
    assert CliRunner().invoke(raising(KeyboardInterrupt()), ["stop"]).exit_code == 130
    assert CliRunner().invoke(raising(click.Abort(), KeyboardInterrupt()), ["stop"]).exit_code == 130
    assert CliRunner().invoke(raising(click.Abort()), ["stop"]).exit_code == 1, "somebody answered no"


@pytest.mark.parametrize(
    ("env", "has_colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_colours_where_they_are_wanted(tmp_path: Path, env: dict[str, str], *, has_colours: bool) -> None:
    words = ["setup", "docker", "--gateway", "https://hub.example.com", "--dry-run", "--rootfs", str(tmp_path)]
    shown = on_terminal(f"from hubferry.cli import main; main({words!r})", env=env)
    assert "docker" in shown
    assert ("\x1b[3" in shown) is has_colours
