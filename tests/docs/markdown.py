"""Reads the project's Markdown as far as its tests need: headings, fenced code, tables, links.

Only the Markdown that these documents use: ATX headings, fences of three backticks, tables with outer pipes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = "deploy/cloudflare"
PAGES = (
    "README.md",
    "README.zh-CN.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    f"{DEPLOY}/README.md",
    f"{DEPLOY}/README.zh-CN.md",
)
_FENCE = re.compile(r"^```(?P<info>[^`\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Fence:
    """A fenced block: its info string (`toml hubferry`), its body, and the line it begins on."""

    info: str
    body: str
    line: int


@dataclass
class Section:
    """A heading with everything up to the next heading of any level; fences are not part of `text`."""

    level: int
    title: str
    text: str
    tables: list[list[list[str]]] = field(default_factory=list)

    @property
    def rows(self) -> list[list[str]]:
        """The cells of the section's only table, without its head."""
        assert len(self.tables) == 1, f"{self.title}: expected one table, found {len(self.tables)}"
        return self.tables[0][1:]


@dataclass(frozen=True)
class Page:
    """One document."""

    path: Path
    text: str

    @property
    def fences(self) -> list[Fence]:
        return [
            Fence(match["info"].strip(), match["body"], self.text.count("\n", 0, match.start()) + 1)
            for match in _FENCE.finditer(self.text)
        ]

    @property
    def prose(self) -> str:
        """The text without fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def sections(self) -> list[Section]:
        found = list(_HEADING.finditer(self.prose))
        ends = [match.start() for match in found[1:]] + [len(self.prose)]
        return [
            Section(len(match[1]), match[2], text := self.prose[match.end() : end], _tables(text))
            for match, end in zip(found, ends, strict=True)
        ]

    def section(self, title: str) -> Section:
        found = [section for section in self.sections if section.title == title]
        assert len(found) == 1, f"{self.path.name}: {len(found)} sections are called {title!r}"
        return found[0]

    @property
    def anchors(self) -> set[str]:
        """The fragments that GitHub gives to headings."""
        return {self.anchor_of(section) for section in self.sections}

    @staticmethod
    def anchor_of(section: Section) -> str:
        """The fragment of one heading."""
        return re.sub(r"[^\w\- ]", "", section.title.lower()).strip().replace(" ", "-")

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    @property
    def code_words(self) -> list[str]:
        """What stands in single backticks."""
        return _CODE.findall(self.prose)


def page(name: str) -> Page:
    """A document by its path from the root of the project."""
    path = ROOT / name
    return Page(path, path.read_text(encoding="utf-8"))


def all_pages() -> list[Page]:
    docs = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))
    return [page(name) for name in (*PAGES, *docs)]


def code_of(cell: str) -> list[str]:
    """The words in backticks of a table cell."""
    return _CODE.findall(cell)


def _tables(text: str) -> list[list[list[str]]]:
    tables: list[list[list[str]]] = []
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif rows:
            tables.append([row for row in rows if not all(set(cell) <= {"-"} and cell for cell in row)])
            rows = []
    return tables


def example(document: str, kind: str, containing: str) -> str:
    """The first block of a document that is of that kind and contains the text."""
    return next(f.body for f in page(document).fences if f.info == kind and containing in f.body)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """`text` with each first one of a pair, which must be there, as the second."""
    for old, new in pairs:
        assert old in text, f"{old!r} stands no longer in the example"
        text = text.replace(old, new)
    return text
