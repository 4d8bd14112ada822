"""Commands on the server's own configuration, in front of a stand-in hub."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from hubferry.cli import main
from tests.support.gateway import HUBFERRY, upstream
from tests.support.hub import Hub
from tests.support.toml import format_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Workshop:
    """A hub, and a configuration whose only upstream it is."""

    hub: Hub
    folder: Path

    @property
    def config_file(self) -> Path:
        return self.folder / "hubferry.toml"

    def configure(self, **tables: Any) -> None:
        """Write the configuration; `tables` are added to it."""
        hub = upstream(self.hub.url, search_url=f"{self.hub.url}/v1/search")
        settings: dict[str, Any] = {
            "cache": {"dir": str(self.folder / "data")},
            "upstreams": {"only": True, "docker.io": hub},
        }
        for name, table in tables.items():
            settings[name] = {**settings.get(name, {}), **table}
        self.config_file.write_text(format_toml(settings))

    def run(self, *words: str | Path, stdin: str = "") -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(main, [*map(str, words), "--config", str(self.config_file)], input=stdin)

    def run_process(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a user does."""
        line = [str(HUBFERRY), *words, "--config", str(self.config_file)]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        return subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)

    def json(self, *words: str | Path) -> dict[str, Any]:
        """Run a command with --json, and return what it printed."""
        result = self.run(*words, "--json")
        assert result.stdout, result.output
        said: dict[str, Any] = json.loads(result.stdout)
        return said


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    with Hub() as hub:
        workshop = Workshop(hub, tmp_path)
        workshop.configure()
        yield workshop
