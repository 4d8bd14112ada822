"""A table of results: rows of cells, notes, and the goals with whether they were reached. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Goal", "Table", "format_table"]


@dataclass(frozen=True)
class Goal:
    """What is to be reached, what was measured, and whether that is enough."""

    wanted: str
    found: str
    reached: bool


@dataclass(frozen=True)
class Table:
    """One part's results; `samples` are the raw figures behind the cells, for the file only."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    samples: Mapping[str, object] = field(default_factory=dict)


def format_table(table: Table) -> str:
    widths = [max(len(row[index]) for row in (table.columns, *table.rows)) for index in range(len(table.columns))]
    lines = [table.title, _format_row(table.columns, widths), "  ".join("-" * width for width in widths)]
    lines += [_format_row(row, widths) for row in table.rows]
    lines += [f"{'reached' if goal.reached else 'MISSED '}  {goal.wanted}: {goal.found}" for goal in table.goals]
    lines += [f"note: {note}" for note in table.notes]
    return "\n".join(lines)


def _format_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()
