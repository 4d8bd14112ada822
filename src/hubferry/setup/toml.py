"""Add settings and list items to TOML, and take them out again; comments and everything else stay as they are.

No I/O. A table that is not there yet is put behind the text as it is; only in a table that is there tomlkit writes.
"""

from collections.abc import Callable
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from hubferry.core.client_files import CannotEditError, Entry, Item, Setting
from hubferry.core.client_files.toml_text import look_up, parse_toml, with_value
from hubferry.core.values import format_toml, toml_key


def add_settings(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text with the settings, and with each item first in its list. Raises CannotEditError."""
    for entry in entries:
        if isinstance(entry, Item | Setting):
            text = _add(text, entry)
    return text


def remove_settings(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text without the items, and with the former values of settings. Raises CannotEditError."""
    for entry in entries:
        if isinstance(entry, Item | Setting):
            text = _remove(text, entry)
    return text


def edit(text: str, expected: dict[str, Any], change: Callable[[Any], None]) -> str:
    """Return the text after `change` of its tomlkit document. Raises CannotEditError if it is not as expected then."""
    try:
        document = tomlkit.parse(text)
        change(document)
        changed = tomlkit.dumps(document)
    except (TOMLKitError, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        changed = ""
    return checked(changed, expected)


def means(text: str, tables: dict[str, Any]) -> bool:
    """Return whether these tables, and nothing else, are read from a text."""
    try:
        return parse_toml(text) == tables
    except CannotEditError:
        return False


def checked(text: str, expected: dict[str, Any]) -> str:
    """Return the text. Raises CannotEditError if it does not mean what is expected."""
    if not means(text, expected):
        raise CannotEditError("its way of writing cannot be changed without a risk: add the lines by hand")
    return text


def append(text: str, lines: str) -> str:
    """Return the text with further lines behind it, after an empty line."""
    if text and not text.endswith("\n"):
        text += "\n"
    return f"{text}\n{lines}" if text.strip() else text + lines


def _add(text: str, entry: Item | Setting) -> str:
    tables = parse_toml(text)
    if isinstance(entry, Setting):
        value: Any = entry.value
        if look_up(tables, entry.keys) == value:
            return text
    else:
        there = _list_at(tables, entry)
        if entry.value in there:
            return text
        value = [entry.value, *there]
    expected = with_value(tables, entry.keys, value)
    *table, key = entry.keys
    if table and look_up(tables, tuple(table)) is None:
        header = ".".join(map(toml_key, table))
        return checked(
            append(
                text,
                f"[{header}]\n  {toml_key(key)} = {format_toml(tuple(value) if isinstance(value, list) else value)}\n",
            ),
            expected,
        )
    return edit(text, expected, lambda document: _put(document, entry))


def _put(document: Any, entry: Item | Setting) -> None:
    *tables, key = entry.keys
    for table in tables:
        document = document[table]
    if isinstance(entry, Item) and key in document:
        document[key].insert(0, entry.value)
    else:
        document[key] = entry.value if isinstance(entry, Setting) else [entry.value]


def _remove(text: str, entry: Item | Setting) -> str:
    tables = parse_toml(text)
    if isinstance(entry, Setting):
        if look_up(tables, entry.keys) != entry.value:
            return text  # somebody set something else meanwhile
        value: Any = entry.former
    else:
        there = _list_at(tables, entry)
        if entry.value not in there:
            return text
        value = [one for one in there if one != entry.value] or None
    expected = with_value(tables, entry.keys, value)
    return edit(text, expected, lambda document: _take(document, entry, value))


def _take(document: Any, entry: Item | Setting, value: Any) -> None:
    *tables, key = entry.keys
    ways = [document]
    for table in tables:
        ways.append(ways[-1][table])
    if value is None:
        del ways[-1][key]
        for way, table in zip(reversed(ways[:-1]), reversed(tables), strict=True):
            if not way[table]:
                del way[table]
    elif isinstance(entry, Setting):
        ways[-1][key] = value
    else:
        while entry.value in ways[-1][key]:
            ways[-1][key].remove(entry.value)


def _list_at(tables: dict[str, Any], item: Item) -> list[str]:
    found = look_up(tables, item.keys)
    if found is not None and (not isinstance(found, list) or not all(isinstance(one, str) for one in found)):
        raise CannotEditError(f"{'.'.join(item.keys)} is no list of texts: correct it first")
    return found or []
