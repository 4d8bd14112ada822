"""Rows of the index that mean nothing any more are removed now and then, and what strangers can make is bounded."""

import sqlite3
import time

from hubferry.store.right_rows import KEPT

MAX_TAGS_ALONE = 10_000  # tags that are known from a HEAD only, without a manifest that is kept
OLD_S = 600.0  # longer than the right of a login lasts, or a question takes


def tidy(db: sqlite3.Connection) -> None:
    """Remove rows that mean nothing any more, and tags beyond a bound.

    The rows are rights of logins that are over, rights to repositories that have nothing in the cache, notes of a fetch
    that was begun long ago, and notes of an absent tag that was confirmed since or is no longer known. Tags without a
    kept manifest are known from a HEAD only: MAX_TAGS_ALONE of them stay.
    """
    old = time.time() - OLD_S
    db.execute("DELETE FROM rights WHERE who != '' AND max(proven_at, withdrawn_at) < ?", (old,))
    of_place = "WHERE (upstream, repository) = (rights.upstream, rights.repository)"
    kept = " OR ".join(f"EXISTS (SELECT 1 FROM {table} {of_place})" for table in KEPT)  # noqa: S608
    db.execute(f"DELETE FROM rights WHERE max(proven_at, withdrawn_at) < ? AND NOT ({kept})", (old,))  # noqa: S608
    db.execute("DELETE FROM rights WHERE about LIKE 'begun %' AND proven_at < ?", (old,))
    # absences of tags that were confirmed since, or that are no longer known
    sql = """
        DELETE FROM rights WHERE about LIKE 'absent %' AND NOT EXISTS (
            SELECT 1 FROM tags WHERE (upstream, repository) = (rights.upstream, rights.repository)
            AND tag = substr(about, 8) AND confirmed_at < proven_at
        )
    """
    db.execute(sql)
    sql = """
        DELETE FROM tags WHERE (upstream, repository, tag) IN (
            SELECT upstream, repository, tag FROM tags WHERE NOT EXISTS (
                SELECT 1 FROM manifests AS m
                WHERE (m.upstream, m.repository, m.digest) = (tags.upstream, tags.repository, tags.digest)
            ) ORDER BY confirmed_at DESC LIMIT -1 OFFSET ?
        )
    """
    db.execute(sql, (MAX_TAGS_ALONE,))
