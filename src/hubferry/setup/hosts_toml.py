"""Add the gateway to a hosts.toml, before all other hosts, and take it out again.

No I/O. containerd asks the hosts of the file in the order of their tables, so the new one is put before the first.
"""

import re
from typing import Any

from hubferry.core.client_files import CannotEditError, Entry, Host
from hubferry.core.client_files.toml_text import parse_toml, with_value, without_empty
from hubferry.core.values import format_toml
from hubferry.setup.toml import append, checked, cut, edit

_FIRST_HOST = re.compile(r"^[ \t]*\[[ \t]*host\b", re.MULTILINE)


def add_hosts(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text with a table for each host that has none yet. Raises CannotEditError."""
    for entry in entries:
        if isinstance(entry, Host):
            text = _add(text, entry)
    return text


def remove_hosts(text: str, entries: tuple[Entry, ...]) -> str:
    """Return the text without the tables of the hosts. Raises CannotEditError."""
    for entry in entries:
        if isinstance(entry, Host):
            tables = parse_toml(text)
            if entry.url in _hosts(tables):
                removed = with_value(tables, ("host", entry.url), None)
                expected = without_empty(removed, ("host",))
                shorter = cut(text, _block_of(entry), expected, removed)
                text = edit(text, expected, _without(entry.url)) if shorter is None else shorter
    return text


def _add(text: str, host: Host) -> str:
    tables = parse_toml(text)
    hosts = _hosts(tables)
    if host.url in hosts:
        return text
    block = _block_of(host)
    expected = with_value(tables, ("host", host.url), {"capabilities": list(host.capabilities)})
    first = _FIRST_HOST.search(text)
    if hosts and first is not None:
        changed = f"{text[: first.start()]}{block}\n{text[first.start() :]}"
    else:
        changed = append(text, block)
    checked(changed, expected)
    if next(iter(parse_toml(changed)["host"])) != host.url:
        raise CannotEditError("its hosts are not written as tables: put the gateway before them by hand")
    return changed


def _block_of(host: Host) -> str:
    return f"[host.{format_toml(host.url)}]\n  capabilities = {format_toml(host.capabilities)}\n"


def _hosts(tables: dict[str, Any]) -> dict[str, Any]:
    hosts = tables.get("host", {})
    if not isinstance(hosts, dict):
        raise CannotEditError("host is no table: correct it first")
    return hosts


def _without(url: str) -> Any:
    def change(document: Any) -> None:
        del document["host"][url]
        if not document["host"]:
            del document["host"]

    return change
