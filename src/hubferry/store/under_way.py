"""The blobs that are being filled in a cache folder, by whichever process: what each is, and how far it has come.

Read from the partial files, their locks and sidecars. Blocks, and raises nothing: what cannot be read is left out.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hubferry.store.layout import Layout, front, is_companion, sidecar
from hubferry.store.ledger import Transact, is_locked
from hubferry.store.partial import AHEAD_MODE, read_sidecar

MOST_FILES = 2000  # that are looked at


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A blob that is being filled. `at_bytes` of its `size_bytes` (None: not known) are there."""

    upstream: str
    digest: str
    at_bytes: int
    size_bytes: int | None


def under_way(layout: Layout) -> list[UnderWay]:
    """Return the blobs whose partial files are locked by a process that writes them."""
    found = (_look(path) for path in islice(_files(layout.partial), MOST_FILES))
    return [one for one in found if one is not None]


def images_of(transact: Transact, digests: list[str]) -> dict[str, str]:
    """Return for blobs an image that each belongs to, as `UPSTREAM/REPOSITORY:TAG`; what is not known is left out."""
    return transact(lambda db: {one: name for one in digests if (name := _image(db, one))}) or {}


def _files(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if not is_companion(entry.name) and not entry.name.startswith("."):
                yield Path(entry.path)


def _look(path: Path) -> UnderWay | None:
    try:
        if not is_locked(path, alone=True):
            return None
        said = read_sidecar(sidecar(path))
        upstream, digest, size_bytes = said["upstream"], said["digest"], said["size_bytes"]
        seen = path.stat()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not (isinstance(upstream, str) and isinstance(digest, str) and isinstance(size_bytes, int | None)):
        return None
    at_bytes = seen.st_size
    if seen.st_mode & AHEAD_MODE and front(path).exists():  # its length says nothing: ranges were written ahead
        at_bytes = min(seen.st_blocks * 512, seen.st_size)
    return UnderWay(upstream, digest, at_bytes if size_bytes is None else min(at_bytes, size_bytes), size_bytes)


def _image(db: sqlite3.Connection, digest: str) -> str:
    """Return the name of an image whose manifest refers to a blob, preferably with a tag; empty: none is known."""
    sql = (
        "SELECT m.upstream, m.repository, t.tag FROM parts AS p JOIN manifests AS m ON m.digest = p.parent "
        "LEFT JOIN parts AS i ON i.child = m.digest "
        "LEFT JOIN tags AS t ON (t.upstream, t.repository) = (m.upstream, m.repository) "
        "AND t.digest IN (m.digest, i.parent) WHERE p.child = ? ORDER BY t.confirmed_at DESC LIMIT 1"
    )
    row = db.execute(sql, (digest,)).fetchone()
    return "" if row is None else f"{row[0]}/{row[1]}" + (f":{row[2]}" if row[2] else "")
