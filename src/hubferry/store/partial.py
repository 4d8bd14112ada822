"""A partial file: the file of a blob that is being filled, its sidecar, and the lock that says who writes it.

It grows under `partial/`; there is one for each (upstream, digest). The sidecar is written before the first byte. It
says what the blob is, how long it will be, and what hash the file had up to which byte, so that whoever continues the
file notices damage. Whoever holds the flock writes; everybody else may read. The lock ends with its process, and the
file stays.

Ranges may be written ahead of what is whole (`go_ahead`). Then the file's length says nothing. A mode bit says that
this is so, because it stays with the file whatever becomes of its names. A small file beside it, its front, says how
far it is whole. Whoever continues the file cuts it there (`cut_to_whole`). Where every file shows that bit (vfat,
CIFS, 9p) the bit says nothing, and nothing is written ahead.

Room for the file is reserved as its bytes arrive (core/reservation.py). A file is never emptied to begin anew: it is
unlinked and another one takes its name, so that whoever reads the old one notices. `commit` gives the file its final
name: checked, synced, renamed, folder synced. Every method but read_cached and region may block and is meant for a
thread.
Not here: hashing (fill/).
"""

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubferry.core.documents import parse_json
from hubferry.core.reservation import decide_reserved
from hubferry.ports.content import NoRoom, Region, StoreFailure
from hubferry.ports.partials import Standing
from hubferry.store.content import close_file, sync_folder
from hubferry.store.layout import BLOCK_BYTES, Layout, front, sidecar
from hubferry.store.ledger import Ledger
from hubferry.store.mark import set_mark
from hubferry.store.page_reads import PageReads

FRONT_BYTES = 8
MAX_SIDECAR_BYTES = 4096  # sidecars have some three hundred
ABANDONED_MODE = 0o400  # tells followers of a removed file that it was right so far: only its mode can still say that
AHEAD_MODE = stat.S_IXUSR  # marks a file whose length says nothing: no umask ever sets it, and nobody executes it


@dataclass(frozen=True, slots=True)
class Declared:
    """What a sidecar says: the blob's size if known, and the hash that its first `checked_bytes` had."""

    size_bytes: int | None
    checked_bytes: int = 0
    checked_hash: str = ""


class PartialFile:
    """One opening of a partial file. Methods raise StoreFailure, unless they say otherwise."""

    def __init__(self, layout: Layout, upstream: str, digest: str, reads: PageReads, ledger: Ledger | None) -> None:
        """Opens the file, created if need be. Without a ledger nothing is counted."""
        self.digest = digest
        self._reads = reads
        path = self._path = layout.under_way(upstream, digest)
        self._sidecar = sidecar(path)
        self._front = front(path)
        self._front_descriptor = -1
        self._has_modes: bool | None = None
        self._final = layout.content(digest)
        self._upstream = upstream
        self._ledger = ledger
        self._name = f"partial/{path.name}"
        self._reserved_bytes = 0
        self._held_bytes = 0  # how many bytes are there, wherever in the file they are
        self._size_bytes: int | None = None
        with _as_store_failure(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():  # somebody put it there while others could: what it leads to is not ours to write
                path.unlink()
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def standing(self) -> Standing:
        """Try to get the lock, and return whether the file is ours to write, another's, final, or given up.

        Given up means `discarded` as wrong, or `abandoned` because it cannot be kept.
        """
        if self._is_named(self._final):
            self.release()
            return "committed"
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "followed"
        except OSError as error:
            raise StoreFailure(f"{self._path} cannot be locked: {error.strerror}") from None
        # looked at again under the lock: the file may have been renamed or removed just before it was taken
        if self._is_named(self._final):
            self.release()
            return "committed"
        if not self._is_named(self._path):
            self.release()
            return "abandoned" if self._mode() & ~AHEAD_MODE == ABANDONED_MODE else "discarded"
        return "ours"

    def expect(self, held_bytes: int, size_bytes: int | None) -> None:
        """Note how much of the file is there and how long it will be, and reserve room for what comes next.

        `size_bytes` is None when the length is not known. Raises NoRoom when there cannot be room for all of it;
        nothing was removed then.
        """
        self._held_bytes, self._size_bytes = held_bytes, size_bytes
        if self._ledger is not None and size_bytes is not None:
            self._ledger.check_room(self._name, size_bytes + BLOCK_BYTES)
        self._grow()

    def _grow(self) -> None:
        """Reserve room for what is there, and for some more when there is enough. Raises NoRoom."""
        try:
            self.reserve(decide_reserved(self._held_bytes, self._size_bytes))
        except NoRoom:  # there is none for what comes later, but there may be for what is there
            self.reserve(self._held_bytes)

    def reserve(self, length_bytes: int) -> None:
        """Reserve room for the file, with its companions, to become `length_bytes` long. Raises NoRoom."""
        if self._ledger is not None:
            companions = 1 + (self._front_descriptor >= 0)
            self._ledger.reserve(self._name, length_bytes + companions * BLOCK_BYTES)
        self._reserved_bytes = length_bytes

    def final_exists(self) -> bool:
        """Return whether the blob is there under its final name, from whichever upstream."""
        with _as_store_failure(self._final):
            try:
                self._final.lstat()
            except FileNotFoundError:
                return False
        return True

    def length_bytes(self) -> int:
        """Return how many bytes from the start of the file are whole."""
        with _as_store_failure(self._path):
            seen = os.fstat(self.descriptor)
        # the front is read after the file was looked at: it is there before the first byte is written ahead
        return min(seen.st_size, self._front_bytes()) if self._says_ahead(seen.st_mode) else seen.st_size

    def go_ahead(self) -> bool:
        """Allow ranges to be written beyond what is whole; False when this file system cannot mark such a file."""
        if self._front_descriptor >= 0:
            return True
        # the bit is set already, so that it says nothing: every file here has it, or it cannot be cleared
        if self._mode() & AHEAD_MODE:
            return False
        with _as_store_failure(self._front):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            self._front_descriptor = os.open(self._front, flags, 0o600)
            self.note_front(os.fstat(self.descriptor).st_size)
            with contextlib.suppress(NoRoom):
                self.reserve(self._reserved_bytes)
                self._set_ahead(True)
            if self._mode() & AHEAD_MODE:
                return True
            self._end_ahead()
            return False

    def note_front(self, length_bytes: int) -> None:
        """Record that the first `length_bytes` are whole; there is nothing to do while the file's length says that."""
        if self._front_descriptor >= 0:
            with _as_store_failure(self._front):
                os.pwrite(self._front_descriptor, length_bytes.to_bytes(FRONT_BYTES, "big"), 0)

    def cut_to_whole(self, known_bytes: int = 0) -> int:
        """Cut off what an earlier writer wrote ahead, and return how long the file is now; the file must be ours.

        The first `known_bytes` stay: a process that is alive has seen that they are whole, and others may be reading
        them.
        """
        with _as_store_failure(self._path):
            if self._says_ahead(self._mode()):
                kept_bytes = min(self.length_bytes(), _first_hole(self.descriptor))
                os.ftruncate(self.descriptor, max(kept_bytes, known_bytes))
                self._end_ahead()
            return os.fstat(self.descriptor).st_size

    def declared(self) -> Declared | None:
        """Return what the sidecar says; None when there is none for this blob, so that the file means nothing."""
        try:
            said = read_sidecar(self._sidecar)
            if (said["upstream"], said["digest"]) != (self._upstream, self.digest):
                return None
            size, checked, text = said["size_bytes"], said["checked_bytes"], said["checked_hash"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        is_right = (size is None or isinstance(size, int)) and isinstance(checked, int) and isinstance(text, str)
        return Declared(size, checked, text) if is_right else None

    def declare(self, size_bytes: int | None, checked_bytes: int = 0, checked_hash: str = "") -> None:
        """Write the sidecar, whole or not at all."""
        said = {
            "upstream": self._upstream,
            "digest": self.digest,
            "size_bytes": size_bytes,
            "checked_bytes": checked_bytes,
            "checked_hash": checked_hash,
        }
        draft = self._sidecar.with_name(f".{self._sidecar.name}.draft")
        with _as_store_failure(self._sidecar):
            draft.unlink(missing_ok=True)  # left by a killed process, or a link that somebody put there
            draft.write_text(json.dumps(said), encoding="utf-8")
            draft.rename(self._sidecar)

    def read_cached(self, offset: int, size_bytes: int) -> bytes | None:
        """Return bytes of which the last is in the page cache, for the event loop; None when it is not."""
        with _as_store_failure(self._path):
            return self._reads.read_cached(self.descriptor, offset, size_bytes)

    def region(self, offset: int, size_bytes: int) -> Region | None:
        """Return a part that may be sent without reading it, for the event loop; None when it has to be read.

        Never raises.
        """
        with contextlib.suppress(OSError):  # reading it will say why
            if self._reads.is_cached(self.descriptor, offset + size_bytes - 1):
                return Region(self.descriptor, offset, size_bytes)
        return None

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes` from `offset`, empty at the end."""
        with _as_store_failure(self._path):
            return os.pread(self.descriptor, size_bytes, offset)

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Write pieces one after the other from `offset` on, with more room reserved if need be. Also raises NoRoom."""
        self._held_bytes += sum(map(len, pieces))
        if self._held_bytes > self._reserved_bytes:
            self._grow()
        with _as_store_failure(self._path):
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    written = os.pwrite(self.descriptor, view, offset)
                    offset += written
                    view = view[written:]

    def commit(self, length_bytes: int, actual_digest: str) -> None:
        """Give the file its final name, as the blob. Raises StoreFailure also when length or digest is wrong."""
        with _as_store_failure(self._final):
            if actual_digest != self.digest or os.fstat(self.descriptor).st_size != length_bytes:
                raise StoreFailure(f"{self._path} is not {self.digest}")
            self._end_ahead()
            set_mark(self.descriptor, self.digest)
            os.fsync(self.descriptor)
            # before the file's name becomes free: afterwards a sidecar of that name may be another process's
            self._sidecar.unlink(missing_ok=True)
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._path.rename(self._final)
            self.release()  # the disk may be slow from here on, and nobody can open a blob that is locked exclusively
            if self._ledger is not None:
                self._ledger.rename(self._name, self.digest, length_bytes)
            sync_folder(self._final.parent)

    def discard(self) -> None:
        """Remove the file, as wrong, with its companions. Processes that have it open can still read it.

        Never raises.
        """
        with contextlib.suppress(OSError):
            if self._is_named(self._path):  # otherwise its names are another file's
                self._sidecar.unlink(missing_ok=True)
                self._front.unlink(missing_ok=True)
                self._path.unlink()
                if self._ledger is not None:
                    self._ledger.forget([self._name])

    def abandon(self) -> None:
        """Remove the file, as right so far but not to be kept. Processes that have it open can still read it.

        Never raises.
        """
        self.discard()  # before its mode is changed: with that mode nobody could open a file that still has its name
        with contextlib.suppress(OSError):  # if that fails, followers take the file for wrong, which is safe
            os.fchmod(self.descriptor, ABANDONED_MODE | self._mode() & AHEAD_MODE)

    def _mode(self) -> int:
        """Return the mode of the open file; 0 when it cannot be seen."""
        with contextlib.suppress(OSError):
            return stat.S_IMODE(os.fstat(self.descriptor).st_mode)
        return 0

    def release(self) -> None:
        """Let another process write the file; reading goes on.

        A file that has its final name is locked as one that is being read, which keeps it from removal.
        """
        if self.descriptor < 0:
            return
        is_final = self._is_named(self._final)
        with contextlib.suppress(OSError):
            fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB if is_final else fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file, which releases its lock. May be called again."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            close_file(descriptor)
        self._close_front()

    def _close_front(self) -> None:
        descriptor, self._front_descriptor = self._front_descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _end_ahead(self) -> None:
        """Make the length say again how far the file is whole: clear the bit, and remove the front. Raises OSError."""
        self._set_ahead(False)
        self._close_front()
        self._front.unlink(missing_ok=True)

    def _set_ahead(self, is_ahead: bool) -> None:
        """Set or clear the bit. Whether it took is seen by looking: a file system may refuse it, or do nothing."""
        mode = self._mode()
        wanted = mode | AHEAD_MODE if is_ahead else mode & ~AHEAD_MODE
        if wanted != mode:
            with contextlib.suppress(OSError):
                os.fchmod(self.descriptor, wanted)

    def _says_ahead(self, mode: int) -> bool:
        """Return whether a file of that mode has ranges written ahead.

        The bit says so only where not every file has it.
        """
        if not mode & AHEAD_MODE:
            return False
        if self._front.exists():
            return True
        if self._has_modes is None:
            self._has_modes = self._keeps_modes()
        return self._has_modes  # if so, ranges were written ahead, and the front was removed with whatever it said

    def _keeps_modes(self) -> bool:
        """Return whether a new file has the mode that it was made with; True when that cannot be seen.

        True is the safe answer.
        """
        # named as a companion of the file, in case it stays; process ids are used again, in containers at once
        probe = self._front.with_name(f".{self._path.name}.{secrets.token_hex(8)}.front")
        with contextlib.suppress(OSError):
            descriptor = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                return not os.fstat(descriptor).st_mode & AHEAD_MODE
            finally:
                os.close(descriptor)
                probe.unlink(missing_ok=True)
        return True

    def _front_bytes(self) -> int:
        """Return what the front says; 0 when there is none, or none that can be read."""
        with contextlib.suppress(OSError):
            said = self._front.read_bytes()
            if len(said) == FRONT_BYTES:
                return int.from_bytes(said, "big")
        return 0

    def _is_named(self, path: Path) -> bool:
        """Return whether a path leads to the open file."""
        try:
            return os.path.samestat(path.stat(), os.fstat(self.descriptor))
        except OSError:
            return False


def expected_bytes(path: Path) -> int | None:
    """Return how long a partial file will be, as far as its sidecar says; None: not known."""
    try:
        said = read_sidecar(sidecar(path))["size_bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return said if isinstance(said, int) else None


def read_sidecar(path: Path) -> Any:
    """Return what a sidecar says, as JSON of any form. Raises OSError, ValueError."""
    with path.open("rb") as file:
        return parse_json(file.read(MAX_SIDECAR_BYTES))


def _first_hole(descriptor: int) -> int:
    """Return where the first hole of a file begins, or the file's length when it has none.

    A machine that lost its power may have kept the front and not the bytes.
    """
    try:
        return os.lseek(descriptor, 0, os.SEEK_HOLE)
    except OSError:
        return os.fstat(descriptor).st_size


@contextlib.contextmanager
def _as_store_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreFailure(f"{path} cannot be used: {error.strerror or error}") from None
