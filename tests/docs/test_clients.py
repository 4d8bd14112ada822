"""docs/clients.md names what was tried, in the versions that were tried, and says what cannot work."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import ROOT, page
from tests.matrix.cells import EXPLAINED
from tests.matrix.rows import ROWS, WAYS
from tests.support.built_clients import built_clients

BUILT = {"ctr 2": "ctr", "BuildKit": "buildkitd", "crane": "crane", "oras": "oras", "regctl": "regctl"}
BUILT |= {"crictl": "crictl", "helm": "helm", "cosign": "cosign"}


def tried() -> set[tuple[str, str]]:
    """Client and way, as the table says."""
    _, *ways = ("client", "name", "mirror", "hosts.toml")
    found = set()
    for row in page("docs/clients.md").section("When the upstream is away").rows:
        for way, cell in zip(ways, row[1:], strict=True):
            if cell.strip() == "tried":
                found |= {(client.strip(), way) for client in _split(row[0])}
    return found


def _split(clients: str) -> list[str]:
    """`a, b` names two clients, `Docker 29, classic store` one."""
    return re.split(r", (?!classic)", clients)


def test_the_table_is_what_the_matrix_tries() -> None:
    assert tried() == {(row.client, row.way) for row in ROWS}
    assert {way for _, way in tried()} == set(WAYS)


@pytest.mark.parametrize("name", BUILT)
def test_versions_are_those_that_are_built(name: str) -> None:
    version = built_clients()[BUILT[name]].version.removeprefix("v")
    clients = {row.client for row in ROWS if row.client.startswith(name)}
    assert clients
    for client in clients:
        assert client.split()[1] == ".".join(version.split(".")[:2])


def test_every_version_is_exact() -> None:
    for built in built_clients().values():
        assert re.fullmatch(r"v\d+\.\d+\.\d+(-[a-z]+\.\d+)?", built.version), built


@pytest.mark.parametrize("sentence", EXPLAINED.values())
def test_what_cannot_work_is_explained(sentence: str) -> None:
    text = " ".join((ROOT / "docs" / "clients.md").read_text(encoding="utf-8").split())
    assert sentence in text
