"""docs/metrics.md has every counter with its labels, every result of a fill, and no other."""

from __future__ import annotations

import re
from typing import get_args

from hubferry.ports.shell import FillResult
from hubferry.server.metrics import FAMILIES, GAUGES
from tests.docs.markdown import all_pages, code_of, page


def rows(title: str = "What is counted") -> dict[str, list[str]]:
    return {code_of(row[0])[0]: row for row in page("docs/metrics.md").section(title).rows}


def test_every_counter_is_documented_with_its_labels_and_no_other() -> None:
    for title, known in (("What is counted", FAMILIES), ("What is left", GAUGES)):
        documented = {name: tuple(code_of(labels)) for name, (_, labels, _) in rows(title).items()}
        assert documented == {name: labels for name, (_, labels) in known.items()}
        assert list(documented) == list(known), "in the same order"
        assert all(meaning for _, _, meaning in rows(title).values())


def test_every_result_of_a_fill_is_documented() -> None:
    shown = re.findall(r"`(\w+)`(?=[:;])", rows()["hubferry_fills_total"][2])
    assert tuple(shown) == get_args(FillResult)


def test_counters_that_are_named_elsewhere_exist() -> None:
    for document in all_pages():
        assert set(re.findall(r"hubferry_\w+_total", document.text)) <= set(FAMILIES), document.path.name
