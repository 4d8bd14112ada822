"""Read JSON that others wrote, in time and memory bounded by its length.

Pure. RFC 8259: UTF-8 without a byte order mark, and no NaN or Infinity. The depth is limited to MAX_DEPTH: nothing
that a registry sends is nested more than a few levels deep, and a reader that recurses fails at some depth. CPython
raises RecursionError there, but under Pyodide the whole process dies.

CPython's own JSON reader holds the interpreter lock until it is done. A document of more than WHOLE_BYTES is therefore
read one member at a time, so that other threads get their turn. That takes several times as long.
"""

import json
import re
from itertools import accumulate
from typing import Any, NoReturn

WHOLE_BYTES = 256 * 2**10
MAX_DEPTH = 100
MAX_CONTAINERS = 100_000  # lists and objects: each takes a hundred times the memory of the two brackets in the text
MAX_VALUES = 1_000_000  # the longest tag lists of public registries have some tens of thousands

# matches an unterminated string too: without that, the search restarted behind each of its quotes and took minutes
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKET = re.compile(r"[^\[\]{}]++")
_SPACE = re.compile(r"[ \t\n\r]*+")
_PLAIN_STRINGS = re.compile(r'((?:"[^"\\]*+"[ \t\n\r]*+,[ \t\n\r]*+){0,999}"[^"\\]*+")[ \t\n\r]*+,')


def parse_json(text: bytes, *, unique: bool = False) -> Any:
    """Return the parsed document. `unique` refuses objects that contain a name twice.

    Raises ValueError for text that is not JSON in UTF-8, and for a document beyond MAX_DEPTH or, when it is larger than
    WHOLE_BYTES, beyond MAX_CONTAINERS or MAX_VALUES.
    """
    decoded = text.decode("utf-8")
    if len(text) > WHOLE_BYTES:
        return _Reader(decoded, unique=unique).document()
    if decoded.count("[") + decoded.count("{") > MAX_DEPTH and _depth(decoded) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return json.loads(decoded, object_pairs_hook=_unique if unique else None, parse_constant=_refuse)


def _depth(text: str) -> int:
    """Return how deep brackets are nested.

    Whether an opening and a closing bracket are of the same kind is not checked: the JSON reader stops where they do
    not match.
    """
    brackets = _NO_BRACKET.sub("", _STRING.sub("", text))
    return max(accumulate(_STEP_OF[bracket] for bracket in brackets), default=0)


_STEP_OF = {"[": 1, "{": 1, "]": -1, "}": -1}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a repeated name: the first counts for one reader, the last for another")
    return document


_DECODER = json.JSONDecoder(parse_constant=_refuse)


class _Reader:
    """Reads one document: lists and objects member by member in Python, the values in them with CPython's scanner."""

    def __init__(self, text: str, *, unique: bool) -> None:
        self._text = text
        self._is_unique = unique
        self._containers_left = MAX_CONTAINERS
        self._values_left = MAX_VALUES

    def document(self) -> Any:
        value, end = self._value(self._skip(0), 0)
        if self._skip(end) != len(self._text):
            raise ValueError("more than one document")
        return value

    def _skip(self, at: int) -> int:
        """Return the offset of the first character at or after `at` that is not white space."""
        match = _SPACE.match(self._text, at)
        return at if match is None else match.end()

    def _value(self, at: int, depth: int) -> tuple[Any, int]:
        """Return the value that begins at an offset, and the offset behind it."""
        opening = self._text[at : at + 1]
        self._values_left -= 1
        if self._values_left < 0:
            raise ValueError(f"more than {MAX_VALUES} values")
        if opening not in ("[", "{"):
            return _DECODER.raw_decode(self._text, at)
        self._containers_left -= 1
        if self._containers_left < 0 or depth == MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels, or more than {MAX_CONTAINERS} lists and objects")
        at = self._skip(at + 1)
        return self._list(at, depth + 1) if opening == "[" else self._object(at, depth + 1)

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        if self._text[at : at + 1] == "]":
            return items, at + 1
        while True:
            run = _PLAIN_STRINGS.match(self._text, at)
            if run is not None:  # long lists consist of plain strings: up to 1,000 are parsed in one call
                strings = json.loads(f"[{run[1]}]")
                self._values_left -= len(strings)
                items += strings
                at = self._skip(run.end())
            item, at = self._value(at, depth)
            items.append(item)
            at = self._skip(at)
            if self._text[at : at + 1] == "]":
                return items, at + 1
            at = self._behind(",", at)

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        if self._text[at : at + 1] == "}":
            return members, at + 1
        while True:
            if self._text[at : at + 1] != '"':
                raise ValueError(f"no name at character {at}")
            name, at = _DECODER.raw_decode(self._text, at)
            if self._is_unique and name in members:
                raise ValueError("a repeated name: the first counts for one reader, the last for another")
            members[name], at = self._value(self._behind(":", self._skip(at)), depth)
            at = self._skip(at)
            if self._text[at : at + 1] == "}":
                return members, at + 1
            at = self._behind(",", at)

    def _behind(self, mark: str, at: int) -> int:
        """Return the offset behind `mark` and the white space after it. Raises ValueError if `mark` is not at `at`."""
        if self._text[at : at + 1] != mark:
            raise ValueError(f"no {mark} at character {at}")
        return self._skip(at + 1)
