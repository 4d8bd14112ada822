"""Add texts to a list in a JSON object, and take them out again, without touching a byte of anything else.

Pure. For /etc/docker/daemon.json: its lists are members of the outermost object. Only the span of the list's own value
is written again; a new member is put behind the last one, in the file's indentation. Of a name that is there twice the
last counts, as for dockerd.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from hubferry.core.client_files.entries import CannotEditError, Entry, Item
from hubferry.core.documents import parse_json

_SPACE = re.compile(r"[ \t\n\r]*+")
_DECODER = json.JSONDecoder()
EMPTY = "{}\n"


@dataclass(frozen=True)
class _Member:
    """A member of the object: its name, the offsets of its name and of its value, and the value."""

    name: str
    begin: int
    value_begin: int
    end: int
    value: Any


def add_items(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text with each item first in its list, unless it is in it. Raises CannotEditError."""
    text = text if text.strip() else EMPTY
    there = _members(text)
    for entry in entries:
        if isinstance(entry, Item) and _is_due(entry, there):
            text = _add(text, entry)
    return text


def remove_items(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text without the items; a list that becomes empty goes with its name. Raises CannotEditError."""
    for entry in entries:
        if isinstance(entry, Item):
            text = _remove(text, entry)
    return text


def _is_due(item: Item, there: list[_Member]) -> bool:
    """Return whether the condition of an item is met by the members that were there before anything was added."""
    has_list = _find(there, item) is not None
    return item.when == "always" or has_list == (item.when == "list")


def _add(text: str, item: Item) -> str:
    members = _members(text)
    found = _find(members, item)
    if found is None:
        return _with_member(text, members, item)
    values = _list_of(found)
    return text if item.value in values else _with_value(text, found, [item.value, *values])


def _remove(text: str, item: Item) -> str:
    members = _members(text)
    found = _find(members, item)
    if found is None or item.value not in _list_of(found):
        return text
    values = [value for value in _list_of(found) if value != item.value]
    if values:
        return _with_value(text, found, values)
    return _without_member(text, members, found)


def _find(members: list[_Member], item: Item) -> _Member | None:
    return next((member for member in reversed(members) if member.name == item.keys[-1]), None)


def _list_of(member: _Member) -> list[str]:
    values = [] if member.value is None else member.value
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise CannotEditError(f"{member.name} is no list of texts: correct it first")
    return values


def _members(text: str) -> list[_Member]:
    """Return the members of the object that the text is, in their order."""
    try:
        document = parse_json(text.encode())
    except (ValueError, RecursionError) as error:
        raise CannotEditError(f"it is not JSON ({error}): correct it first") from None
    if not isinstance(document, dict):
        raise CannotEditError("it is no JSON object: write {...}")
    members = []
    at = _behind(text, _behind(text, 0) + 1)
    while text[at] == '"':
        name, name_end = _DECODER.raw_decode(text, at)
        value_begin = _behind(text, _behind(text, name_end) + 1)
        value, end = _DECODER.raw_decode(text, value_begin)
        members.append(_Member(name, at, value_begin, end, value))
        at = _behind(text, end)
        at = _behind(text, at + 1) if text[at] == "," else at
    return members


def _behind(text: str, at: int) -> int:
    """Return the offset of the first character at or after `at` that is no white space."""
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _with_value(text: str, member: _Member, values: list[str]) -> str:
    has_lines = "\n" in text[member.value_begin : member.end]
    indent = _indent_before(text, member.begin)
    return text[: member.value_begin] + _format_list(values, indent if has_lines else None) + text[member.end :]


def _with_member(text: str, members: list[_Member], item: Item) -> str:
    if not members:
        begin = text.index("{")
        name = _quoted(item.keys[-1])
        return f"{text[:begin]}{{\n  {name}: {_format_list([item.value], '  ')}\n}}{text[text.rindex('}') + 1 :]}"
    last = members[-1]
    indent = _indent_before(text, members[0].begin)
    if indent is None:
        member = f", {_quoted(item.keys[-1])}: {_format_list([item.value], None)}"
    else:
        member = f",\n{indent}{_quoted(item.keys[-1])}: {_format_list([item.value], indent)}"
    return text[: last.end] + member + text[last.end :]


def _without_member(text: str, members: list[_Member], member: _Member) -> str:
    number = members.index(member)
    if number:
        return text[: members[number - 1].end] + text[member.end :]
    if len(members) > 1:
        return text[: member.begin] + text[members[1].begin :]
    return text[: text.index("{") + 1] + text[text.rindex("}") :]


def _indent_before(text: str, at: int) -> str | None:
    """Return the white space before an offset if nothing else is before it in its line, else None."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line if "\n" in text[:at] and not line.strip(" \t") else None


def _format_list(values: list[str], indent: str | None) -> str:
    """Return the list in one line, or, with the indentation of its name, one value in a line."""
    if indent is None:
        return f"[{', '.join(map(_quoted, values))}]"
    step = indent or "  "
    lines = ",\n".join(f"{indent}{step}{_quoted(value)}" for value in values)
    return f"[\n{lines}\n{indent}]"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
