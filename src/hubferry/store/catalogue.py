"""What is kept, as people know it: images, what they consist of, and how one is removed.

Works beside running servers, which notice within index.REREAD_S. Methods block, and raise StoreFailure when the index
cannot be used. Not here: limits (ledger.py), damage (verify.py).
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hubferry.core.image import ImageName
from hubferry.core.reference import is_digest
from hubferry.ports.content import StoreFailure
from hubferry.store.layout import Layout, is_companion
from hubferry.store.ledger import Ledger, Removed, Transact, remove_unless_locked
from hubferry.store.schema import total_bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeptImage:
    """A tag, or a manifest that no tag leads to. Times are in seconds since 1970; None: not known.

    `size_bytes` is what is kept of the image, `used_at` when a part of it was last wanted. `is_pinned`: it stays,
    whatever room is needed.
    """

    name: ImageName
    digest: str
    size_bytes: int
    used_at: float | None
    confirmed_at: float | None
    is_pinned: bool = False


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A part of an image: a `depth` of 0 is its own manifest, and a size of None means that the part is not kept."""

    digest: str
    depth: int
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """What takes room in a cache folder.

    `size_bytes` is what the ledger counts; the others are numbers of files: finished, partial, in the quarantine.
    """

    size_bytes: int
    contents: int
    under_way: int
    quarantined: int


class Catalogue:
    """The images of one cache folder: listed, looked into, removed."""

    def __init__(self, layout: Layout, transact: Transact, ledger: Ledger) -> None:
        self._layout = layout
        self._transact = transact
        self._ledger = ledger

    def images(self) -> list[KeptImage]:
        """Return every image that has anything in the cache, sorted by name."""
        return sorted(self._ask(_images), key=lambda image: str(image.name))

    def find(self, name: ImageName) -> list[KeptImage]:
        """Return the kept images that a name means: all of its repository when it has neither tag nor digest."""
        return [
            image
            for image in self.images()
            if (image.name.upstream, image.name.repository) == (name.upstream, name.repository)
            and name.reference in ("", image.name.reference, image.digest)
        ]

    def parts(self, digest: str) -> list[TreeEntry]:
        """Return a manifest and everything known that it refers to, one branch after the other."""
        return self._ask(lambda db: list(_tree(db, digest, 0, set())))

    def totals(self) -> Totals:
        """Return how many files of each kind there are, and what they take in bytes."""

        def read(db: sqlite3.Connection) -> Totals:
            under_way = db.execute("SELECT count(*) FROM files WHERE name LIKE 'partial/%'").fetchone()[0]
            every = db.execute("SELECT count(*) FROM files").fetchone()[0]
            return Totals(total_bytes(db), every - under_way, under_way, len(self._quarantined()))

        return self._ask(read)

    def size(self) -> tuple[int, int]:
        """Return how many bytes everything takes, and how many tags have their manifest."""
        sql = "SELECT count(*) FROM tags JOIN manifests USING (upstream, repository, digest)"
        return self._ask(lambda db: (total_bytes(db), int(db.execute(sql).fetchone()[0])))

    def remove(self, images: Iterable[KeptImage]) -> Removed:
        """Forget images, and remove what nothing else refers to. Readers that have it open still get all of it."""

        def forget(db: sqlite3.Connection) -> set[str]:
            return set().union(*(_forget_image(db, image) for image in images))

        orphans = self._ask(forget)
        sizes = self._ask(lambda db: {name: size for name in orphans if (size := _size(db, name)) is not None})
        for digest in sizes:
            with contextlib.suppress(FileNotFoundError):
                self._layout.content(digest).unlink()
        self._ledger.forget(list(sizes))
        return Removed(len(sizes), sum(sizes.values()))

    def pin(self, images: Iterable[KeptImage]) -> None:
        """Keep images, whatever room is needed: what their tags mean now and later. Raises StoreFailure."""
        rows = [_row(image.name) for image in images]

        def write(db: sqlite3.Connection) -> int:
            db.executemany("INSERT OR IGNORE INTO pins VALUES (?, ?, ?)", rows)
            return int(db.execute("SELECT count(*) FROM pins").fetchone()[0])

        self._ask(write)

    def unpin(self, images: Iterable[ImageName]) -> int:
        """Let images make room for others again, and return how many of them were pinned. Raises StoreFailure.

        A name without tag and digest means all of its repository.
        """
        names = list(images)

        def write(db: sqlite3.Connection) -> int:
            sql = "DELETE FROM pins WHERE upstream = ? AND repository = ? AND ? IN ('', reference)"
            return sum(db.execute(sql, _row(name)).rowcount for name in names)

        return self._ask(write)

    def prune(self) -> Removed:
        """Remove what is of no use to anybody: partial files that nobody is filling, and the quarantine."""
        removed = Removed()
        gone = []
        for path in self._files(self._layout.partial):
            if is_companion(path.name) or path.name.startswith("."):
                continue  # it is removed together with its file, and may be gone already
            size_bytes = path.stat().st_size
            if remove_unless_locked(path):
                gone.append(f"partial/{path.name}")
                removed += Removed(1, size_bytes)
        self._ledger.forget(gone)
        for path in self._quarantined():
            removed += Removed(1, path.stat().st_size)
            path.unlink()
        return removed

    def _quarantined(self) -> list[Path]:
        return self._files(self._layout.quarantine)

    def _files(self, folder: Path) -> list[Path]:
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _ask(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Perform work on the index, and return its result. Raises StoreFailure when the index cannot be used."""
        found = self._transact(read)
        if found is None:
            raise StoreFailure(f"{self._layout.index} cannot be used: is it readable, and is the disk full?")
        return found


def _row(name: ImageName) -> tuple[str, str, str]:
    return (name.upstream, name.repository, name.reference)


def _images(db: sqlite3.Connection) -> list[KeptImage]:
    """Return the tags whose manifests are held, and the manifests that no tag, index or list leads to."""
    pinned = set(db.execute("SELECT upstream, repository, reference FROM pins").fetchall())
    sql = """
        SELECT upstream, repository, tag, digest, confirmed_at FROM tags
        JOIN manifests USING (upstream, repository, digest)
        UNION ALL
        SELECT upstream, repository, digest, digest, NULL FROM manifests AS m WHERE NOT EXISTS (
            SELECT 1 FROM tags AS t
            WHERE (t.upstream, t.repository, t.digest) = (m.upstream, m.repository, m.digest)
        ) AND NOT EXISTS (
            SELECT 1 FROM parts JOIN manifests AS p ON p.digest = parent
            WHERE child = m.digest AND (p.upstream, p.repository) = (m.upstream, m.repository)
        ) AND NOT EXISTS (
            SELECT 1 FROM parts JOIN lists AS l ON l.digest = parent
            WHERE child = m.digest AND (l.upstream, l.repository) = (m.upstream, m.repository)
        )
    """
    found = []
    for upstream, repository, shown, digest, confirmed_at in db.execute(sql).fetchall():
        rows = [_file(db, name) for name in _reach(db, [digest])]
        kept = [row for row in rows if row is not None]
        size_bytes, used_at = sum(size for size, _ in kept), max((used for _, used in kept), default=None)
        if size_bytes:
            name = ImageName(upstream, repository, shown)
            found.append(KeptImage(name, digest, size_bytes, used_at, confirmed_at, _row(name) in pinned))
    return found


def _reach(db: sqlite3.Connection, digests: Iterable[str]) -> set[str]:
    """Return the digests and everything that they refer to, directly or through others."""
    found: set[str] = set()
    ahead = list(digests)
    while ahead:
        digest = ahead.pop()
        if digest not in found:
            found.add(digest)
            ahead += [row[0] for row in db.execute("SELECT child FROM parts WHERE parent = ?", (digest,))]
    return found


def _tree(db: sqlite3.Connection, digest: str, depth: int, seen: set[str]) -> Iterable[TreeEntry]:
    """Yield a manifest and what it refers to, each digest once."""
    seen.add(digest)
    yield TreeEntry(digest, depth, _size(db, digest))
    for (child,) in db.execute("SELECT child FROM parts WHERE parent = ?", (digest,)).fetchall():
        if child not in seen:
            yield from _tree(db, child, depth + 1, seen)


def _file(db: sqlite3.Connection, name: str) -> tuple[int, float] | None:
    """Return the size in bytes and the last use of what is kept under a name; None: not kept."""
    row: tuple[int, float] | None = db.execute(
        "SELECT size_bytes, used_at FROM files WHERE name = ?", (name,)
    ).fetchone()
    return row


def _size(db: sqlite3.Connection, name: str) -> int | None:
    row = _file(db, name)
    return None if row is None else row[0]


def _forget_image(db: sqlite3.Connection, image: KeptImage) -> set[str]:
    """Delete an image from the rows of its repository.

    Returns the digests that no repository and no other manifest refers to any more.
    """
    place = (image.name.upstream, image.name.repository)
    db.execute("DELETE FROM pins WHERE (upstream, repository, reference) = (?, ?, ?)", _row(image.name))
    if not is_digest(image.name.reference):
        sql = "DELETE FROM tags WHERE (upstream, repository, tag) = (?, ?, ?)"
        db.execute(sql, (*place, image.name.reference))
    doomed = _reach(db, [image.digest])
    of_place = "WHERE (upstream, repository) = (?, ?)"
    about = f"SELECT digest FROM lists {of_place} AND subject = ? AND digest != ''"  # noqa: S608
    lists = [row[0] for subject in doomed for row in db.execute(about, (*place, subject))]
    doomed |= _reach(db, lists)
    tagged = [row[0] for row in db.execute(f"SELECT digest FROM tags {of_place}", place)]  # noqa: S608
    held = [row[0] for row in db.execute(f"SELECT digest FROM manifests {of_place}", place)]  # noqa: S608
    doomed -= _reach(db, [*tagged, *(digest for digest in held if digest not in doomed)])
    rows = [(*place, digest) for digest in doomed]
    db.executemany("DELETE FROM lists WHERE (upstream, repository, subject) = (?, ?, ?)", rows)
    for table in ("manifests", "blobs"):
        db.executemany(f"DELETE FROM {table} WHERE (upstream, repository, digest) = (?, ?, ?)", rows)  # noqa: S608
    return {digest for digest in doomed if not _is_wanted(db, digest, doomed)}


def _is_wanted(db: sqlite3.Connection, digest: str, doomed: set[str]) -> bool:
    """Return whether any repository, or a kept manifest that is not doomed, still refers to a digest."""
    for table in ("manifests", "blobs", "lists"):
        if db.execute(f"SELECT 1 FROM {table} WHERE digest = ? LIMIT 1", (digest,)).fetchone():  # noqa: S608
            return True
    parents = db.execute("SELECT parent FROM parts JOIN files ON name = parent WHERE child = ?", (digest,))
    return any(parent not in doomed for (parent,) in parents)
