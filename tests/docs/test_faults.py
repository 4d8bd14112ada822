"""Every test that the documents name is there."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import ROOT, code_of, page

FAULTS = page("docs/faults.md").section("What goes wrong, and what then happens").rows
BOUNDS = [
    row
    for name in ("Clients", "Upstreams, mirrors and token services", "What is kept")
    for row in page("docs/security.md").section(name).rows
]


@pytest.mark.parametrize("row", FAULTS, ids=[row[0] for row in FAULTS])
def test_the_test_of_a_fault_is_there(row: list[str]) -> None:
    file, _, name = code_of(row[2])[0].partition("::")
    source = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"^(?:async )?def {name}\(", source, re.MULTILINE), name


@pytest.mark.parametrize("row", BOUNDS, ids=[row[0] for row in BOUNDS])
def test_the_tests_of_a_bound_are_there(row: list[str]) -> None:
    for file in code_of(row[-1]):
        assert (ROOT / "tests" / file).is_file(), file


def test_there_is_something_to_check() -> None:
    assert len(FAULTS) >= 36
    assert len(BOUNDS) >= 40
