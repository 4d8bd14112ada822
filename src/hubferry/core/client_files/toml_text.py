"""Read the TOML of others, bounded, and describe what it has to become when something is added.

Pure. What is added is checked by comparing tables: whatever changes a text, tomllib reads from it exactly what was
expected, or the text is not used.
"""

import copy
import tomllib
from typing import Any

from hubferry.core.client_files.entries import CannotEditError

MAX_LINE = 4096  # tomllib takes time by the square of how long a dotted key is


def parse_toml(text: str, where: str = "it") -> dict[str, Any]:
    """Return the tables of a text. Raises CannotEditError, which says `where` something is wrong."""
    if any(len(line) > MAX_LINE for line in text.splitlines()):
        raise CannotEditError(f"{where} has a line of more than {MAX_LINE} characters: write it in several lines")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CannotEditError(f"{where} is not TOML ({error}): correct it first") from None


def look_up(tables: dict[str, Any], keys: tuple[str, ...]) -> Any:
    """Return the value at some keys, None if there is none."""
    found: Any = tables
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def with_value(tables: dict[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a copy with another value at some keys; None takes it out.

    Raises CannotEditError if something on the way is no table.
    """
    found = copy.deepcopy(tables)
    ways = [found]
    for key in keys[:-1]:
        following = ways[-1].setdefault(key, {})
        if not isinstance(following, dict):
            raise CannotEditError(f"{key} is no table: correct it first")
        ways.append(following)
    if value is None:
        ways[-1].pop(keys[-1], None)
    else:
        ways[-1][keys[-1]] = value
    return found


def without_empty(tables: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return a copy without the tables at some keys, from the innermost one outwards, as far as they are empty."""
    while keys and look_up(tables, keys) == {}:
        tables = with_value(tables, keys, None)
        keys = keys[:-1]
    return tables
