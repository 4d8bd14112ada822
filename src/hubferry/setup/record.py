"""The record of what `hubferry setup` did for a client, so that it can be undone: JSON, in the folder of the client.

Pure. A file is known by the digest of the text that it was given; its former text is in FILE.before-hubferry. The
record has the gateway's address, perhaps with a secret, so only its owner may read it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, get_args

from hubferry.core.client_files import CannotEditError, Entry, Host, Item, Mirror, Setting
from hubferry.core.client_files.entries import Format, When
from hubferry.core.documents import parse_json

BACKUP = ".before-hubferry"
FOLDERS = {
    "docker": "/etc/docker",
    "containerd": "/etc/containerd",
    "podman": "/etc/containers",
    "crio": "/etc/containers",
    "k3s": "/etc/rancher/k3s",
    "buildkit": "/etc/buildkit",
}
_NAMES = {Item: "item", Setting: "setting", Host: "host", Mirror: "mirror"}


@dataclass(frozen=True)
class DoneFile:
    """What was done to a file.

    `mode` are the bits that it had before, None if it was not there; `written` is the digest of the text it was given.
    """

    path: str
    format: Format
    entries: tuple[Entry, ...]
    head: str
    mode: int | None
    written: str


@dataclass(frozen=True)
class Record:
    """All files of a client, and the folders that were made for them."""

    files: tuple[DoneFile, ...] = ()
    folders: tuple[str, ...] = ()

    def of(self, path: str) -> DoneFile | None:
        """Return what was done to a file."""
        return next((done for done in self.files if done.path == path), None)


def path_of(client: str) -> str:
    """Return where the record of a client is."""
    return f"{FOLDERS[client]}/hubferry-setup.{client}.json"


def digest_of(text: str) -> str:
    """Return the digest by which a text is known again."""
    return hashlib.sha256(text.encode()).hexdigest()


def format_record(record: Record) -> str:
    """Return the record as text."""
    files = [
        asdict(done) | {"entries": [{"kind": _NAMES[type(one)]} | asdict(one) for one in done.entries]}
        for done in record.files
    ]
    return json.dumps({"files": files, "folders": record.folders}, indent=1) + "\n"


def parse_record(text: str, path: str) -> Record:
    """Return the record that a text is. Raises CannotEditError."""
    try:
        document = parse_json(text.encode())
        folders = tuple(_text(folder) for folder in document["folders"])
        return Record(tuple(_done(row) for row in document["files"]), folders)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CannotEditError(
            f"{path} is no record of hubferry setup: move it away, then put back each FILE{BACKUP} by hand"
        ) from None


def _done(row: dict[str, Any]) -> DoneFile:
    if row["format"] not in get_args(Format):
        raise ValueError("unknown format")
    mode = None if row["mode"] is None else int(row["mode"]) & 0o7777
    entries = tuple(map(_entry, row["entries"]))
    return DoneFile(_text(row["path"]), row["format"], entries, str(row["head"]), mode, _text(row["written"]))


def _entry(row: dict[str, Any]) -> Entry:
    match row["kind"]:
        case "item" if row["when"] in get_args(When):
            return Item(_texts(row["keys"]), _text(row["value"]), row["when"])
        case "setting":
            former = row["former"]
            return Setting(_texts(row["keys"]), _scalar(row["value"]), None if former is None else _scalar(former))
        case "host":
            return Host(_text(row["url"]), _texts(row["capabilities"]))
        case "mirror":
            return Mirror(_text(row["registry"]), _text(row["location"]), row["is_insecure"] is True)
    raise ValueError("unknown kind")


def _texts(values: list[object]) -> tuple[str, ...]:
    return tuple(map(_text, values))


def _scalar(value: object) -> str | bool:
    return value if isinstance(value, bool) else _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value
