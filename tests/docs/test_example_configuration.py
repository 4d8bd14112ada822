"""hubferry.example.toml: a gateway of it is the one without a configuration, and each of its lines is worth its #."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from hubferry.cli.load import load_settings
from hubferry.core.settings import SECTIONS, Settings
from hubferry.core.settings_sources import SettingsSource, resolve
from tests.docs.markdown import ROOT

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "hubferry.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
_COMMENTED = re.compile(r'^#(?=[\w"][^ ]* = |\[)', re.MULTILINE)


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of whoever runs the tests, such as NO_PROXY, is not what is tested."""
    monkeypatch.setattr("os.environ", {})


def loaded(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "hubferry.toml"
    file.write_text(text)
    return load_settings(file)


def test_as_it_is_it_changes_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, TEXT) == loaded(tmp_path, "")


def test_with_every_line_it_loads(tmp_path: Path) -> None:
    settings = loaded(tmp_path, _COMMENTED.sub("", TEXT))
    assert set(settings.upstreams) == {"docker.io", "ghcr.io", "registry.example.com"}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_line_of_a_section_differs_from_the_default(section: str) -> None:
    tables = tomllib.loads(_COMMENTED.sub("", TEXT))
    found, default = getattr(resolve([SettingsSource("example", tables)]), section), SECTIONS[section]()
    changed = {one.name for one in dataclasses.fields(found) if getattr(found, one.name) != getattr(default, one.name)}
    assert changed == set(tables[section])


def test_every_line_of_an_upstream_differs_from_the_default() -> None:
    tables: dict[str, Any] = tomllib.loads(_COMMENTED.sub("", TEXT))["upstreams"]
    assert tables.pop("only") is True
    for name, table in tables.items():
        found = resolve([SettingsSource("example", {"upstreams": {name: table}})]).upstreams[name]
        without = resolve([SettingsSource("example", {"upstreams": {name: {}}})]).upstreams[name]
        assert {key for key in table if getattr(found, key) != getattr(without, key)} == set(table)


def test_every_comment_is_a_setting_or_a_sentence() -> None:
    for line in TEXT.splitlines():
        assert not line.startswith("#") or line == "#" or line.startswith("# ") or _COMMENTED.match(line), line


def test_every_section_is_in_it() -> None:
    assert set(tomllib.loads(TEXT)) == {*SECTIONS, "upstreams"}
