"""What the plain-HTTP upstream was asked for: its access log, read back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["UpstreamLog"]

SETTLED_S = 0.2  # nginx writes a line when the answer has left


@dataclass(frozen=True)
class UpstreamLog:
    """The log of contestants.blob_server."""

    path: Path

    def fetches(self, url_path: str) -> int:
        """How many answers with bytes of that path were sent so far, whole or in part."""
        time.sleep(SETTLED_S)
        return sum(
            1
            for method, path, _, sent in (line.rsplit(" ", 3) for line in self._lines())
            if (method, path) == ("GET", url_path) and int(sent)
        )

    def _lines(self) -> list[str]:
        return self.path.read_text().splitlines()
