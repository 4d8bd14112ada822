"""Add texts to lists in YAML, and take them out again; comments, order and the kind of quotes stay.

No I/O. Lines are put into the text as it is, where ruamel.yaml says that a map or a list begins. Only for what is
written in another way, such as `{a: b}`, and for taking out, ruamel.yaml writes the file again, in its own indentation.
"""

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from hubferry.core.client_files import CannotEditError, Entry, Item

MAX_BYTES = 2**18  # reading it takes seconds for each MiB
_NEVER_WRAP = 2**16


def add_texts(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text with each item first in its list. Raises CannotEditError."""
    data = _parse(text)
    missing = [entry for entry in entries if isinstance(entry, Item) and entry.value not in _list_at(data, entry)]
    if not missing:
        return text
    for item in reversed(missing):  # each is put before what is there
        changed = _inserted(text, item)
        _put(data, item)
        if changed is None or not _means(changed, data):
            document, writer = _open(text)
            _put(document, item)
            changed = _write(writer, document)
        text = _checked(changed, data)
    return text


def remove_texts(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text without the items; lists and maps that become empty go with them. Raises CannotEditError."""
    expected = _parse(text)
    there = [entry for entry in entries if isinstance(entry, Item) and entry.value in _list_at(expected, entry)]
    if not there:
        return text
    for item in there:
        _take(expected, item)
        shorter = _without_lines(text, item, expected)
        if shorter is None:
            document, writer = _open(text)
            _take(document, item)
            shorter = _write(writer, document)
        text = _checked(shorter, expected)
    return text


def _parse(text: str) -> dict[str, Any]:
    """Return what a text says, as plain values."""
    if len(text) > MAX_BYTES:
        raise CannotEditError(f"it is longer than {MAX_BYTES} characters, and no such file is: check it")
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        first = " ".join(str(error).split())
        raise CannotEditError(f"it is not YAML ({first[:200]}): correct it first") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise CannotEditError("it is no map: correct it first")
    return data


def _open(text: str) -> tuple[Any, YAML]:
    """Return the document with its comments, and what writes it as it was written."""
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = _NEVER_WRAP
    document = writer.load(text)
    mapping, dash = _indents(document)
    writer.indent(mapping=mapping, sequence=dash + 2, offset=dash)
    return document, writer


def _indents(document: Any) -> tuple[int, int]:
    """Return by how much maps, and the dashes of lists, stand to the right of what is around them: 2 if unsaid."""
    mapping, dash = 0, -1
    todo = [document]
    while todo:
        around = todo.pop()
        for value in around.values() if isinstance(around, CommentedMap) else ():
            if isinstance(value, CommentedMap | CommentedSeq) and not value.fa.flow_style() and value:
                step = value.lc.col - around.lc.col
                if isinstance(value, CommentedSeq):
                    dash = step if dash < 0 else dash
                else:
                    mapping = mapping or step
                    todo.append(value)
    return mapping or 2, 2 if dash < 0 else dash


def _write(writer: YAML, document: Any) -> str:
    out = io.StringIO()
    writer.dump(document, out)
    return out.getvalue()


def _means(text: str, data: dict[str, Any]) -> bool:
    try:
        return _parse(text) == data
    except CannotEditError:
        return False


def _checked(text: str, expected: dict[str, Any]) -> str:
    if not _means(text, expected):
        raise CannotEditError("its way of writing cannot be changed without a risk: change the lines by hand")
    return text


def _list_at(data: Any, item: Item) -> list[Any]:
    for key in item.keys:
        if data is not None and not isinstance(data, dict):
            raise CannotEditError(f"what {key} stands in is no map: correct it first")
        data = None if data is None else data.get(key)
    if data is not None and not isinstance(data, list):
        raise CannotEditError(f"{'.'.join(item.keys)} is no list: correct it first")
    return data or []


def _put(data: Any, item: Item) -> None:
    for key in item.keys[:-1]:
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
    if data.get(item.keys[-1]) is None:
        data[item.keys[-1]] = [item.value]
    else:
        data[item.keys[-1]].insert(0, item.value)


def _take(data: Any, item: Item) -> None:
    ways = [data]
    for key in item.keys:
        ways.append(ways[-1][key])
    while item.value in ways[-1]:
        ways[-1].remove(item.value)
    for way, key in zip(reversed(ways[:-1]), reversed(item.keys), strict=True):
        if not way[key]:
            del way[key]


def _inserted(text: str, item: Item) -> str | None:
    """Return the text with lines for the item in it; None if what it goes into is not written in lines."""
    node: Any = YAML().load(text)
    if not node:
        return _at_end(text, _lines(item.keys, item.value, 0))
    if item.keys[0] not in node:
        return _at_end(text, _lines(item.keys, item.value, node.lc.col))
    for depth, key in enumerate(item.keys):
        if not isinstance(node, CommentedMap):
            return None
        if key not in node:
            return _before(text, node, _lines(item.keys[depth:], item.value, node.lc.col))
        node = node[key]
    if not isinstance(node, CommentedSeq):
        return None
    return _before(text, node, [f"{' ' * node.lc.col}- {_quoted(item.value)}"])


def _without_lines(text: str, item: Item, expected: dict[str, Any]) -> str | None:
    """Return the text without the line of the item, and those of the keys that would be empty; None: not so written.

    Comments beside and behind them stay, which ruamel.yaml may take out together with a key.
    """
    lines = text.splitlines(keepends=True)
    words = [*(f"{_quoted(key)}:" for key in item.keys), f"- {_quoted(item.value)}"]
    for begin in range(len(words)):
        wanted = words[begin:]
        for at in range(len(lines) - len(wanted) + 1):
            is_there = [line.strip() for line in lines[at : at + len(wanted)]] == wanted
            if is_there and _means(shorter := "".join([*lines[:at], *lines[at + len(wanted) :]]), expected):
                return shorter
    return None


def _lines(keys: tuple[str, ...], value: str, column: int) -> list[str]:
    """Return a map of a map of a list of one value, in lines that begin at a column."""
    names = [f"{' ' * (column + 2 * depth)}{_quoted(key)}:" for depth, key in enumerate(keys)]
    return [*names, f"{' ' * (column + 2 * len(keys))}- {_quoted(value)}"]


def _before(text: str, node: Any, lines: list[str]) -> str | None:
    """Return the text with lines before the first of a map or list; None if that has no lines of its own."""
    if not node or node.fa.flow_style():
        return None
    all_lines = text.splitlines(keepends=True)
    return "".join([*all_lines[: node.lc.line], *(f"{line}\n" for line in lines), *all_lines[node.lc.line :]])


def _at_end(text: str, lines: list[str]) -> str:
    before = text if not text or text.endswith("\n") else text + "\n"
    return before + "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[a-z]+", text) else f'"{text}"'
