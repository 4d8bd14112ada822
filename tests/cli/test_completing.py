"""The Tab key: what click's completion offers for this command line, asked as a shell asks."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from hubferry.cli import main
from tests.support.gateway import HUBFERRY
from tests.support.images import build_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Workshop


def offered(line: str, last: str = "") -> list[str]:
    """Return what is offered behind these words for a word that begins so."""
    words = ["hubferry", *line.split()]
    env = {
        "_HUBFERRY_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join([*words, last]).strip(),
        "COMP_CWORD": str(len(words)),
    }
    printed = CliRunner().invoke(main, [], prog_name="hubferry", env=env).stdout
    return [one.partition(",")[2] for one in printed.splitlines() if one]


OFFERED = {
    "commands": ("", "c", ["config", "cache"]),
    "commands of a group": ("cache", "", ["info", "ls", "pin", "prune", "rm", "unpin", "verify"]),
    "options": ("setup docker", "--r", ["--registry", "--rootfs"]),
    "clients": ("setup", "c", ["containerd", "crio"]),
    "platforms": ("warm --platform", "linux/arm", ["linux/arm64", "linux/arm/v7", "linux/arm/v6"]),
    "all platforms": ("export --platform", "a", ["all"]),
    "one platform": ("inspect --platform", "a", []),
    "kept images of a configuration that is none": ("cache rm -c none.toml", "n", []),
}


@pytest.mark.parametrize(("line", "last", "expected"), OFFERED.values(), ids=OFFERED.keys())
def test_what_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, last: str, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert offered(line, last) == expected
    assert list(tmp_path.iterdir()) == []


def test_kept_images_are_offered(workshop: Workshop) -> None:
    workshop.hub.add("library/app", "1", build_image("app"))
    assert workshop.run("warm", "app:1").exit_code == 0
    config = f"-c {workshop.config_file}"
    assert offered(f"cache info {config}", "docker.io/l") == ["docker.io/library/app:1"]
    assert offered(f"cache rm {config}", "ap") == ["app:1"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_what_docs_commands_says() -> None:
    script = (
        'eval "$(_HUBFERRY_COMPLETE=bash_source hubferry)"; '
        'COMP_WORDS=(hubferry reh); COMP_CWORD=1; _hubferry_completion hubferry; echo "${COMPREPLY[@]}"'
    )
    env = {"PATH": f"{HUBFERRY.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["rehearse"], done.stderr
