"""What one part of the bench was asked for, and its folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MIB", "Run", "touch_memory"]

MIB = 1024 * 1024


@dataclass(frozen=True)
class Run:
    """Sizes and rounds; every part starts its own contestants in a sub-folder of `folder`."""

    folder: Path
    rounds: int
    quick: bool

    @property
    def blob_bytes(self) -> int:
        return 64 * MIB if self.quick else 512 * MIB

    def state(self, name: str) -> Path:
        """A new, empty folder for one contestant."""
        number = sum(1 for _ in self.folder.glob(f"{name}-*"))
        state = self.folder / f"{name}-{number}"
        state.mkdir()
        return state


def touch_memory(folder: Path, size: int) -> None:
    """Write and remove a file of that size: a virtual machine's fresh memory is slow the first time."""
    path = folder / "warm"
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(block)
    path.unlink()
