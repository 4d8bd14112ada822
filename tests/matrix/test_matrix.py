"""What was pulled once is pulled again by a fresh client, whatever becomes of the upstream meanwhile.

Tags are believed for no time at all, so each pull would ask the upstream; except in one column, where nothing may be
asked. The cells are those of cells.py; the table of them is printed at the end of the run.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from typing import TYPE_CHECKING, cast

import pytest

from tests.matrix.cells import ALL, COVERING, EXPLAINED, Cell, explanation
from tests.matrix.conftest import TABLE, serving
from tests.matrix.pulls import pull_afresh, warm
from tests.matrix.rows import ROWS
from tests.support.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.matrix.cells import Condition, Warming
    from tests.matrix.conftest import Market
    from tests.matrix.rows import Goods, Row
    from tests.support.switched_upstream import UpstreamState

pytestmark = pytest.mark.real

CELLS = ALL if os.environ.get("HUBFERRY_MATRIX") == "whole" else COVERING
_OTHER_CLIENTS = {
    row.name: row for row in ROWS if row.name in ("skopeo 1.9, name", "Docker 20.10, name", "oras 1.3 cp, name")
}


def other_row(row: Row) -> Row:
    """Another client than that one, which pulls the same: for images one that takes as little as there is."""
    if row.chart:
        return dataclasses.replace(_OTHER_CLIENTS["oras 1.3 cp, name"], chart=True, needs=row.needs)
    taken = row.client.startswith(("skopeo", "podman"))
    return _OTHER_CLIENTS["Docker 20.10, name" if taken else "skopeo 1.9, name"]


class Warmed:
    """A cache in which everything was pulled once while the upstream was there, and what became of these pulls."""

    def __init__(self, folder: Path, market: Market, cells: Sequence[Cell]) -> None:
        self.data = folder / "data"
        self._market = market
        self._folder = folder
        self._goods: dict[tuple[Row, Warming], Goods] = {}
        self._problems: dict[tuple[Row, Warming], str] = {}
        config = serving(market.switched, dir=str(self.data), tag_ttl="0s")
        with Gateway.start(folder / "gateway", config) as gateway:
            warmed = {name: market.publish(f"{folder.name}-{name}", signed=True) for name in ("warm", "warm-all")}
            by_another: dict[str, tuple[Goods, str | None]] = {}
            for row, who in dict.fromkeys((cell.row, cell.warming) for cell in cells):
                if who == "own":
                    goods, problem = self._pull_once(row, gateway)
                elif who == "another's":
                    other = other_row(row)
                    if other.name not in by_another:
                        by_another[other.name] = self._pull_once(other, gateway, "by-")
                    goods, problem = by_another[other.name]
                else:
                    goods, problem = warmed[who.replace(" ", "-")], None
                self._goods[row, who] = goods
                if problem:
                    self._problems[row, who] = f"{who} pull while the upstream was there: {problem}"
            warm(gateway, warmed["warm"], "linux/amd64")
            warm(gateway, warmed["warm-all"], "all")

    def goods(self, cell: Cell) -> Goods:
        return self._goods[cell.row, cell.warming]

    def problem(self, cell: Cell) -> str | None:
        """Why it was not pulled in the first place."""
        return self._problems.get((cell.row, cell.warming))

    def _pull_once(self, row: Row, gateway: Gateway, prefix: str = "") -> tuple[Goods, str | None]:
        name = re.sub(r"[^a-z0-9]+", "-", f"{self._folder.name}-{prefix}{row.name.lower()}").strip("-")
        goods = self._market.publish(name, signed=row.client.startswith("cosign") or bool(prefix))
        return goods, pull_afresh(row, self._market, gateway, goods, self._folder / "c")


# where a condition is not the name of the upstream's state
_STATES: dict[Condition, UpstreamState] = {"within the TTL": "up", "no referrers API, down": "down"}


class Columns:
    """A gateway for one condition of the upstream at a time, each on a copy of what was kept before."""

    def __init__(self, folder: Path, market: Market) -> None:
        self._folder = folder
        self._market = market
        self._warmed: dict[bool, Warmed] = {}
        self._open: tuple[Condition, Gateway] | None = None

    def open(self, condition: Condition) -> tuple[Warmed, Gateway]:
        has_api = not condition.startswith("no referrers API")
        if self._open is None or self._open[0] != condition:
            self.close()
            warmed = self._warm(has_api)
            shutil.copytree(warmed.data, self._folder / "data")
            ttl = "1h" if condition == "within the TTL" else "0s"
            config = serving(self._market.switched, dir=str(self._folder / "data"), tag_ttl=ttl)
            self._open = condition, Gateway.start(self._folder / "gateway", config)
            self._market.switched.switch(_STATES.get(condition) or cast("UpstreamState", condition))
        return self._warmed[has_api], self._open[1]

    def close(self) -> None:
        self._market.switched.switch("up")
        if self._open:
            gateway, self._open = self._open[1], None
            gateway.stop()
            shutil.rmtree(self._folder)

    def _warm(self, has_api: bool) -> Warmed:
        if has_api not in self._warmed:
            self._market.switched.switch("up" if has_api else "no referrers API")
            cells = [cell for cell in CELLS if cell.condition.startswith("no referrers API") != has_api]
            folder = self._folder.parent / ("api" if has_api else "no-api")
            self._warmed[has_api] = Warmed(folder, self._market, cells)
        return self._warmed[has_api]


@pytest.fixture(scope="module")
def columns(state_dir: Path, market: Market) -> Iterator[Columns]:
    opened = Columns(state_dir / "column", market)
    yield opened
    opened.close()


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_it_is_pulled_again(
    cell: Cell, columns: Columns, market: Market, new_state: Path, pytestconfig: pytest.Config
) -> None:
    warmed, gateway = columns.open(cell.condition)
    market.switched.forget()
    problem = warmed.problem(cell) or pull_afresh(cell.row, market, gateway, warmed.goods(cell), new_state)
    if cell.condition == "within the TTL" and (asked := market.switched.asked):
        problem = f"the upstream was asked {len(asked)} times: {asked[0].request.method} {asked[0].request.target}"
    expected = explanation(cell)
    pytestconfig.stash[TABLE].note(cell, problem, expected)
    if expected is None:
        assert problem is None, f"{cell}: {problem}"
    else:
        assert problem is not None, f"{cell} works, which the documentation denies: {expected}"


def test_the_covering_cells_cover() -> None:
    """Every row meets every condition and everybody who may have pulled before; each explanation is shown to hold."""
    assert {(cell.row, cell.condition) for cell in COVERING} == {(cell.row, cell.condition) for cell in ALL}
    wanted = {(cell.row, cell.warming) for cell in ALL if explanation(cell) is None and not _is_up(cell)}
    assert wanted <= {(cell.row, cell.warming) for cell in COVERING}
    assert {explanation(cell) for cell in COVERING} == {None, *EXPLAINED.values()}


def _is_up(cell: Cell) -> bool:
    return cell.condition == "no referrers API"
