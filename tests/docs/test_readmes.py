"""The pages that are kept in two languages say the same: section by section, with the same code, tables and links."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import DEPLOY, Page, page

PAIRS = [
    pytest.param(page(f"{name}.md"), page(f"{name}.zh-CN.md"), id=name)
    for name in ("README", f"{DEPLOY}/README", "docs/links")
]
both = pytest.mark.parametrize(("english", "chinese"), PAIRS)


@both
def test_the_same_headings_in_the_same_order(english: Page, chinese: Page) -> None:
    assert [section.level for section in english.sections] == [section.level for section in chinese.sections]


@both
def test_the_same_code(english: Page, chinese: Page) -> None:
    assert [(f.info, f.body) for f in english.fences] == [(f.info, f.body) for f in chinese.fences]


@both
def test_the_same_tables_links_and_lists_in_each_section(english: Page, chinese: Page) -> None:
    for ours, theirs in zip(english.sections, chinese.sections, strict=True):
        assert [[len(row) for row in table] for table in ours.tables] == [
            [len(row) for row in table] for table in theirs.tables
        ], ours.title
        assert len(re.findall(r"^- ", ours.text, re.MULTILINE)) == len(re.findall(r"^- ", theirs.text, re.MULTILINE))


@both
def test_the_same_links(english: Page, chinese: Page) -> None:
    def links(document: Page) -> list[str]:
        """Those to headings of the page itself by the heading's number: its words differ."""
        titles = [document.anchor_of(section) for section in document.sections]
        named = [f"#{titles.index(link[1:])}" if link.startswith("#") else link for link in document.links]
        return [link for link in named if link not in (english.path.name, chinese.path.name)]

    assert links(english) == links(chinese)
    assert chinese.path.name in english.links
    assert english.path.name in chinese.links


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
