"""Add settings and list items to TOML, and take them out again; comments and everything else stay as they are.

No I/O. A table that is not there yet is put behind the text as it is; only in a table that is there tomlkit writes.
"""

from collections.abc import Callable
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from hubferry.core.client_files import CannotEditError, Entry, Item, Setting
from hubferry.core.client_files.toml_text import look_up, parse_toml, with_value, without_empty
from hubferry.core.values import format_toml, toml_key

BY_HAND = "its way of writing cannot be changed without a risk: change the lines by hand"


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


def edit(text: str, expected: dict[str, Any] | None, change: Callable[[Any], None]) -> str:
    """Return the text after `change` of its tomlkit document.

    Raises CannotEditError if it does not mean what is expected then. None: the caller looks.
    """
    try:
        document = tomlkit.parse(text)
        change(document)
        changed = tomlkit.dumps(document)
    except (TOMLKitError, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        raise CannotEditError(BY_HAND) from None
    return changed if expected is None else checked(changed, expected)


def means(text: str, tables: dict[str, Any]) -> bool:
    """Return whether these tables, and nothing else, are read from a text."""
    try:
        return parse_toml(text) == tables
    except CannotEditError:
        return False


def checked(text: str, expected: dict[str, Any]) -> str:
    """Return the text. Raises CannotEditError if it does not mean what is expected."""
    if not means(text, expected):
        raise CannotEditError(BY_HAND)
    return text


def cut(text: str, lines: str, *expected: dict[str, Any]) -> str | None:
    """Return the text without lines that `append` put into it, if it means one of what is expected then.

    None: they are not there as they were put. Comments behind them stay, which tomlkit takes out with a table.
    """
    whole = f"\n{text}"
    for block in (f"\n\n{lines}", f"\n{lines}"):
        shorter = whole.replace(block, "\n", 1).removeprefix("\n")
        if block in whole and any(means(shorter, tables) for tables in expected):
            return shorter
    return None


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
    table = entry.keys[:-1]
    if table and look_up(tables, table) is None:
        return checked(append(text, _table_of(entry)), expected)
    return edit(text, expected, lambda document: _put(document, entry))


def _table_of(entry: Item | Setting) -> str:
    """Return the lines of a table that has nothing but the entry."""
    *table, key = entry.keys
    value = (entry.value,) if isinstance(entry, Item) else entry.value
    return f"[{'.'.join(map(toml_key, table))}]\n  {toml_key(key)} = {format_toml(value)}\n"


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
    bare = without_empty(expected, entry.keys[:-1]) if value is None else expected
    if (shorter := cut(text, _table_of(entry), bare, expected)) is not None:
        return shorter
    changed = edit(text, None, lambda document: _take(document, entry, value))
    return changed if means(changed, expected) else checked(changed, bare)


def _take(document: Any, entry: Item | Setting, value: Any) -> None:
    *tables, key = entry.keys
    for table in tables:
        document = document[table]
    if value is None:
        del document[key]
    elif isinstance(entry, Setting):
        document[key] = value
    else:
        while entry.value in document[key]:
            document[key].remove(entry.value)


def _list_at(tables: dict[str, Any], item: Item) -> list[str]:
    found = look_up(tables, item.keys)
    if found is not None and (not isinstance(found, list) or not all(isinstance(one, str) for one in found)):
        raise CannotEditError(f"{'.'.join(item.keys)} is no list of texts: correct it first")
    return found or []
