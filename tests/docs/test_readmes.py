"""README.md and README.zh-CN.md say the same: section by section, with the same code, tables and links."""

from __future__ import annotations

import re

from tests.docs.markdown import page

ENGLISH, CHINESE = page("README.md"), page("README.zh-CN.md")


def test_the_same_headings_in_the_same_order() -> None:
    assert [section.level for section in ENGLISH.sections] == [section.level for section in CHINESE.sections]


def test_the_same_code() -> None:
    assert [(f.info, f.body) for f in ENGLISH.fences] == [(f.info, f.body) for f in CHINESE.fences]


def test_the_same_tables_links_and_lists_in_each_section() -> None:
    for ours, theirs in zip(ENGLISH.sections, CHINESE.sections, strict=True):
        assert [[len(row) for row in table] for table in ours.tables] == [
            [len(row) for row in table] for table in theirs.tables
        ], ours.title
        assert len(re.findall(r"^- ", ours.text, re.MULTILINE)) == len(re.findall(r"^- ", theirs.text, re.MULTILINE))


def test_the_same_links() -> None:
    def links(page_links: list[str]) -> list[str]:
        return [link for link in page_links if not link.startswith("README")]

    assert links(ENGLISH.links) == links(CHINESE.links)
    assert "README.zh-CN.md" in ENGLISH.links
    assert "README.md" in CHINESE.links


def test_the_same_words_in_backticks() -> None:
    for ours, theirs in zip(ENGLISH.sections, CHINESE.sections, strict=True):
        pattern = r"`([^`]+)`"
        assert sorted(set(re.findall(pattern, ours.text))) == sorted(set(re.findall(pattern, theirs.text))), ours.title


def test_chinese_punctuation() -> None:
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", CHINESE.prose)
    han = r"[\u4e00-\u9fff]"
    assert not re.findall(rf"{han}[,;:!?()]|[,;:!?]{han}", text), "full-width punctuation beside Chinese"
    assert not re.findall(rf"{han}[A-Za-z0-9]|[A-Za-z0-9]{han}", text), "a space between Chinese and Latin"
    assert not re.findall(rf"{han}\n{han}", text), "a line break inside a Chinese paragraph shows as a space"
