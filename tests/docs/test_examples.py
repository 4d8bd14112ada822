"""Every example in the documents can be read by what it is for; links lead somewhere."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest

from hubferry.core.settings_sources import SettingsSource, resolve
from tests.docs.markdown import ROOT, Fence, Page, all_pages

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {"sh", "ini", "toml", "toml hubferry", "json", "yaml", "nginx", "python", "text"}
PAGES = all_pages()


def examples(wanted: Callable[[Fence], bool]) -> list[object]:
    return [
        pytest.param(fence.body, id=f"{page.path.name}:{fence.line}")
        for page in PAGES
        for fence in page.fences
        if wanted(fence)
    ]


@pytest.mark.parametrize("body", examples(lambda fence: fence.info == "toml hubferry"))
def test_configurations_of_hubferry_resolve(body: str) -> None:
    resolve([SettingsSource("example", tomllib.loads(body))])


@pytest.mark.parametrize("body", examples(lambda fence: fence.info.startswith("toml")))
def test_toml_is_toml(body: str) -> None:
    tomllib.loads(body)


@pytest.mark.parametrize("body", examples(lambda fence: fence.info == "toml"))
def test_configurations_of_hubferry_are_marked(body: str) -> None:
    assert not {"server", "upstreams", "access", "cache", "warm"} & set(tomllib.loads(body))


@pytest.mark.parametrize("body", examples(lambda fence: fence.info == "json"))
def test_json_is_json(body: str) -> None:
    json.loads(body)


@pytest.mark.parametrize("document", PAGES, ids=lambda page: page.path.name)
def test_every_block_says_what_it_is(document: Page) -> None:
    assert document.text.count("\n```") == 2 * len(document.fences)
    if document.path.name != "design.md":
        assert {fence.info for fence in document.fences} <= KINDS


@pytest.mark.parametrize("document", PAGES, ids=lambda page: page.path.name)
def test_links_inside_the_project_lead_somewhere(document: Page) -> None:
    pages = {page.path: page for page in PAGES}
    for link in document.links:
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = (document.path.parent / path).resolve() if path else document.path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if fragment:
            assert fragment in pages[target].anchors, link


@pytest.mark.parametrize("document", PAGES, ids=lambda page: page.path.name)
def test_every_page_is_reached_from_the_readme_of_its_language(document: Page) -> None:
    english, chinese = PAGES[:2]
    readme = chinese if document.path.name.endswith(".zh-CN.md") else english
    linked = {(readme.path.parent / link.partition("#")[0]).resolve() for link in readme.links if "://" not in link}
    assert document.path in {readme.path, *linked}
