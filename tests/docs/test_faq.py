"""docs/faq.md: systemd knows its unit, whose server has time to stop; its configuration for Kubernetes starts."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import textwrap
import tomllib
from typing import TYPE_CHECKING

import pytest

from hubferry.cli import main
from hubferry.core.exposure import problem_of_openness
from hubferry.core.settings import ServerSettings
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.core.values import parse_duration
from tests.docs.markdown import example, replaced
from tests.support.gateway import HUBFERRY

if TYPE_CHECKING:
    from pathlib import Path

FAQ = "docs/faq.md"
INSTALLED = "/opt/hubferry/.venv/bin/hubferry"
KILLED_AFTER_S = 5  # server.run: what is left of a worker's shutdown_grace


def unit() -> str:
    return example(FAQ, "ini", "ExecStart")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "hubferry.service"
    file.write_text(replaced(unit(), (INSTALLED, str(HUBFERRY))))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False, timeout=60)
    said = [line for line in done.stderr.splitlines() if str(file) in line]
    assert (done.returncode, said) == (0, [])


def test_the_unit_begins_what_there_is_and_leaves_it_its_time() -> None:
    read = configparser.ConfigParser()
    read.optionxform = str  # type: ignore[method-assign, assignment] # keys of units have capitals
    read.read_string(unit())
    program, command, *options = read["Service"]["ExecStart"].split()
    assert program == INSTALLED
    assert {name for parameter in main.commands[command].params for name in parameter.opts} >= {options[0]}
    grace_s = ServerSettings().shutdown_grace.seconds + KILLED_AFTER_S
    assert parse_duration(read["Service"]["TimeoutStopSec"]).seconds > grace_s


def test_the_configuration_for_kubernetes_starts_and_is_not_open() -> None:
    _, _, after = example(FAQ, "yaml", "ConfigMap").partition("hubferry.toml: |\n")
    body = textwrap.dedent(after.partition("---")[0])
    assert not problem_of_openness(resolve([SettingsSource("ConfigMap", tomllib.loads(body))]))
