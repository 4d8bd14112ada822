"""Where scripts/clients put today's clients, and which versions they are.

Reads scripts/clients.list. Not here: building them (scripts/clients), running them (todays_*.py).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["BuiltClient", "built_clients", "find_built"]

_ROOT = Path(__file__).parents[2]
_LIST = _ROOT / "scripts" / "clients.list"


@dataclass(frozen=True)
class BuiltClient:
    """One line of the list: a program, the Go package it is built from, and the exact version of that package.

    `source` is a main program of our own over that package, as a path in the tree, or None.
    """

    program: str
    package: str
    version: str
    source: Path | None

    @property
    def path(self) -> Path:
        """Where scripts/clients puts the program, whether or not it is there."""
        key = f"{self.program}@{self.version}"
        if self.source:
            key += "-" + hashlib.sha256(self.source.read_bytes()).hexdigest()[:12]
        return _folder() / key / self.program


def built_clients() -> dict[str, BuiltClient]:
    """The list, by program."""
    found = {}
    for line in _LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            program, package, version, *how = line.split()
            source = _ROOT / how[0] if how and how[0].endswith(".go") else None
            found[program] = BuiltClient(program, package, version, source)
    return found


def find_built(program: str) -> Path:
    """The path of a built program; missing, it fails the test under CI and skips it elsewhere."""
    path = built_clients()[program].path
    if not path.is_file():
        message = f"{program} is not built: run scripts/clients"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def _folder() -> Path:
    if own := os.environ.get("HUBFERRY_CLIENTS"):
        return Path(own)
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "hubferry" / "clients"
