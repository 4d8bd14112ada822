"""Writes a run to bench/results/TIME.json (ignored by git)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.facts import Facts
    from bench.table import Table

__all__ = ["save"]

FOLDER = Path(__file__).parent / "results"


def save(facts: Facts, tables: Sequence[Table], *, quick: bool) -> Path:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / (facts["time"][:19].replace(":", "") + ("-quick" if quick else "") + ".json")
    document = {"facts": facts, "tables": [dataclasses.asdict(table) for table in tables]}
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
