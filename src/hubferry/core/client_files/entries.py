"""What is to stand in a file: entries, files, and the plan for a client. Values only.

An entry is the smallest thing that is added to a file and can be taken out of it again.
"""

from dataclasses import dataclass
from typing import Literal

Format = Literal["json", "toml", "yaml", "hosts.toml", "registries.conf"]
When = Literal["always", "list", "no list"]


class CannotEditError(ValueError):
    """A file is not what it should be, or cannot be changed without a risk. The message says what to do."""


@dataclass(frozen=True)
class Item:
    """A text that is to be in the list at `keys`, as its first if it is not there yet.

    `when` says on which condition: always, only into a list that there is, or only into one that there is not.
    """

    keys: tuple[str, ...]
    value: str
    when: When = "always"


@dataclass(frozen=True)
class Setting:
    """The value that is to be at `keys`; `former` is the one that stood there before, None if there was none."""

    keys: tuple[str, ...]
    value: str | bool
    former: str | bool | None = None


@dataclass(frozen=True)
class Host:
    """A `[host."URL"]` table of a hosts.toml, before all others."""

    url: str
    capabilities: tuple[str, ...]


@dataclass(frozen=True)
class Mirror:
    """A `[[registry.mirror]]` of the `[[registry]]` with this name, before all its others."""

    registry: str
    location: str
    is_insecure: bool


Entry = Item | Setting | Host | Mirror


@dataclass(frozen=True)
class FileWish:
    """A file of a client, as an absolute path, and what is to stand in it.

    `head` begins a file that is made new.
    """

    path: str
    format: Format
    entries: tuple[Entry, ...]
    head: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything for one client: its files, how to see that it works, and what else to know."""

    files: tuple[FileWish, ...]
    checks: tuple[str, ...]
    notes: tuple[str, ...] = ()
