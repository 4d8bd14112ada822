"""The ledger: what is kept, how large it is, when it was last wanted, and what must go to make room.

It has one row for each file that takes room: content under its digest, a partial file under `partial/FILE`. A partial
file is counted with the room that it was given so far, which grows as its bytes arrive (core/reservation.py). A row is
there before its bytes are, so that the sum is never less than what is on the disk. A crash in between leaves a row
without a file, or one under its old name, which the next count puts right.

What was wanted longest ago goes first. To want a manifest is to want what it refers to, down to the layers: a node
that only asks whether its image has changed keeps the whole of it. What a pinned image consists of stays. A file that
is being read or written is locked and stays. That nobody holds a lock for nothing is the server's task: it cuts off
clients that take nothing (core/client_rate.py). Methods block and are meant for threads, except `touch`.

Not here: the connection to the index (index.py), how the files are made (content.py, partial.py), comparing rows with
the disk (housekeeping.py).
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from hubferry.core.manifest import parts_of
from hubferry.core.reference import is_digest
from hubferry.core.values import Size
from hubferry.ports.content import LargerThanCache, NoRoom, StoreFailure
from hubferry.store.layout import Layout, front, is_gone, occupied_bytes, sidecar
from hubferry.store.schema import is_counted, total_bytes

# the tables and columns that are cleared of a name that is no longer kept
FORGOTTEN = (
    ("files", "name"), ("parts", "parent"), ("blobs", "digest"), ("manifests", "digest"), ("tags", "digest"),
    ("lists", "digest"), ("lists", "subject"),
)  # fmt: skip
VICTIMS = 64  # how many files that might be removed are read from the index together
MAX_LOOKS = 4096  # how many of them are looked at, at most, to find out whether there can be room
DEPTH = 2  # levels from what is wanted to what is kept with it: index, image, layers; or list, signature, its blobs

T = TypeVar("T")


class Transact(Protocol):
    """Performs work on the index in one transaction. Blocks. Returns None when the index cannot be used."""

    def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> T | None:
        """Begin a transaction, call `work`, commit, and return what `work` returned."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much may be kept, and how much is always left free on the disk, in bytes."""

    max_size_bytes: int
    min_free_bytes: int


@dataclass(frozen=True, slots=True)
class Removed:
    """What an eviction or a clean-up removed: how many files, and their size in bytes."""

    files: int = 0
    size_bytes: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        return Removed(self.files + other.files, self.size_bytes + other.size_bytes)


class Ledger:
    """The account of one cache folder; several processes may keep it together."""

    def __init__(
        self,
        layout: Layout,
        transact: Transact,
        limits: CacheLimits,
        *,
        now: Callable[[], float] = time.time,
        evicted: Callable[[Removed], None] = lambda _: None,
    ) -> None:
        """`evicted` is called with what had to go."""
        self._layout = layout
        self._transact = transact
        self._limits = limits
        self._now = now
        self._evicted = evicted
        self._lock = threading.Lock()  # guards the next line
        self._wanted: dict[str, float] = {}

    def touch(self, name: str) -> None:
        """Note that something is wanted now. Does not block: `flush` writes it down."""
        with self._lock:
            self._wanted[name] = self._now()

    def flush(self) -> None:
        """Write down what was wanted since the last flush."""
        with self._lock:
            wanted, self._wanted = self._wanted, {}
        if wanted:
            self._transact(lambda db: _note_wanted(db, wanted))

    def check_room(self, name: str, length_bytes: int) -> None:
        """Find out whether there can be room for a file of `length_bytes`. Removes nothing.

        Raises NoRoom when there cannot be, even without all that is not in use, and StoreFailure.
        """
        wanted = self._fitting(length_bytes)
        excess = self._transact(lambda db: self._excess_bytes(db, name, wanted))
        if excess is None:
            raise self._unusable()
        missing = max(excess, self._missing_bytes(name, wanted))
        if missing > 0 and not self._can_go(missing, spare=name):
            raise self._full(wanted)

    def reserve(self, name: str, length_bytes: int) -> None:
        """Make room for a file of `length_bytes`, and count it from now on. Raises StoreFailure, NoRoom.

        A file that is counted already is counted with its new length.
        """
        self.flush()
        wanted = self._fitting(length_bytes)
        self._make_free(name, wanted)
        while True:
            excess = self._transact(lambda db: self._try_reserve(db, name, wanted))
            if excess is None:
                raise self._unusable()
            if excess <= 0:
                return
            if not self.make_room(excess, spare=name).files:
                raise self._full(wanted)

    def _fitting(self, length_bytes: int) -> int:
        """Return what a file of that length takes on the disk.

        Raises LargerThanCache when that is more than everything together may take.
        """
        wanted = occupied_bytes(length_bytes)
        if wanted > self._limits.max_size_bytes:
            allowed = Size(self._limits.max_size_bytes)
            raise LargerThanCache(f"{Size(wanted)} is more than cache.max_size allows ({allowed})")
        return wanted

    def _unusable(self) -> StoreFailure:
        return StoreFailure(f"{self._layout.index} cannot be used, and without it nothing is kept")

    def _full(self, wanted_bytes: int) -> NoRoom:
        limits = self._limits
        return NoRoom(
            f"everything in {self._layout.folder} is in use or pinned, and within "
            f"cache.max_size ({Size(limits.max_size_bytes)}) and cache.min_free ({Size(limits.min_free_bytes)}) "
            f"there is no room for {Size(wanted_bytes)} more"
        )

    def _can_go(self, size_bytes: int, *, spare: str) -> bool:
        """Return whether `size_bytes` of files are not in use.

        True as well when MAX_LOOKS files are too few to tell.
        """
        coldest = self._transact(lambda db: _coldest(db, MAX_LOOKS, None)) or []
        for name, size in coldest:
            if name != spare and not is_locked(self._layout.file(name), alone=not is_digest(name)):
                size_bytes -= size
                if size_bytes <= 0:
                    return True
        return len(coldest) == MAX_LOOKS

    def _excess_bytes(self, db: sqlite3.Connection, name: str, wanted_bytes: int) -> int:
        """Return how much has to go before a file fits within max_size.

        Raises NoRoom while nobody knows what is there.
        """
        if not is_counted(db):
            raise NoRoom("what is kept is still being counted, because its index was lost")
        row = db.execute("SELECT size_bytes FROM files WHERE name = ?", (name,)).fetchone()
        return total_bytes(db) - (int(row[0]) if row else 0) + wanted_bytes - self._limits.max_size_bytes

    def _try_reserve(self, db: sqlite3.Connection, name: str, wanted_bytes: int) -> int:
        """Count a file when it fits, and return by how many bytes it does not fit (0 or less: it fits)."""
        db.execute("BEGIN IMMEDIATE")
        excess = self._excess_bytes(db, name, wanted_bytes)
        if excess <= 0:
            put_row(db, name, wanted_bytes, self._now())
        return excess

    def _make_free(self, name: str, wanted_bytes: int) -> None:
        """Leave min_free on the disk, by removing what was wanted longest ago if need be. Raises NoRoom."""
        while (missing := self._missing_bytes(name, wanted_bytes)) > 0:
            if not self.make_room(missing, spare=name).files:
                raise NoRoom(
                    f"{self._layout.folder} has {Size(self._free_bytes())} free: too little for {Size(wanted_bytes)} "
                    f"more and cache.min_free ({Size(self._limits.min_free_bytes)})"
                )

    def _missing_bytes(self, name: str, wanted_bytes: int) -> int:
        """Return how much the disk lacks for a file that will take `wanted_bytes`, and for min_free."""
        held_bytes = 0
        with contextlib.suppress(OSError):
            held_bytes = self._layout.file(name).stat().st_blocks * 512
        return wanted_bytes - held_bytes + self._limits.min_free_bytes - self._free_bytes()

    def _free_bytes(self) -> int:
        """Return how much is free on the disk. Raises StoreFailure."""
        try:
            self._layout.folder.mkdir(parents=True, exist_ok=True)
            stat = os.statvfs(self._layout.folder)
        except OSError as error:
            raise StoreFailure(f"{self._layout.folder} cannot be used: {error.strerror}") from None
        return stat.f_bavail * stat.f_frsize

    def rename(self, name: str, digest: str, length_bytes: int) -> None:
        """Count a partial file that was reserved as `name` as content, under its digest."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM files WHERE name = ?", (name,))
            put_row(db, digest, occupied_bytes(length_bytes), self._now())

        self._transact(write)

    def note_parts(self, digest: str, manifest: bytes) -> None:
        """Remember what a kept manifest refers to."""
        rows = [(digest, part) for part in parts_of(manifest)]
        if rows:
            self._transact(lambda db: db.executemany("INSERT OR IGNORE INTO parts VALUES (?, ?)", rows))

    def make_room(self, size_bytes: int, *, spare: str = "", unused_since: float | None = None) -> Removed:
        """Remove what was wanted longest ago until `size_bytes` are gone, or until nothing is left that may go.

        `spare` stays. `unused_since` (seconds since 1970) keeps whatever was wanted later. Returns what was removed.
        """
        self.flush()
        removed = Removed()
        in_use = {spare} if spare else set()
        while removed.size_bytes < size_bytes:
            coldest = self._transact(lambda db: _coldest(db, VICTIMS + len(in_use), unused_since)) or []
            candidates = [row for row in coldest if row[0] not in in_use][:VICTIMS]
            if not candidates:
                break
            for name, size in candidates:
                if removed.size_bytes >= size_bytes:
                    break
                if self.remove_file(name):
                    self.forget([name])  # at once: when it is written again meanwhile, its new row must stay
                    removed += Removed(1, size)
                else:
                    in_use.add(name)
        if removed.files:
            self._evicted(removed)
        return removed

    def shrink(self) -> Removed:
        """Remove what exceeds max_size, such as after that was lowered, and return what was removed."""
        excess = self._transact(lambda db: total_bytes(db) - self._limits.max_size_bytes)
        return self.make_room(excess) if excess is not None and excess > 0 else Removed()

    def remove_file(self, name: str) -> bool:
        """Remove the file of a name, and return whether it is gone; not when it is being read or written."""
        return remove_unless_locked(self._layout.file(name))

    def forget(self, names: Sequence[str]) -> None:
        """Delete the rows of files that are gone, and what is known only for their sake."""
        if names:
            self._transact(lambda db: forget_rows(db, names))


def remove_unless_locked(path: Path) -> bool:
    """Remove a file with its companions, and return whether it is gone.

    It stays when somebody holds a lock on it, or when it cannot be removed.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return is_gone(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), path.stat()):  # it has got its final name, or was replaced
            return False
        sidecar(path).unlink(missing_ok=True)
        front(path).unlink(missing_ok=True)
        path.unlink()
    except OSError:
        return is_gone(path)
    else:
        return True
    finally:
        os.close(descriptor)


def is_locked(path: Path, *, alone: bool) -> bool:
    """Return whether a lock keeps a file from being removed; one that is gone is not locked.

    `alone` says that only exclusive locks are held on the file, as on partial files. It is then tested with a shared
    lock, which is enough to find an exclusive one, and which another test at the same moment does not take for a
    writer's.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return not is_gone(path)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if alone else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


# what pinned images consist of: what tag or digest means now, lists of what refers to that, and the parts of both
_PINNED = """
    WITH RECURSIVE roots (digest) AS (
        SELECT t.digest FROM pins AS p JOIN tags AS t
        ON (t.upstream, t.repository, t.tag) = (p.upstream, p.repository, p.reference)
        UNION SELECT reference FROM pins
    ), pinned (digest) AS (
        SELECT digest FROM roots
        UNION SELECT lists.digest FROM lists JOIN roots ON subject = roots.digest WHERE lists.digest != ''
        UNION SELECT child FROM parts JOIN pinned ON parent = pinned.digest
    )
"""


def _coldest(db: sqlite3.Connection, count: int, unused_since: float | None) -> list[tuple[str, int]]:
    """Return the names and sizes of the files that were wanted longest ago, and are not of a pinned image."""
    sql = (
        f"{_PINNED} SELECT name, size_bytes FROM files "  # noqa: S608 - ours
        "WHERE used_at < ? AND name NOT IN (SELECT digest FROM pinned) ORDER BY used_at LIMIT ?"
    )
    return db.execute(sql, (float("inf") if unused_since is None else unused_since, count)).fetchall()


def put_row(db: sqlite3.Connection, name: str, size_bytes: int, used_at: float) -> None:
    """Count a file, or count it anew. Sizes are in bytes, times in seconds since 1970.

    The last use of a file that is counted already only becomes later.
    """
    sql = (
        "INSERT INTO files VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
        "SET size_bytes = excluded.size_bytes, used_at = max(used_at, excluded.used_at)"
    )
    db.execute(sql, (name, size_bytes, used_at))


def _note_wanted(db: sqlite3.Connection, wanted: Mapping[str, float]) -> None:
    """Write down the last use of files, and of what they refer to.

    That is the manifests of an index, and the layers of a manifest.
    """
    sql = f"""
        UPDATE files SET used_at = max(used_at, :at) WHERE name IN (
            WITH RECURSIVE needed (digest, depth) AS (
                VALUES (:name, 0)
                UNION SELECT child, depth + 1 FROM parts JOIN needed ON parent = digest WHERE depth < {DEPTH}
            ) SELECT digest FROM needed
        )
    """  # noqa: S608 - the depth is ours
    db.executemany(sql, [{"name": name, "at": at} for name, at in wanted.items()])


def forget_rows(db: sqlite3.Connection, names: Sequence[str]) -> None:
    """Delete the rows of files that are gone, and what is known only for their sake."""
    rows = [(name,) for name in names]
    for table, column in FORGOTTEN:
        db.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)  # noqa: S608 - the names are ours
