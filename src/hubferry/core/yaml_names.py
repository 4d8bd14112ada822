"""Find the values of `image` keys in YAML: Compose files, Kubernetes manifests, and JSON, which is YAML as well.

Pure, line by line: a value is found in its own line, and everything else in the document may be wrong. Anchors and tags
before a value are skipped. Text in block scalars is no YAML of this document. The `image` of a Compose service with a
`build` is what is built, so it is left out. Compose specification, "image"; Kubernetes, "Images".
"""

import re
from collections.abc import Iterator, Mapping

from hubferry.core.written import PLAIN, Line, Word, WrittenName, find_name

_KEY = r"(?:image|\"image\"|'image')[ \t]*+:(?:[ \t]++|(?=[\"']))(?:[&!][^\s,]*+[ \t]++)*+"
_VALUE = rf"(?:\"(?P<double>[^\"\n]*+)\"|'(?P<single>[^'\n]*+)'|(?P<plain>{PLAIN}))(?=[ \t]*+(?:$|[,}}\]])|[ \t]++\#)"
_IN_BLOCK = re.compile(rf"[ \t]*+(?:-[ \t]++)*+{_KEY}{_VALUE}")
_IN_FLOW = re.compile(rf"[{{,][ \t]*+{_KEY}{_VALUE}")
_ANY_KEY = re.compile(r"([ \t]*+)((?:-[ \t]++)*+)([\w./\"'-]++)[ \t]*+:(?=\s|$)(.*)", re.DOTALL)
_BLOCK_SCALAR = re.compile(r"(?:.*[\s:-])?[|>][-+0-9]{0,2}(?:[ \t]++\#.*)?")
_BLOCK_ITEM = re.compile(r"([ \t]*+)(?:-[ \t]++)++[|>][-+0-9]{0,2}[ \t]*+(?:\#.*)?")
_COMMENT = re.compile(r"(?:^|[ \t])#")


class YamlReader:
    """Reads a document line by line."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """`values` are those of variables, which Compose replaces."""
        self._values = values
        self._scalar_indent: int | None = None  # of the key whose block scalar is being read
        self._mappings: list[_Mapping] = []

    def is_text(self, line: Line) -> bool:
        """Return whether a line belongs to a block scalar."""
        indent = len(line.text) - len(line.text.lstrip())
        if self._scalar_indent is not None and (not line.text.strip() or indent > self._scalar_indent):
            return True
        self._scalar_indent = None
        return False

    def read(self, line: Line) -> Iterator[WrittenName]:
        """Take the next line that is no text; yield the names that are known not to be built now."""
        found = [*self._names(line)]
        key = _ANY_KEY.fullmatch(line.text)
        if line.text.startswith("---"):
            yield from self._close(0)
        if key is None:
            item = _BLOCK_ITEM.fullmatch(line.text)
            self._scalar_indent = None if item is None else len(item[1])
            yield from found
            return
        if _BLOCK_SCALAR.fullmatch(key[4].strip()):
            self._scalar_indent = len(key[1]) + len(key[2])
        column = len(key[1]) + len(key[2])
        yield from self._close(column if key[2] else column + 1)
        if not self._mappings or self._mappings[-1].column != column:
            self._mappings.append(_Mapping(column))
        self._mappings[-1].names += found
        self._mappings[-1].is_built = self._mappings[-1].is_built or key[3].strip("\"'") == "build"

    def end(self) -> Iterator[WrittenName]:
        """Yield the names of the mappings that the document ends in."""
        yield from self._close(0)

    def _close(self, column: int) -> Iterator[WrittenName]:
        """Forget the mappings whose keys stand at this column or to the right of it, and yield their names."""
        while self._mappings and self._mappings[-1].column >= column:
            mapping = self._mappings.pop()
            if not mapping.is_built:
                yield from mapping.names

    def _names(self, line: Line) -> Iterator[WrittenName]:
        first = _IN_BLOCK.match(line.text)
        if first is not None:
            yield from self._named(line, first)
        opened = line.text.find("{")
        if opened < 0:
            return
        comment = _COMMENT.search(line.text)
        end = len(line.text) if comment is None else comment.start()
        for found in _IN_FLOW.finditer(line.text, opened, end):
            yield from self._named(line, found)

    def _named(self, line: Line, found: re.Match[str]) -> Iterator[WrittenName]:
        group = found.lastgroup or ""
        name = find_name(Word(found[group], line.start + found.start(group)), line.number, self._values)
        if name is not None:
            yield name


class _Mapping:
    """The keys that stand in one column: the names that were found, and whether there is a `build` among the keys."""

    def __init__(self, column: int) -> None:
        self.column = column
        self.names: list[WrittenName] = []
        self.is_built = False
