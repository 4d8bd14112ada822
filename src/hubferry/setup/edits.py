"""Which functions add entries to a text of a format, and take them out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hubferry.core.client_files.entries import CannotEditError, Entry, Format
from hubferry.core.client_files.json_text import add_items, remove_items
from hubferry.setup.hosts_toml import add_hosts, remove_hosts
from hubferry.setup.registries_conf import add_mirrors, remove_mirrors
from hubferry.setup.toml import add_settings, remove_settings
from hubferry.setup.yaml import add_texts, remove_texts

Change = Callable[[str, tuple[Entry, ...]], str]


@dataclass(frozen=True)
class Editor:
    """`add` and `remove` return a text with and without entries. Both raise CannotEditError."""

    add: Change
    remove: Change


EDITORS: Mapping[Format, Editor] = MappingProxyType(
    {
        "json": Editor(add_items, remove_items),
        "toml": Editor(add_settings, remove_settings),
        "yaml": Editor(add_texts, remove_texts),
        "hosts.toml": Editor(add_hosts, remove_hosts),
        "registries.conf": Editor(add_mirrors, remove_mirrors),
    }
)


def has_entries(format_: Format, text: str, entries: tuple[Entry, ...]) -> bool:
    """Return whether nothing has to be added to a text."""
    try:
        return EDITORS[format_].add(text, entries) == text
    except CannotEditError:
        return False
