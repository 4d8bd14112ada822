"""The matrix as it is printed: a line for each client, way and who pulled before, a column for each condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.matrix.cells import CONDITIONS, EXPLAINED

if TYPE_CHECKING:
    from tests.matrix.cells import Cell

__all__ = ["Table"]

_EXPLAINED_MARKS = {sentence: f"({number})" for number, sentence in enumerate(EXPLAINED.values(), 1)}


class Table:
    """What became of the cells of this run; a cell that was not part of it is a dot."""

    def __init__(self) -> None:
        self._problems: dict[Cell, str | None] = {}
        self._explanations: dict[Cell, str] = {}

    def note(self, cell: Cell, problem: str | None, explanation: str | None) -> None:
        """`problem` is why it does not work, None if it does; `explanation` why it cannot."""
        self._problems[cell] = problem
        if explanation:
            self._explanations[cell] = explanation

    def lines(self) -> list[str]:
        """The table, then the sentences that explain, then what failed without explanation; empty without cells."""
        if not self._problems:
            return []
        rows = list(dict.fromkeys((cell.row.name, cell.warming) for cell in self._problems))
        marks = {(cell.row.name, cell.warming, cell.condition): self._mark(cell) for cell in self._problems}
        shown = [["client, way", "pulled before by", *CONDITIONS]]
        shown += [[name, who, *(marks.get((name, who, what), ".") for what in CONDITIONS)] for name, who in rows]
        widths = [max(len(line[column]) for line in shown) for column in range(len(shown[0]))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in shown
        ]
        lines += [f"{mark} {sentence}" for sentence, mark in _EXPLAINED_MARKS.items()]
        failed = [cell for cell, problem in self._problems.items() if problem and cell not in self._explanations]
        works = sum(problem is None for problem in self._problems.values())
        lines.append(
            f"{works} cells work, {len(self._problems) - works - len(failed)} are explained, {len(failed)} fail"
        )
        return lines + [f"FAILS {cell}: {self._problems[cell]}" for cell in failed]

    def _mark(self, cell: Cell) -> str:
        if self._problems[cell] is None:
            return "ok"
        explanation = self._explanations.get(cell)
        return _EXPLAINED_MARKS[explanation] if explanation else "FAILS"
