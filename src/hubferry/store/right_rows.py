"""Rights as the index keeps them: one row for each repository, kind of right and caller, shared by all processes.

A right is valid while it was proven later than it was withdrawn, so that the answer to a question that was asked before
a withdrawal does not undo it. What is in memory about rights is forgotten as soon as any process withdraws one
(withdrawals.py). Rows are written only where something of the repository is kept; what is proven of other repositories
is in memory, for one process. Not here: what rights there are, and what they mean (pull/rights.py).
"""

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from hubferry.core.bounded import BoundedMap
from hubferry.ports.index import Repository
from hubferry.store.layout import Layout
from hubferry.store.withdrawals import Withdrawals

REMEMBERED = 20_000
KEPT = ("manifests", "tags", "blobs", "lists")  # the tables that say what is kept of a repository

T = TypeVar("T")
Key = tuple[Repository, str, str]
"""A repository, what the right is about, whose it is: empty for everybody."""


class Perform(Protocol):
    """Performs work on the index in one transaction, on its thread. Gives None when the index cannot be used."""

    def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> Awaitable[T | None]:
        """Begin a transaction, call `work`, commit, and give what `work` returned."""


class RightRows:
    """The rights in one index, with recent answers in memory."""

    def __init__(self, layout: Layout, perform: Perform, reread_s: float) -> None:
        """`reread_s` is how long memory is believed when nothing was withdrawn."""
        self._perform = perform
        self._reread_s = reread_s
        self._known: OrderedDict[Key, tuple[float, float | None]] = OrderedDict()
        self._unwritten: OrderedDict[Key, float] = OrderedDict()  # rights to repositories with nothing in the cache
        self._withdrawn: BoundedMap[float] = BoundedMap(REMEMBERED)  # when, where that could not be written down
        self._known_as_of = 0
        self.withdrawals = Withdrawals(layout.withdrawals)

    async def find(self, key: Key) -> float | None:
        """Return when a right was last proven, in seconds since 1970; None: there is no such right."""
        if self._withdrawn.get(key) is not None:
            return None
        as_of = self._forget_withdrawn()
        known = self._known.get(key)
        if known is None or time.monotonic() - known[0] >= self._reread_s:
            known = self._remember(key, await self._perform(lambda db: _find(db, key)), as_of)
        return self._unwritten.get(key) if known[1] is None else known[1]

    async def put(self, key: Key, proven_at: float, *, even_if_nothing_kept: bool) -> None:
        """Note when a right was proven, in seconds since 1970.

        It is written down where something of the repository is kept, or with `even_if_nothing_kept`; otherwise it is
        only in memory.
        """
        withdrawn_at = self._withdrawn.get(key)
        if withdrawn_at is not None:
            if proven_at <= withdrawn_at:
                return
            self._withdrawn.drop(key)
        as_of = self._forget_withdrawn()
        there_is_a_row, valid_at = await self._perform(lambda db: _put(db, key, proven_at, even_if_nothing_kept)) or (
            False,
            None,
        )
        if there_is_a_row:
            self._unwritten.pop(key, None)
        elif as_of == self.withdrawals.number():
            _put_last(self._unwritten, key, proven_at)
        self._remember(key, valid_at, as_of)

    async def withdraw(self, key: Key) -> bool:
        """Withdraw a right in every process, and return whether there was such a right."""
        was_unwritten = self._unwritten.pop(key, None) is not None
        was_written = await self._perform(lambda db: _withdraw(db, key, time.time()))
        if was_written:
            await self._perform(lambda _: self.withdrawals.count())  # on the thread that opens and closes its file
        if was_written is None:  # the index cannot be written, but at least this process knows
            self._withdrawn.put(key, time.time())
        else:
            self._withdrawn.drop(key)
        self._known.pop(key, None)
        return was_unwritten or was_written is not False

    async def forget(self, key: Key, *, only_empty: bool) -> None:
        """Remove the row of a right; with `only_empty` only where nothing of its repository is kept."""
        sql = "DELETE FROM rights WHERE (upstream, repository, about, who) = (?, ?, ?, ?)"

        def remove(db: sqlite3.Connection) -> None:
            if not only_empty or not _keeps_anything(db, _row(key)[:2]):
                db.execute(sql, _row(key))

        await self._perform(remove)
        self._known.pop(key, None)

    def _forget_withdrawn(self) -> int:
        """Clear memory when any right was withdrawn since it was filled; return the number of the latest withdrawal."""
        number = self.withdrawals.number()
        if number != self._known_as_of:
            self._known.clear()
            self._unwritten.clear()
            self._known_as_of = number
        return number

    def _remember(self, key: Key, proven_at: float | None, as_of: int) -> tuple[float, float | None]:
        """Remember what the index said, unless a right was withdrawn meanwhile."""
        found = (time.monotonic(), proven_at)
        if as_of == self.withdrawals.number():  # otherwise it may have been read before the withdrawal
            _put_last(self._known, key, found)
        return found


def _put_last(kept: "OrderedDict[Key, T]", key: Key, value: T) -> None:
    """Put an entry at the end, and drop the first one when there are too many."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)


def _row(key: Key) -> tuple[str, str, str, str]:
    repository, about, who = key
    return repository.upstream, repository.name, about, who


def _find(db: sqlite3.Connection, key: Key) -> float | None:
    sql = (
        "SELECT proven_at FROM rights "
        "WHERE (upstream, repository, about, who) = (?, ?, ?, ?) AND proven_at > withdrawn_at"
    )
    row = db.execute(sql, _row(key)).fetchone()
    return None if row is None else float(row[0])


def _put(db: sqlite3.Connection, key: Key, proven_at: float, even_if_nothing_kept: bool) -> tuple[bool, float | None]:
    """Write a right down where it may be; return whether there is a row now, and when the right was last proven.

    The time is None when the row is of a right that is withdrawn.
    """
    place = _row(key)[:2]
    if even_if_nothing_kept or _keeps_anything(db, place):
        # a time ahead of the clock was noted before the clock was set back, and would outlast every later answer
        sql = """
            INSERT INTO rights VALUES (:upstream, :repository, :about, :who, :proven_at, 0)
            ON CONFLICT (upstream, repository, about, who) DO UPDATE SET
                proven_at = iif(proven_at > :now, excluded.proven_at, max(proven_at, excluded.proven_at)),
                withdrawn_at = min(withdrawn_at, :now)
        """
        named = dict(zip(("upstream", "repository", "about", "who"), _row(key), strict=True))
        db.execute(sql, {**named, "proven_at": proven_at, "now": time.time()})
        return True, _find(db, key)
    return False, None


def _keeps_anything(db: sqlite3.Connection, place: tuple[str, str]) -> bool:
    """Return whether anything of a repository is kept, known or being fetched."""
    each = [f"SELECT 1 FROM {table} WHERE (upstream, repository) = (?, ?) LIMIT 1" for table in KEPT]  # noqa: S608
    begun = "SELECT 1 FROM rights WHERE (upstream, repository) = (?, ?) AND about BETWEEN 'begun ' AND 'begun~' LIMIT 1"
    each.append(begun)
    return any(db.execute(sql, place).fetchone() is not None for sql in each)


def _withdraw(db: sqlite3.Connection, key: Key, now: float) -> bool:
    """Mark a right as withdrawn, and return whether it was valid until now."""
    sql = (
        "UPDATE rights SET withdrawn_at = max(?, proven_at) "
        "WHERE (upstream, repository, about, who) = (?, ?, ?, ?) AND proven_at > withdrawn_at"
    )
    return db.execute(sql, (now, *_row(key))).rowcount > 0
