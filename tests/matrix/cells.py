"""The cells of the matrix: which client pulls again, who pulled before, and what the upstream does meanwhile.

`make test` takes COVERING: every client in each of its ways with every condition of the upstream, and with everybody
who may have pulled before. `make matrix` takes all of them. EXPLAINED are the cells that cannot work, each with the
sentence of docs/clients.md that says so. Pure; not here: the pulls (test_matrix.py), the table (table.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from tests.matrix.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.matrix.rows import Row

__all__ = ["ALL", "CONDITIONS", "COVERING", "EXPLAINED", "Cell", "Condition", "Warming", "explanation"]

# "within the TTL": the upstream is there and the tag is believed, so it must not be asked at all. In the last two the
# upstream never had the API, also when the image was pulled first.
Condition = Literal["within the TTL", "down", "silent", "429", "503", "no referrers API", "no referrers API, down"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)

Warming = Literal["own", "another's", "warm", "warm all"]
_EVERYBODY: tuple[Warming, ...] = ("own", "another's", "warm")


@dataclass(frozen=True)
class Cell:
    """A fresh client of that row pulls what was pulled that way before, while the upstream is in that condition."""

    row: Row
    warming: Warming
    condition: Condition

    def __str__(self) -> str:
        return f"{self.row.name} / {self.warming} / {self.condition}"


def _warmings(row: Row) -> tuple[Warming, ...]:
    """`warm` is for linux/amd64; a client that takes every platform is warmed for all of them as well."""
    return (*_EVERYBODY, "warm all") if row.walks else _EVERYBODY


# The beginning of a sentence of docs/clients.md each.
EXPLAINED = {
    "walks": "What copies an image with all its platforms needs the layers of all of them",
    "lists": "A list of tags is kept once somebody has asked for it",
}


def explanation(cell: Cell) -> str | None:
    """Why the cell cannot work, as one of the sentences of EXPLAINED; None if it has to."""
    if cell.condition == "no referrers API":  # the upstream is there
        return None
    if cell.row.walks and cell.warming in ("another's", "warm"):
        return EXPLAINED["walks"]
    if cell.row.lists and cell.warming != "own":
        return EXPLAINED["lists"]
    return None


def _all() -> Iterator[Cell]:
    for condition in CONDITIONS:
        for row in ROWS:
            # Somebody else's pull, or warming, need not have brought all that this client wants to be had for nothing.
            for warming in ("own",) if condition == "within the TTL" else _warmings(row):
                yield Cell(row, warming, condition)


def _covering() -> Iterator[Cell]:
    """For each row and condition one that has to work, in turn; and of those that are explained a quick client's."""
    for shift, condition in enumerate(CONDITIONS):
        for number, row in enumerate(ROWS):
            cells = [cell for cell in ALL if (cell.row, cell.condition) == (row, condition)]
            working = [cell for cell in cells if explanation(cell) is None]
            yield working[(number + shift) % len(working)]
            if condition == "down" and row.client in _SOON_GIVES_UP:
                yield from (cell for cell in cells if cell not in working)


ALL = tuple(_all())
# Most clients try again for ten seconds and more.
_SOON_GIVES_UP = ("regctl 0.11 image copy", "regctl 0.11 tag ls")
COVERING = tuple(_covering())
