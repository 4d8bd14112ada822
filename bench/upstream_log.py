"""What an upstream was asked for: its access log, read back."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RegistryLog", "UpstreamLog"]

SETTLED_S = 0.2  # a line is written when the answer has left
_REQUEST = re.compile(r'"(?:GET|HEAD) (/v2/\S*) HTTP')


@dataclass(frozen=True)
class UpstreamLog:
    """The log of contestants.blob_server."""

    path: Path

    def sent_bytes(self, url_path: str) -> int:
        """How many bytes of that path were sent so far. Requests say little: a fill may use several for one blob."""
        time.sleep(SETTLED_S)
        return sum(
            int(sent)
            for method, path, _, sent in (line.rsplit(" ", 3) for line in self._lines())
            if (method, path) == ("GET", url_path)
        )

    def _lines(self) -> list[str]:
        return self.path.read_text().splitlines()


@dataclass(frozen=True)
class RegistryLog:
    """The log of contestants.registry_server with `logs`."""

    path: Path

    def requests(self) -> int:
        """How many pulling requests were answered so far; an answer that was cut counts."""
        time.sleep(SETTLED_S)
        return len(_REQUEST.findall(self.path.read_text(errors="replace")))
