"""The pages that are kept in two languages say the same: section by section, with the same code, tables and links.

Only the words differ. So a row, an example or a link that one language gets is missed in the other one at once.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.docs.markdown import DEPLOY, ROOT, Page, Section, code_of, page

FOR_DEVELOPERS = {"design", "dependencies", "faults"}
BEING_WRITTEN: set[str] = set()
CHINESE = ".zh-CN.md"
TRANSLATED = sorted(path.name.removesuffix(CHINESE) for path in (ROOT / "docs").glob(f"*{CHINESE}"))
PAIRS = [
    pytest.param(page(f"{name}.md"), page(f"{name}{CHINESE}"), id=name)
    for name in ("README", f"{DEPLOY}/README", *(f"docs/{name}" for name in TRANSLATED))
]
both = pytest.mark.parametrize(("english", "chinese"), PAIRS)


def test_every_page_for_users_is_there_in_both_languages() -> None:
    pages = {path.name.removesuffix(".md") for path in (ROOT / "docs").glob("*.md") if CHINESE not in path.name}
    assert pages - FOR_DEVELOPERS - BEING_WRITTEN <= set(TRANSLATED)


@both
def test_the_same_headings_in_the_same_order(english: Page, chinese: Page) -> None:
    assert [section.level for section in english.sections] == [section.level for section in chinese.sections]


@both
def test_the_same_code(english: Page, chinese: Page) -> None:
    assert [(f.info, f.body) for f in english.fences] == [(f.info, f.body) for f in chinese.fences]


@both
def test_the_same_tables_and_lists_in_each_section(english: Page, chinese: Page) -> None:
    for ours, theirs in zip(english.sections, chinese.sections, strict=True):
        wanted, found = (
            [[(len(row), code_of(row[0])) for row in table] for table in section.tables] for section in (ours, theirs)
        )
        assert wanted == found, f"{ours.title}: a row that is written in one language only"
        assert _items(ours) == _items(theirs), ours.title


def _items(section: Section) -> list[str]:
    """Return the marks of the items of lists: `-`, `1.`."""
    return re.findall(r"^(-|\d+\.) ", section.text, re.MULTILINE)


@both
def test_the_same_names_and_figures_in_each_cell(english: Page, chinese: Page) -> None:
    """Settings, events, metrics and statuses are what a table is looked up for: none is missing or in another row."""
    for ours, theirs in zip(english.sections, chinese.sections, strict=True):
        for table, translated in zip(ours.tables, theirs.tables, strict=True):
            for row, other in zip(table, translated, strict=True):
                for cell, words in zip(row, other, strict=True):
                    assert set(code_of(cell)) == set(code_of(words)), row
                    if not re.search("[a-z]", cell):
                        assert cell == words.replace("、", ", "), row


@both
def test_the_same_links_in_each_section(english: Page, chinese: Page) -> None:
    for ours, theirs in zip(english.sections, chinese.sections, strict=True):
        wanted, found = (
            Counter(_targets(document, section.text, english.path.name, chinese.path.name))
            for document, section in ((english, ours), (chinese, theirs))
        )
        assert wanted == found, ours.title
    assert chinese.path.name in english.links
    assert english.path.name in chinese.links


def _targets(document: Page, text: str, *pair: str) -> list[str]:
    """Where links lead: an English page, and the number of a heading, because its words differ."""
    links = [link for link in re.findall(r"\[[^\]]+\]\(([^)\s]+)\)", text) if link not in pair]
    return [link if "://" in link else _target(document, link) for link in links]


def _target(document: Page, link: str) -> str:
    path, _, fragment = link.partition("#")
    target = (document.path.parent / path).resolve() if path else document.path
    name = str(target.relative_to(ROOT)).replace(CHINESE, ".md").replace(".zh-CN.png", ".en.png")
    if not fragment:
        return name
    titles = [document.anchor_of(section) for section in page(str(target.relative_to(ROOT))).sections]
    return f"{name}#{titles.index(fragment)}"


@both
def test_chinese_pages_lead_to_chinese_pages(english: Page, chinese: Page) -> None:
    for link in chinese.links:
        path = link.partition("#")[0]
        if path.endswith(".md") and CHINESE not in path and path != english.path.name:
            translation = (chinese.path.parent / path).resolve().with_suffix("")
            assert not translation.with_name(translation.name + CHINESE).exists(), link


@both
def test_the_same_words_in_backticks(english: Page, chinese: Page) -> None:
    for ours, theirs in zip(english.sections, chinese.sections, strict=True):
        pattern = r"`([^`]+)`"
        assert sorted(set(re.findall(pattern, ours.text))) == sorted(set(re.findall(pattern, theirs.text))), ours.title


@both
def test_chinese_punctuation(english: Page, chinese: Page) -> None:
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", chinese.prose)
    han = r"[\u4e00-\u9fff]"
    assert not re.findall(rf"{han}[,;:!?()]|[,;:!?]{han}", text), "full-width punctuation beside Chinese"
    assert not re.findall(rf"{han}[A-Za-z0-9]|[A-Za-z0-9]{han}", text), "a space between Chinese and Latin"
    assert not re.findall(rf"{han}\n{han}", text), "a line break inside a Chinese paragraph shows as a space"


@pytest.mark.parametrize("name", ["README.md", f"README{CHINESE}"])
def test_who_is_blocked_is_told_so_before_the_first_pull(name: str) -> None:
    """Where Docker Hub is blocked, the first pull of a newcomer fails, and docker does not say why."""
    text = page(name).text
    told = re.search(r"^\*\*[^*]*`proxy`[^*]*\*\*", text, re.MULTILINE)
    assert told
    assert told.end() < text.index("docker pull") < text.index("config check")
