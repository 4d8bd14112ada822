"""Runs `hubferry doctor` in this process, where names and the environment can be made up, and reads what it found."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from hubferry.cli import main
from tests.support.gateway import upstream
from tests.support.toml import format_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

__all__ = ["Report", "examine", "fake_names", "server_config"]


@dataclass(frozen=True)
class Report:
    """The exit status, and the findings by their names."""

    exit_code: int
    checks: dict[str, dict[str, str]]

    def mark(self, name: str) -> str:
        return self.checks[name]["mark"]

    def text(self, name: str) -> str:
        """The sentence and the remedy."""
        return f"{self.checks[name]['text']} -> {self.checks[name]['remedy']}"

    @property
    def marks(self) -> set[str]:
        return {one["mark"] for one in self.checks.values()}

    def bad(self) -> list[str]:
        """The names of what failed or is a warning."""
        return [name for name, one in self.checks.items() if one["mark"] in ("failed", "warning")]


def examine(*arguments: object, env: Mapping[str, str] | None = None) -> Report:
    """`hubferry doctor --json ARGUMENTS`."""
    done = CliRunner(env=env).invoke(main, ["doctor", "--json", *map(str, arguments)], catch_exceptions=False)
    assert done.stdout, done.output
    said = json.loads(done.stdout)
    checks = {one["name"]: one for one in said["checks"]}
    assert len(checks) == len(said["checks"]), "two checks of one name"
    marks = [one["mark"] for one in said["checks"]]
    assert (said["failed"], said["warnings"]) == (marks.count("failed"), marks.count("warning"))
    assert done.exit_code == int("failed" in marks)
    return Report(done.exit_code, checks)


def server_config(folder: Path, url: str, **settings: Any) -> Path:
    """A configuration with Docker Hub alone, which is at `url`, and a cache folder with room."""
    table = upstream(url, default=True, library=True, **settings)
    file = folder / "hubferry.toml"
    data = folder / "data"
    data.mkdir(exist_ok=True)
    cache = {"dir": str(data), "min_free": "1MiB"}
    file.write_text(format_toml({"cache": cache, "upstreams": {"only": True, "docker.io": table}}))
    return file


def fake_names(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, str]) -> None:
    """Have this process resolve these names to these addresses; the others as before."""
    real = socket.getaddrinfo

    def fake(host: Any, port: Any, *arguments: Any, **more: Any) -> Any:
        return real(names.get(host, host), port, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", fake)
