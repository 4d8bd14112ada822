"""What goes on beside the requests: the ledger is compared with the disk, and last uses are written down.

A ledger that was lost, or that a crash left behind, is put right from what is on the disk. This goes folder by folder,
with pauses: a million files take a while, and nobody waits for it. Drafts that a killed process left are removed too.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from hubferry.core.manifest import MAX_BYTES
from hubferry.core.reference import is_digest
from hubferry.core.reservation import decide_reserved
from hubferry.ports.content import StoreFailure
from hubferry.store.layout import BLOCK_BYTES, Layout, front, is_companion, is_gone, occupied_bytes, sidecar
from hubferry.store.ledger import Ledger, Transact, forget_rows, put_row
from hubferry.store.partial import expected_bytes
from hubferry.store.schema import is_counted, note_counted

FLUSH_S = 5.0  # how often last uses are written down
SETTLED_S = 60.0  # a row is there before its file: one that is younger may still wait for it
DRAFT_S = 600.0  # a draft is written in a moment: one that is older was left by a process that was killed
SWEEP_S = 3600.0  # how often such drafts are removed
AFTER_ALL = "\U0010ffff"  # as text it is behind every name
PAUSE_S = 0.005  # after each folder that was put right: others want the interpreter and the disk as well


class Housekeeping:
    """The housekeeping thread of one process.

    Of the processes that share a folder, one counts at a time, and one is enough.
    """

    def __init__(
        self, layout: Layout, ledger: Ledger, transact: Transact, *, now: Callable[[], float] = time.time
    ) -> None:
        self._layout = layout
        self._ledger = ledger
        self._transact = transact
        self._now = now
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Start the thread, which runs until `close`."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, and write down the last uses. Blocks."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._ledger.flush()

    def _run(self) -> None:
        self._try(self.count)
        swept_at = time.monotonic() - SWEEP_S
        while not self._over.wait(FLUSH_S):
            if time.monotonic() - swept_at >= SWEEP_S:
                self._try(self.remove_drafts)
                swept_at = time.monotonic()
            self._try(self._ledger.flush)
            if self._transact(is_counted) is False:  # the index was lost meanwhile, or could not be counted
                self._try(self.count)

    @staticmethod
    def _try(work: Callable[[], object]) -> None:
        """Do something that a failing disk may prevent: it is done again later, and the thread goes on."""
        with contextlib.suppress(OSError, StoreFailure):
            work()

    def count(self) -> None:
        """Put the ledger right, then remove what is more than allowed. Does nothing while another process does it."""
        with self._alone() as is_alone:
            if not is_alone:
                return
            next_row = ""  # the first name from a shelf on for which there is a row
            for prefix, shelf in self._layout.shelves():
                if self._over.is_set():
                    return
                found = _listed(shelf, prefix.partition(":")[0] + ":")
                if next_row < prefix:
                    next_row = self._first_row(prefix)
                # most shelves of a small cache are empty: a transaction for each of them would take most of the start
                if found or next_row.startswith(prefix):
                    self._compare(prefix, found)
            partials = _listed(self._layout.partial, "partial/")
            self._compare(
                "partial/", {name: self._grown(name, seen) for name, seen in partials.items() if not is_companion(name)}
            )
            self._transact(note_counted)
        self._ledger.shrink()

    def _first_row(self, prefix: str) -> str:
        """Return the first name of a row that is not before `prefix`: AFTER_ALL without one, `prefix` if unknown."""

        def first(db: sqlite3.Connection) -> str:
            (name,) = db.execute("SELECT min(name) FROM files WHERE name >= ?", (prefix,)).fetchone()
            return cast("str | None", name) or AFTER_ALL

        return self._transact(first) or prefix

    def remove_drafts(self) -> None:
        """Remove drafts of processes that were killed: they are not counted, and nobody looks for them."""
        oldest = self._now() - DRAFT_S
        for folder in (self._layout.partial, *(shelf for _, shelf in self._layout.shelves())):
            if self._over.is_set():
                return
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        with contextlib.suppress(OSError):
                            if entry.stat(follow_symlinks=False).st_mtime < oldest:
                                Path(entry.path).unlink()

    def _compare(self, prefix: str, found: dict[str, "_Found"]) -> None:
        """Put right the rows whose names begin with `prefix`, given the files that were found there.

        Rows without a file are deleted unless they are young. Files without a row, and content of another size, are
        counted.
        """

        def rows(db: sqlite3.Connection) -> dict[str, tuple[int, float]]:
            sql = "SELECT name, size_bytes, used_at FROM files WHERE name >= ? AND name < ?"
            return {name: (size, used) for name, size, used in db.execute(sql, (prefix, prefix + AFTER_ALL))}

        known = self._transact(rows) or {}
        settled = self._now() - SETTLED_S
        missing = [name for name, (_, used_at) in known.items() if name not in found and used_at < settled]
        missing = [name for name in missing if is_gone(self._layout.file(name))]
        # only of content is the size compared: a partial file is counted with the room that it was given
        wrong = {
            name: seen
            for name, seen in found.items()
            if name not in known or (is_digest(name) and known[name][0] != seen.occupied_bytes)
        }
        if not missing and not wrong:
            return

        def write(db: sqlite3.Connection) -> None:
            forget_rows(db, missing)
            for name, seen in wrong.items():
                put_row(db, name, seen.occupied_bytes, seen.changed_at)

        self._transact(write)
        for name, seen in wrong.items():
            if name not in known and is_digest(name) and seen.length_bytes <= MAX_BYTES:
                self._learn_parts(name)
        time.sleep(PAUSE_S)

    def _grown(self, name: str, seen: "_Found") -> "_Found":
        """Return a partial file with the room that its writer may have been given before the index was lost."""
        path = self._layout.file(name)
        if not sidecar(path).exists():
            return seen  # nothing was written yet, or nobody will continue it
        expected = expected_bytes(path)
        # when it is not known how long it will be, only what is there: its writer reserves more as bytes arrive
        ahead_bytes = 0 if expected is None else decide_reserved(seen.length_bytes, expected)
        length_bytes = max(seen.length_bytes, ahead_bytes)
        companions = 1 + front(path).exists()
        return replace(seen, length_bytes=length_bytes + companions * BLOCK_BYTES)

    def _learn_parts(self, digest: str) -> None:
        """Note what a kept file refers to when it is a manifest; needed after the index was lost.

        Its digest was verified when it was kept.
        """
        with contextlib.suppress(OSError), self._layout.content(digest).open("rb") as file:
            if file.read(1) == b"{":
                self._ledger.note_parts(digest, b"{" + file.read())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the lock of the process that counts; yields whether this process got it."""
        try:
            descriptor = os.open(
                self._layout.folder / "count.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except OSError:
            yield False
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Found:
    """A file as it is on the disk: its length in bytes, and when it was changed in seconds since 1970."""

    length_bytes: int
    changed_at: float

    @property
    def occupied_bytes(self) -> int:
        """What it takes on the disk, in whole blocks."""
        return occupied_bytes(self.length_bytes)


def _listed(folder: Path, prefix: str) -> dict[str, _Found]:
    """Return the files in a folder, except drafts, each under `prefix` and its name."""
    found = {}
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                with contextlib.suppress(OSError):
                    stat = entry.stat(follow_symlinks=False)
                    found[prefix + entry.name] = _Found(stat.st_size, stat.st_mtime)
    return found
