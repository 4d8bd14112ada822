"""The tables of the index file, and how it is opened.

`files` is the ledger of what takes room (ledger.py). Triggers keep its sum, because a million rows cannot be added up
for every blob. `parts` says what a manifest refers to. `manifests` and `blobs` are what each repository is proven to
hold, `tags` and `lists` are what upstreams said, and `rights` says who may have it: a right is valid while `proven_at`
is later than `withdrawn_at` (right_rows.py; docs/design.md, "Rights"). `pins` are names of images that stay, whatever
room is needed.
"""

import sqlite3

from hubferry.store.layout import Layout

VERSION = 4  # 2: lists, parts_by_child; 3: rights in place of public, tags that need no manifest; 4: pins
OLDER = (0, 1, 2, 3)  # versions that are brought up to date by adding what they lack; 0 is an empty file
BUSY_S = 5.0  # how long another process may hold the file

_TABLES = """
CREATE TABLE IF NOT EXISTS manifests (
    upstream TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL,
    media_type TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    PRIMARY KEY (upstream, repository, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS manifests_by_digest ON manifests (digest);
CREATE TABLE IF NOT EXISTS tags (
    upstream TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL,
    digest TEXT NOT NULL, confirmed_at REAL NOT NULL,
    media_type TEXT NOT NULL DEFAULT '', size_bytes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (upstream, repository, tag)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_by_digest ON tags (digest);
CREATE TABLE IF NOT EXISTS blobs (
    upstream TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    PRIMARY KEY (upstream, repository, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blobs_by_digest ON blobs (digest);
CREATE TABLE IF NOT EXISTS lists (
    upstream TEXT NOT NULL, repository TEXT NOT NULL, name TEXT NOT NULL, subject TEXT NOT NULL,
    digest TEXT NOT NULL, confirmed_at REAL NOT NULL,
    media_type TEXT NOT NULL, filters TEXT NOT NULL, next_last TEXT NOT NULL,
    PRIMARY KEY (upstream, repository, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lists_by_digest ON lists (digest);
CREATE INDEX IF NOT EXISTS lists_by_subject ON lists (subject);
CREATE TABLE IF NOT EXISTS rights (
    upstream TEXT NOT NULL, repository TEXT NOT NULL, about TEXT NOT NULL, who TEXT NOT NULL,
    proven_at REAL NOT NULL, withdrawn_at REAL NOT NULL,
    PRIMARY KEY (upstream, repository, about, who)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins (
    upstream TEXT NOT NULL, repository TEXT NOT NULL, reference TEXT NOT NULL,
    PRIMARY KEY (upstream, repository, reference)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS parts_by_child ON parts (child);
CREATE TABLE IF NOT EXISTS files (
    name TEXT NOT NULL PRIMARY KEY, size_bytes INTEGER NOT NULL, used_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_use ON files (used_at);
CREATE TABLE IF NOT EXISTS facts (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO facts VALUES ('total_bytes', 0);
CREATE TRIGGER IF NOT EXISTS file_added AFTER INSERT ON files BEGIN
    UPDATE facts SET value = value + NEW.size_bytes WHERE name = 'total_bytes';
END;
CREATE TRIGGER IF NOT EXISTS file_resized AFTER UPDATE OF size_bytes ON files BEGIN
    UPDATE facts SET value = value + NEW.size_bytes - OLD.size_bytes WHERE name = 'total_bytes';
END;
CREATE TRIGGER IF NOT EXISTS file_removed AFTER DELETE ON files BEGIN
    UPDATE facts SET value = value - OLD.size_bytes WHERE name = 'total_bytes';
END;
"""

# Until version 3 a HEAD was proof that a repository holds something, no matter whose bytes were here. What is here, and
# was noted for one upstream only, came from that one; anything else has to be proven again. The upstream is asked about
# what was public before that is given again, except while the upstream is away.
_TO_3 = (
    "ALTER TABLE tags ADD COLUMN media_type TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE tags ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0",
    """
    UPDATE tags SET (media_type, size_bytes) = (
        SELECT media_type, size_bytes FROM manifests AS m
        WHERE (m.upstream, m.repository, m.digest) = (tags.upstream, tags.repository, tags.digest)
    ) WHERE EXISTS (
        SELECT 1 FROM manifests AS m
        WHERE (m.upstream, m.repository, m.digest) = (tags.upstream, tags.repository, tags.digest)
    )
    """,
    "DELETE FROM tags WHERE media_type = ''",
    """
    CREATE TEMP TABLE certain AS SELECT digest FROM (
        SELECT upstream, digest FROM manifests UNION SELECT upstream, digest FROM blobs
    ) JOIN files ON name = digest GROUP BY digest HAVING count(*) = 1
    """,
    "DELETE FROM manifests WHERE digest NOT IN (SELECT digest FROM certain)",
    "DELETE FROM blobs WHERE digest NOT IN (SELECT digest FROM certain)",
    "DROP TABLE certain",
    """
    INSERT OR IGNORE INTO rights
    SELECT upstream, repository, 'pull', '', 1, 0 FROM public WHERE instr(upstream, ' ') = 0
    """,
    """
    INSERT OR IGNORE INTO rights
    SELECT substr(upstream, 1, instr(upstream, ' ') - 1), repository, 'login', '', 1, 0 FROM public
    WHERE upstream LIKE '% behind a login'
    """,
    "DROP TABLE public",
)


def connect(layout: Layout) -> sqlite3.Connection:
    """Return a connection to a cache folder's index, with every table in place; for one thread.

    An older file is brought up to date first. Raises sqlite3.Error.
    """
    connection = sqlite3.connect(layout.index, timeout=BUSY_S)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a crash may lose the latest entries, no more
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (*OLDER, VERSION):
            raise sqlite3.DatabaseError(f"it was written by another version ({version})")
        if version != VERSION:
            connection.executescript(_TABLES)
            connection.execute("BEGIN IMMEDIATE")  # another process may be doing the same
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version in (1, 2):
                for step in _TO_3:
                    connection.execute(step)
            if version == 0 and not (layout.blobs.exists() or layout.partial.exists()):
                note_counted(connection)  # there is nothing to count
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def is_counted(connection: sqlite3.Connection) -> bool:
    """Return whether `files` was ever compared with what is on the disk."""
    return connection.execute("SELECT 1 FROM facts WHERE name = 'counted'").fetchone() is not None


def note_counted(connection: sqlite3.Connection) -> None:
    """Record that `files` was compared with what is on the disk."""
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('counted', 1)")


def total_bytes(connection: sqlite3.Connection) -> int:
    """Return the sum of all sizes in `files`."""
    return int(connection.execute("SELECT value FROM facts WHERE name = 'total_bytes'").fetchone()[0])
