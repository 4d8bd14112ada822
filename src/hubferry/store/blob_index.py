"""The `BlobIndex` port: which repository holds which blob, in a table of its own beside those of index.py.

It brings neither connection nor thread: `run` performs work on the index's connection in one transaction and gives
its result, or None when the file cannot be used, which is as good as knowing nothing. What is known is remembered:
a repository that holds a digest holds it for good as far as this is concerned, because rights are proven apart.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from hubferry.ports import Repository

REMEMBERED = 50_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (
    upstream TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    PRIMARY KEY (upstream, repository, digest)
) WITHOUT ROWID
"""

T = TypeVar("T")


class Run(Protocol):
    """Performs work on the index's connection; None when that failed."""

    def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> Awaitable[T | None]:
        """Begin a transaction, work, commit."""


class SqliteBlobIndex:
    """Which repository holds which blob."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._recent: OrderedDict[tuple[Repository, str], int] = OrderedDict()

    async def holds_blob(self, repository: Repository, digest: str) -> int | None:
        """See pull.blob_ports.BlobIndex."""
        known = self._recent.get((repository, digest))
        if known is not None:
            return known
        row = (repository.upstream, repository.name, digest)
        sql = "SELECT size_bytes FROM blobs WHERE upstream = ? AND repository = ? AND digest = ?"

        def read(db: sqlite3.Connection) -> int | None:
            db.execute(SCHEMA)
            found = db.execute(sql, row).fetchone()
            return None if found is None else int(found[0])

        size_bytes = await self._run(read)
        if size_bytes is not None:
            self._remember(repository, digest, size_bytes)
        return size_bytes

    async def put_blob(self, repository: Repository, digest: str, size_bytes: int) -> None:
        """See pull.blob_ports.BlobIndex."""
        if self._recent.get((repository, digest)) == size_bytes:
            return
        self._remember(repository, digest, size_bytes)
        row = (repository.upstream, repository.name, digest, size_bytes)

        def write(db: sqlite3.Connection) -> None:
            db.execute(SCHEMA)
            db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?)", row)

        await self._run(write)

    def _remember(self, repository: Repository, digest: str, size_bytes: int) -> None:
        self._recent[repository, digest] = size_bytes
        self._recent.move_to_end((repository, digest))
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
