"""The `BlobIndex` port on SQLite, with recent answers in memory.

There is one connection, on one thread; write-ahead logging lets several worker processes share the file. Another
process's changes are seen within REREAD_S, because what is in memory is only believed for that long. The age of a tag
counts from its upstream's confirmation either way. A file that is no database is set aside and another one is begun:
nothing in it is needed. Not here: who may have what is kept (right_rows.py).
"""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hubferry.core.bounded import BoundedMap
from hubferry.ports.index import ListEntry, ManifestInfo, Repository, TagEntry
from hubferry.ports.shell import UNCOUNTED, EventLog, Metrics
from hubferry.store.layout import Layout
from hubferry.store.right_rows import RightRows
from hubferry.store.schema import connect
from hubferry.store.tidy import tidy

REREAD_S = 2.0  # how long an answer in memory is believed
REMEMBERED = 20_000  # how many answers are in memory
TIDY_AFTER = 256  # writes of this process, after which rows that mean nothing any more are removed
# how many pages and filtered lists, which clients may make up, are kept of one subject or of the tags of one repository
MAX_LISTS = 64
MAX_TAGS = 50_000  # of one repository, that are asked for at once
# what is known from a manifest's bytes takes precedence over what a HEAD said of it
_TAGS = "tags AS t LEFT JOIN manifests AS m USING (upstream, repository, digest)"
_TAG_COLUMNS = (
    "t.digest, ifnull(m.media_type, t.media_type), ifnull(m.size_bytes, t.size_bytes), m.digest IS NOT NULL, "
    "confirmed_at"
)
T = TypeVar("T")


class SqliteIndex:
    """The index in `folder`/index.sqlite3, for one event loop; opened at its first use."""

    def __init__(self, folder: Path, log: EventLog, metrics: Metrics = UNCOUNTED) -> None:
        self._layout = Layout(folder)
        self._log = log
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="index")
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self._recent: BoundedMap[tuple[float, Any]] = BoundedMap(REMEMBERED)
        self._rights = RightRows(self._layout, self._guarded, REREAD_S)
        self._writes = 0

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        return await self._ask((repository, tag), lambda db: _tag(db, repository, tag))

    async def put_tag(self, repository: Repository, tag: str, entry: TagEntry) -> None:
        """Tags whose manifest is not kept are bounded (tidy.py): those confirmed longest ago are forgotten."""
        self._remember((repository, tag), entry)
        self._remember((repository, entry.manifest.digest, "tagged"), True)
        place, manifest = (repository.upstream, repository.name), entry.manifest
        row = (*place, tag, manifest.digest, entry.confirmed_at, manifest.media_type, manifest.size_bytes)
        await self._write(lambda db: db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?, ?, ?)", row))

    async def manifest(self, repository: Repository, digest: str) -> ManifestInfo | None:
        return await self._ask((repository, digest), lambda db: _manifest(db, repository, digest))

    async def put_manifest(self, repository: Repository, manifest: ManifestInfo) -> None:
        self._remember((repository, manifest.digest), replace(manifest, is_held=True))
        await self._write(lambda db: _put_manifest(db, repository, manifest))

    async def blob(self, repository: Repository, digest: str) -> int | None:
        return await self._ask((repository, digest, "blob"), lambda db: _blob(db, repository, digest))

    async def put_blob(self, repository: Repository, digest: str, size_bytes: int) -> None:
        # also when it is remembered: its row may have been evicted since then
        self._remember((repository, digest, "blob"), size_bytes)
        row = (repository.upstream, repository.name, digest, size_bytes)
        await self._write(lambda db: db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?)", row))

    async def parent_of(self, repository: Repository, digest: str) -> str | None:
        sql = (
            "SELECT parent FROM parts JOIN manifests ON digest = parent "
            "WHERE child = ? AND upstream = ? AND repository = ? LIMIT 1"
        )
        row = (digest, repository.upstream, repository.name)
        found = await self._ask((repository, digest, "index"), lambda db: db.execute(sql, row).fetchone())
        return str(found[0]) if found else None

    async def origins(self, digest: str) -> set[str]:
        each = (f"SELECT upstream FROM {table} WHERE digest = :it" for table in ("blobs", "manifests", "lists"))  # noqa: S608
        sql = " UNION ".join(each)
        # not from memory: what nobody had a moment ago may be somebody's private content by now
        found = await self._guarded(lambda db: {row[0] for row in db.execute(sql, {"it": digest})})
        return found or set()

    async def is_tagged(self, repository: Repository, digest: str) -> bool:
        sql = "SELECT 1 FROM tags WHERE (upstream, repository, digest) = (?, ?, ?) LIMIT 1"
        row = (repository.upstream, repository.name, digest)
        key = (repository, digest, "tagged")
        return bool(await self._ask(key, lambda db: db.execute(sql, row).fetchone() is not None))

    async def tags_of(self, repository: Repository) -> dict[str, TagEntry]:
        return await self._guarded(lambda db: _tags(db, repository)) or {}

    async def is_listed(self, repository: Repository, digest: str) -> bool:
        sql = (
            "SELECT 1 FROM parts JOIN lists ON digest = parent "
            "WHERE child = ? AND upstream = ? AND repository = ? LIMIT 1"
        )
        row = (digest, repository.upstream, repository.name)
        key = (repository, digest, "listed")
        return bool(await self._ask(key, lambda db: db.execute(sql, row).fetchone() is not None))

    async def list_entry(self, repository: Repository, name: str) -> ListEntry | None:
        return await self._ask((repository, name, "list"), lambda db: _list(db, repository, name))

    async def drop_list(self, repository: Repository, name: str) -> None:
        if self._is_remembered((repository, name, "list"), None):
            return
        self._remember((repository, name, "list"), None)
        row = (repository.upstream, repository.name, name)
        sql = "DELETE FROM lists WHERE (upstream, repository, name) = (?, ?, ?)"
        await self._write(lambda db: db.execute(sql, row))

    async def put_list(self, repository: Repository, name: str, subject: str, entry: ListEntry) -> None:
        """Beyond MAX_LISTS of a subject the one that was confirmed longest ago is forgotten."""
        self._remember((repository, name, "list"), entry)
        await self._write(lambda db: _put_list(db, repository, name, subject, entry))

    async def right(self, repository: Repository, about: str, who: str) -> float | None:
        return await self._rights.find((repository, about, who))

    async def put_right(
        self, repository: Repository, about: str, who: str, proven_at: float, *, even_if_nothing_kept: bool = False
    ) -> None:
        await self._rights.put((repository, about, who), proven_at, even_if_nothing_kept=even_if_nothing_kept)
        await self._tidy_at_times()

    async def withdraw_right(self, repository: Repository, about: str, who: str) -> bool:
        return await self._rights.withdraw((repository, about, who))

    async def forget_right(self, repository: Repository, about: str, who: str, *, only_empty: bool = False) -> None:
        await self._rights.forget((repository, about, who), only_empty=only_empty)

    def withdrawals(self) -> int:
        return self._rights.withdrawals.number()

    async def close(self) -> None:
        """Finish what is being written, and close the file."""
        await asyncio.to_thread(self.shut)

    def shut(self) -> None:
        """Finish what is being written, and close the file. Blocks; `close` does the same without blocking."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    async def _ask(self, key: Any, read: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return the answer in memory when it is recent, otherwise what `read` finds in the file."""
        known = self._recent.get(key)
        if known is not None and time.monotonic() - known[0] < REREAD_S:
            return known[1]  # type: ignore[no-any-return]
        found = await self._guarded(read)
        newer = self._recent.get(key)
        if newer is not None and newer is not known:  # it was changed while the file was read
            return newer[1]  # type: ignore[no-any-return]
        self._remember(key, found)
        return found

    def _is_remembered(self, key: Any, value: Any) -> bool:
        """Return whether memory holds exactly this value, and recently enough to be believed."""
        known = self._recent.get(key)
        return known is not None and known[1] == value and time.monotonic() - known[0] < REREAD_S

    def _remember(self, key: Any, value: Any) -> None:
        self._recent.put(key, (time.monotonic(), value))

    async def _write(self, write: Callable[[sqlite3.Connection], object]) -> None:
        await self._guarded(write)
        await self._tidy_at_times()

    async def _tidy_at_times(self) -> None:
        """Count a write, and remove rows that mean nothing any more after every TIDY_AFTER of them."""
        self._writes += 1
        if self._writes % TIDY_AFTER == 0:
            await self._guarded(tidy)

    def transact(self, work: Callable[[sqlite3.Connection], T], /) -> T | None:
        """Perform work in one transaction, and return its result; None when that failed.

        Blocks. From any thread but the index's own.
        """
        return self._thread.submit(self._attempt, work).result()

    async def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Perform work in one transaction on the index's thread; None when that failed."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._attempt, work)

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """On the index's thread: perform work in one transaction; a failure is logged, and the result is None.

        A file that is no database is set aside.
        """
        try:
            with self._open() as db:
                found = work(db)
                if isinstance(found, sqlite3.Cursor):  # destroyed on another thread, it would reset a statement of ours
                    found.close()
                    return None
                return found
        except sqlite3.Error as error:
            self._log.warning("index_failed", {"file": str(self._layout.index), "problem": str(error)})
            self._metrics.index_failed()
            if isinstance(error, sqlite3.OperationalError) or not isinstance(error, sqlite3.DatabaseError):
                return None
            self._set_aside()
            return None

    def _open(self) -> sqlite3.Connection:
        """Return the connection, opened anew when there is none or when its file is no longer in place."""
        if self._connection is not None and not self._is_in_place():
            self._close()
        if self._connection is None:
            with contextlib.suppress(OSError):
                self._layout.folder.mkdir(parents=True, exist_ok=True)
            self._connection = connect(self._layout)
            with contextlib.suppress(OSError):
                self._file = self._layout.index.stat()
            self._rights.withdrawals.open()
        return self._connection

    def _is_in_place(self) -> bool:
        """Return whether the open file is still the one that others would open: the folder may have been removed."""
        try:
            return self._file is not None and os.path.samestat(self._file, self._layout.index.stat())
        except OSError:
            return False

    def _set_aside(self) -> None:
        """Close the file and rename it, so that another one is begun."""
        self._close()
        with contextlib.suppress(OSError):
            self._layout.index.rename(self._layout.index.with_suffix(".broken"))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._rights.withdrawals.close()


def _manifest(db: sqlite3.Connection, repository: Repository, digest: str) -> ManifestInfo | None:
    sql = "SELECT media_type, size_bytes FROM manifests WHERE upstream = ? AND repository = ? AND digest = ?"
    row = db.execute(sql, (repository.upstream, repository.name, digest)).fetchone()
    return row and ManifestInfo(digest, row[0], row[1], is_held=True)


def _blob(db: sqlite3.Connection, repository: Repository, digest: str) -> int | None:
    sql = "SELECT size_bytes FROM blobs WHERE upstream = ? AND repository = ? AND digest = ?"
    row = db.execute(sql, (repository.upstream, repository.name, digest)).fetchone()
    return None if row is None else int(row[0])


def _list(db: sqlite3.Connection, repository: Repository, name: str) -> ListEntry | None:
    sql = (
        "SELECT digest, confirmed_at, media_type, filters, next_last FROM lists "
        "WHERE upstream = ? AND repository = ? AND name = ?"
    )
    row = db.execute(sql, (repository.upstream, repository.name, name)).fetchone()
    return row and ListEntry(*row)


def _put_list(db: sqlite3.Connection, repository: Repository, name: str, subject: str, entry: ListEntry) -> None:
    place = (repository.upstream, repository.name)
    row = (*place, name, subject, entry.digest, entry.confirmed_at, entry.media_type, entry.filters, entry.next_last)
    db.execute("INSERT OR REPLACE INTO lists VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    # only lists with a query: there may be any number of those, and they must not push out the whole list
    sql = """
        DELETE FROM lists WHERE (upstream, repository, subject) = (:upstream, :repository, :subject) AND name IN (
            SELECT name FROM lists WHERE (upstream, repository, subject) = (:upstream, :repository, :subject)
            AND name LIKE '%?%' ORDER BY confirmed_at DESC LIMIT -1 OFFSET :kept
        )
    """
    named = {"upstream": repository.upstream, "repository": repository.name, "subject": subject, "kept": MAX_LISTS}
    db.execute(sql, named)


def _put_manifest(db: sqlite3.Connection, repository: Repository, manifest: ManifestInfo) -> None:
    row = (repository.upstream, repository.name, manifest.digest, manifest.media_type, manifest.size_bytes)
    db.execute("INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?)", row)


def _tags(db: sqlite3.Connection, repository: Repository) -> dict[str, TagEntry]:
    sql = f"SELECT {_TAG_COLUMNS}, tag FROM {_TAGS} WHERE (upstream, repository) = (?, ?) LIMIT {MAX_TAGS}"  # noqa: S608
    return {row[5]: _entry(row) for row in db.execute(sql, (repository.upstream, repository.name))}


def _tag(db: sqlite3.Connection, repository: Repository, tag: str) -> TagEntry | None:
    sql = f"SELECT {_TAG_COLUMNS} FROM {_TAGS} WHERE (upstream, repository, tag) = (?, ?, ?)"  # noqa: S608
    row = db.execute(sql, (repository.upstream, repository.name, tag)).fetchone()
    return row and _entry(row)


def _entry(row: Sequence[Any]) -> TagEntry:
    return TagEntry(ManifestInfo(row[0], row[1], row[2], is_held=bool(row[3])), row[4])
