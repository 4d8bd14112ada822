"""The `Index` port on SQLite, with what was asked lately in memory.

One connection on one thread; write-ahead logging lets several worker processes share the file. Another process's
changes are seen within REREAD_S, because what memory says is only believed for that long; a tag's age counts from its
upstream's confirmation in either. A file that is no database is set aside and begun anew: nothing in it is needed.
"""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from hubferry.ports import Described, EventLog, ListEntry, Metrics, Repository, TagEntry, Uncounted
from hubferry.store.layout import Layout
from hubferry.store.schema import connect

REREAD_S = 2.0
REMEMBERED = 20_000
MAX_LISTS = 64  # pages and filters, which clients may make up, of one subject or of the tags of one repository
T = TypeVar("T")


class SqliteIndex:
    """An index in `folder`/index.sqlite3."""

    def __init__(self, folder: Path, log: EventLog, metrics: Metrics | None = None) -> None:
        self._layout = Layout(folder)
        self._log = log
        self._metrics = metrics or Uncounted()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="index")
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self._recent: OrderedDict[Any, tuple[float, Any]] = OrderedDict()

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        """See ports.Index."""
        return await self._ask((repository, tag), lambda db: _tag(db, repository, tag))

    async def put_tag(self, repository: Repository, tag: str, entry: TagEntry) -> None:
        """See ports.Index."""
        self._remember((repository, tag), entry)
        self._remember((repository, entry.manifest.digest), entry.manifest)
        key = (repository.upstream, repository.name)

        def write(db: sqlite3.Connection) -> None:
            _put_manifest(db, repository, entry.manifest)
            row = (*key, tag, entry.manifest.digest, entry.confirmed_at)
            db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?)", row)

        await self._write(write)

    async def drop_tag(self, repository: Repository, tag: str) -> None:
        """See ports.Index."""
        self._remember((repository, tag), None)
        row = (repository.upstream, repository.name, tag)
        sql = "DELETE FROM tags WHERE upstream = ? AND repository = ? AND tag = ?"
        await self._write(lambda db: db.execute(sql, row))

    async def manifest(self, repository: Repository, digest: str) -> Described | None:
        """See ports.Index."""
        return await self._ask((repository, digest), lambda db: _manifest(db, repository, digest))

    async def put_manifest(self, repository: Repository, manifest: Described) -> None:
        """See ports.Index."""
        self._remember((repository, manifest.digest), manifest)
        await self._write(lambda db: _put_manifest(db, repository, manifest))

    async def blob(self, repository: Repository, digest: str) -> int | None:
        """See ports.Index."""
        return await self._ask((repository, digest, "blob"), lambda db: _blob(db, repository, digest))

    async def put_blob(self, repository: Repository, digest: str, size_bytes: int) -> None:
        """See ports.Index."""
        key = (repository, digest, "blob")
        if self._is_remembered(key, size_bytes):
            return
        self._remember(key, size_bytes)
        row = (repository.upstream, repository.name, digest, size_bytes)
        await self._write(lambda db: db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?)", row))

    async def index_of(self, repository: Repository, digest: str) -> str | None:
        """See ports.BlobIndex."""
        sql = (
            "SELECT parent FROM parts JOIN manifests ON digest = parent "
            "WHERE child = ? AND upstream = ? AND repository = ? LIMIT 1"
        )
        row = (digest, repository.upstream, repository.name)
        found = await self._ask((repository, digest, "index"), lambda db: db.execute(sql, row).fetchone())
        return str(found[0]) if found else None

    async def is_listed(self, repository: Repository, digest: str) -> bool:
        """See ports.BlobIndex."""
        sql = (
            "SELECT 1 FROM parts JOIN lists ON digest = parent "
            "WHERE child = ? AND upstream = ? AND repository = ? LIMIT 1"
        )
        row = (digest, repository.upstream, repository.name)
        key = (repository, digest, "listed")
        return bool(await self._ask(key, lambda db: db.execute(sql, row).fetchone() is not None))

    async def list_entry(self, repository: Repository, name: str) -> ListEntry | None:
        """See ports.BlobIndex."""
        return await self._ask((repository, name, "list"), lambda db: _list(db, repository, name))

    async def drop_list(self, repository: Repository, name: str) -> None:
        """See ports.BlobIndex."""
        if self._is_remembered((repository, name, "list"), None):
            return
        self._remember((repository, name, "list"), None)
        row = (repository.upstream, repository.name, name)
        sql = "DELETE FROM lists WHERE (upstream, repository, name) = (?, ?, ?)"
        await self._write(lambda db: db.execute(sql, row))

    async def put_list(self, repository: Repository, name: str, subject: str, entry: ListEntry) -> None:
        """See ports.BlobIndex; beyond MAX_LISTS of a subject the one that was confirmed longest ago is forgotten."""
        self._remember((repository, name, "list"), entry)
        await self._write(lambda db: _put_list(db, repository, name, subject, entry))

    async def is_public(self, repository: Repository) -> bool:
        """See ports.Index."""
        row = (repository.upstream, repository.name)
        sql = "SELECT 1 FROM public WHERE upstream = ? AND repository = ?"
        return bool(await self._ask((repository, ""), lambda db: db.execute(sql, row).fetchone() is not None))

    async def set_public(self, repository: Repository, *, public: bool) -> None:
        """See ports.Index."""
        if self._is_remembered((repository, ""), public):
            return
        self._remember((repository, ""), public)
        row = (repository.upstream, repository.name)
        sql = (
            "INSERT OR IGNORE INTO public VALUES (?, ?)"
            if public
            else "DELETE FROM public WHERE upstream = ? AND repository = ?"
        )
        await self._write(lambda db: db.execute(sql, row))

    async def close(self) -> None:
        """Finish what is being written and close the file."""
        await asyncio.to_thread(self.shut)

    def shut(self) -> None:
        """The same, blocking."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    async def _ask(self, key: Any, read: Callable[[sqlite3.Connection], T]) -> T | None:
        known = self._recent.get(key)
        if known is not None and time.monotonic() - known[0] < REREAD_S:
            return known[1]  # type: ignore[no-any-return]
        found = await self._guarded(read)
        newer = self._recent.get(key)
        if newer is not None and newer is not known:  # it was written while the file was read
            return newer[1]  # type: ignore[no-any-return]
        self._remember(key, found)
        return found

    def _is_remembered(self, key: Any, value: Any) -> bool:
        known = self._recent.get(key)
        return known is not None and known[1] == value and time.monotonic() - known[0] < REREAD_S

    def _remember(self, key: Any, value: Any) -> None:
        self._recent[key] = (time.monotonic(), value)
        self._recent.move_to_end(key)
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)

    async def _write(self, write: Callable[[sqlite3.Connection], object]) -> None:
        await self._guarded(write)

    def transact(self, work: Callable[[sqlite3.Connection], T], /) -> T | None:
        """Perform work in one transaction, blocking, from any thread but the index's own; None when that failed."""
        return self._thread.submit(self._attempt, work).result()

    async def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._attempt, work)

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """On the thread."""
        try:
            with self._open() as db:
                return work(db)
        except sqlite3.DatabaseError as error:
            self._log.warning("index_failed", {"file": str(self._layout.index), "problem": str(error)})
            self._metrics.index_failed()
            if isinstance(error, sqlite3.OperationalError):
                return None
            self._set_aside()
            return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and not self._is_in_place():
            self._close()
        if self._connection is None:
            with contextlib.suppress(OSError):
                self._layout.folder.mkdir(parents=True, exist_ok=True)
            self._connection = connect(self._layout)
            with contextlib.suppress(OSError):
                self._file = self._layout.index.stat()
        return self._connection

    def _is_in_place(self) -> bool:
        """Whether the open file is still the one that others would open: the folder may have been removed."""
        try:
            return self._file is not None and os.path.samestat(self._file, self._layout.index.stat())
        except OSError:
            return False

    def _set_aside(self) -> None:
        self._close()
        with contextlib.suppress(OSError):
            self._layout.index.rename(self._layout.index.with_suffix(".broken"))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _manifest(db: sqlite3.Connection, repository: Repository, digest: str) -> Described | None:
    sql = "SELECT media_type, size_bytes FROM manifests WHERE upstream = ? AND repository = ? AND digest = ?"
    row = db.execute(sql, (repository.upstream, repository.name, digest)).fetchone()
    return row and Described(digest, *row)


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
    # only what has a query: of that there may be any number, and it must not push out the whole list
    sql = """
        DELETE FROM lists WHERE (upstream, repository, subject) = (:upstream, :repository, :subject) AND name IN (
            SELECT name FROM lists WHERE (upstream, repository, subject) = (:upstream, :repository, :subject)
            AND name LIKE '%?%' ORDER BY confirmed_at DESC LIMIT -1 OFFSET :kept
        )
    """
    named = {"upstream": repository.upstream, "repository": repository.name, "subject": subject, "kept": MAX_LISTS}
    db.execute(sql, named)


def _put_manifest(db: sqlite3.Connection, repository: Repository, manifest: Described) -> None:
    row = (repository.upstream, repository.name, manifest.digest, manifest.media_type, manifest.size_bytes)
    db.execute("INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?)", row)


def _tag(db: sqlite3.Connection, repository: Repository, tag: str) -> TagEntry | None:
    sql = (
        "SELECT digest, media_type, size_bytes, confirmed_at FROM tags JOIN manifests "
        "USING (upstream, repository, digest) WHERE upstream = ? AND repository = ? AND tag = ?"
    )
    row = db.execute(sql, (repository.upstream, repository.name, tag)).fetchone()
    return row and TagEntry(Described(*row[:3]), row[3])
