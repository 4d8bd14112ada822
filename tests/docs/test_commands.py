"""docs/commands.md names every command, and what pages propose is understood by the command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from hubferry.cli import main

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROOT = Path(__file__).parents[2]
PAGES = sorted(str(path.relative_to(ROOT)) for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md"))


def names(group: click.Group = main, path: str = "hubferry") -> list[str]:
    found = []
    for name, command in group.commands.items():
        whole = f"{path} {name}"
        found += names(command, whole) if isinstance(command, click.Group) else [whole]
    return found


def proposed(page: str) -> list[str]:
    """Return the lines of a page's examples that run hubferry itself, without what a shell does around them."""
    text = "\n".join(BLOCK.findall((ROOT / page).read_text())).replace("\\\n", " ")
    lines = (re.sub(r"^(sudo (-u \w+ )?)", "", line.strip()) for line in text.splitlines())
    return [re.split(r"[|&>;#]", line)[0] for line in lines if line.startswith("hubferry ")]


@pytest.mark.parametrize("page", ["docs/commands.md", "docs/commands.zh-CN.md"])
def test_every_command_is_in_the_table(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [name for name in names() if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_what_is_proposed_is_understood(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in proposed(page):
        words = shlex.split(line)[1:]
        for name in [word for word in words if "." in word and "/" not in word]:
            (tmp_path / name).touch()  # files that the options of click open
        found: click.Command = main
        while isinstance(found, click.Group) and words and not words[0].startswith("-"):
            found = found.commands[words.pop(0)]
        if not isinstance(found, click.Group):
            with found.make_context(found.name, words):
                pass
