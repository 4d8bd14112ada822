"""Write a dict as TOML, as far as configuration files need it. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["format_toml"]


def format_toml(document: Mapping[str, Any]) -> str:
    """Tables for dicts, inline ones within lists; JSON notation for strings, numbers, booleans and lists of them."""
    return "\n".join(_format_table((), document)) + "\n"


def _format_table(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    lines = [f"[{'.'.join(_format_key(part) for part in path)}]"] if path else []
    lines += [f"{_format_key(key)} = {_format_value(value)}" for key, value in table.items() if not _is_table(value)]
    for key, value in table.items():
        if _is_table(value):
            lines += ["", *_format_table((*path, key), value)]
    return lines


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_format_key(key)} = {_format_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_format_value, value)) + "]"
    return json.dumps(value)


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _format_key(key: str) -> str:
    return key if key.replace("_", "a").isalnum() and key.isascii() else json.dumps(key)
