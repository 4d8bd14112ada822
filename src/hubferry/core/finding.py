"""A finding: what one check saw, how bad it is, and what to do about it. Pure."""

from dataclasses import dataclass
from typing import Literal

Mark = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of the check `name`: a mark, a sentence, and the remedy (empty when there is nothing to do)."""

    name: str
    mark: Mark
    text: str
    remedy: str = ""
