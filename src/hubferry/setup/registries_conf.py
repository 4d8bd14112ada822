"""Add mirrors to a containers-registries.conf(5), before the other mirrors of a registry, and take them out again.

No I/O. The lines are put behind those of the registry itself, before its first mirror, or behind the text if it has no
such registry. They are taken out as they were put in; if somebody has changed them, tomlkit takes them out.
"""

import copy
import re
from typing import Any

from hubferry.core.client_files import CannotEditError, Entry, Mirror
from hubferry.core.client_files.toml_text import parse_toml
from hubferry.core.values import format_toml
from hubferry.setup.toml import append, checked, cut, edit, means

_HEADER = re.compile(r"[ \t]*\[\[[ \t]*registry[ \t]*\]\]")


def add_mirrors(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text with each mirror that is not there yet. Raises CannotEditError."""
    for entry in entries:
        if isinstance(entry, Mirror):
            text = _add(text, entry)
    return text


def remove_mirrors(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text without the mirrors, and without registries that nothing else is said of. CannotEditError."""
    for entry in entries:
        if isinstance(entry, Mirror):
            text = _remove(text, entry)
    return text


def _add(text: str, mirror: Mirror) -> str:
    tables = parse_toml(text)
    number = _find(tables, mirror.registry)
    table = _table_of(mirror)
    expected = copy.deepcopy(tables)
    if number is None:
        expected.setdefault("registry", []).append({"location": mirror.registry, "mirror": [table]})
        return checked(append(text, _registry_of(mirror) + _block_of(mirror)), expected)
    mirrors = expected["registry"][number].setdefault("mirror", [])
    if any(one.get("location") == mirror.location for one in mirrors if isinstance(one, dict)):
        return text
    mirrors.insert(0, table)
    inserted = _inserted(text, number, _block_of(mirror))
    if means(inserted, expected):
        return inserted
    return edit(text, expected, lambda document: document["registry"][number]["mirror"].insert(0, table))


def _inserted(text: str, number: int, block: str) -> str:
    """Return the text with lines behind the own lines of its registry of a number."""
    lines = text.splitlines(keepends=True)
    headers = [at for at, line in enumerate(lines) if line.lstrip().startswith("[")]
    registries = [at for at in headers if _HEADER.match(lines[at])]
    if number >= len(registries):
        return ""
    end = next((at for at in headers if at > registries[number]), len(lines))
    while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
        end -= 1
    before = "".join(lines[:end])
    return before + ("" if before.endswith("\n") else "\n") + block + "".join(lines[end:])


def _remove(text: str, mirror: Mirror) -> str:
    tables = parse_toml(text)
    number = _find(tables, mirror.registry)
    if number is None:
        return text
    expected = copy.deepcopy(tables)
    registry = expected["registry"][number]
    places = [at for at, one in enumerate(registry.get("mirror", ())) if one.get("location") == mirror.location]
    if not places:
        return text
    del registry["mirror"][places[0]]
    if not registry["mirror"]:
        del registry["mirror"]
    is_bare = set(registry) <= {"location", "prefix"} and len(set(registry.values())) == 1
    if is_bare:
        del expected["registry"][number]
    if not expected["registry"]:
        del expected["registry"]
    lines = (_registry_of(mirror) if is_bare else "") + _block_of(mirror)
    if (shorter := cut(text, lines, expected)) is not None:
        return shorter
    return edit(text, expected, lambda document: _take(document, number, places[0], is_bare=is_bare))


def _take(document: Any, number: int, place: int, *, is_bare: bool) -> None:
    registry = document["registry"][number]
    if not is_bare:
        del registry["mirror"][place]
        if not registry["mirror"]:
            del registry["mirror"]
        return
    del document["registry"][number]
    if not document["registry"]:
        del document["registry"]


def _find(tables: dict[str, Any], name: str) -> int | None:
    """Return which of the registries is the one of a name."""
    registries = tables.get("registry", [])
    if not isinstance(registries, list) or not all(isinstance(one, dict) for one in registries):
        raise CannotEditError("registry is no list of tables: write [[registry]]")
    found = [at for at, one in enumerate(registries) if (one.get("prefix") or one.get("location")) == name]
    return found[0] if found else None


def _table_of(mirror: Mirror) -> dict[str, Any]:
    return {"location": mirror.location} | ({"insecure": True} if mirror.is_insecure else {})


def _registry_of(mirror: Mirror) -> str:
    return f"[[registry]]\nlocation = {format_toml(mirror.registry)}\n"


def _block_of(mirror: Mirror) -> str:
    lines = [f"{key} = {format_toml(value)}\n" for key, value in _table_of(mirror).items()]
    return f"[[registry.mirror]]\n{''.join(lines)}"
