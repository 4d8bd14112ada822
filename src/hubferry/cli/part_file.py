"""A file that is being written as FILE.part, and gets its name when all of it is there and was found right.

What an earlier run left is checked again from its first byte, and continued if it is the beginning of the same file.
Names and manifests come first in it, so another file is noticed at once. Only one process writes it at a time.
"""

import contextlib
import fcntl
import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

from hubferry.cli.load import Misuse
from hubferry.core.human import human_size
from hubferry.core.tar import Tar, TarCheck, WrongBytes

PIECE_BYTES = 2**20


def place_of(path: Path) -> Path:
    """Return where a file is to be written: where a link leads. Raises Misuse for a device, a folder and the like."""
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    if place.exists() and not place.is_file():
        raise Misuse(f"{path} is no regular file, and is not replaced: name another file, or - for standard output")
    return place


class PartFile:
    """The unfinished file of an archive. Use it as a context manager; leaving it keeps what is there."""

    def __init__(self, path: Path, tar: Tar) -> None:
        """Raises Misuse for a path that is a device, a folder and the like (see `place_of`)."""
        self._path = place_of(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._tar = tar
        self._check = TarCheck(tar)
        self._file: BinaryIO
        self.found_bytes = 0

    def __enter__(self) -> "PartFile":
        """Open the part, and take from it what is right. Raises Misuse when it cannot be written, or has no room."""
        try:
            self._file = os.fdopen(os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            self._check_owner()
            self._lock()
            self.found_bytes = self._continue()
            self._check_room()
        except OSError as error:
            self._file.close()
            raise self._unwritable(error) from None
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, piece: bytes) -> None:
        """Append the next bytes. Raises WrongBytes, and OSError when the disk fails."""
        self._check.feed(piece)
        self._file.write(piece)

    def finish(self) -> None:
        """Give the complete file its name, with the mode and the owner of a file that it replaces. Raises OSError."""
        self._file.flush()
        if self._path.exists():
            before = self._path.stat()
            os.fchmod(self._file.fileno(), stat.S_IMODE(before.st_mode))
            with contextlib.suppress(PermissionError):  # only root can give files away
                os.fchown(self._file.fileno(), before.st_uid, before.st_gid)
        os.fsync(self._file.fileno())
        self._part.replace(self._path)

    def _unwritable(self, error: OSError) -> Misuse:
        return Misuse(f"{self._part} cannot be written ({error.strerror}): check folder and permissions")

    def _check_owner(self) -> None:
        """Raise Misuse for a part that somebody else can change meanwhile: in /tmp anybody can make one."""
        found = os.fstat(self._file.fileno())
        if found.st_uid != os.geteuid():
            raise Misuse(f"{self._part} belongs to another user: run this as its owner, or name another file")
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise Misuse(f"{self._part} is no regular file, or has another name too: remove it")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = "is being written by another process: wait for it, or name another file"
            raise Misuse(f"{self._part} {problem}") from None

    def _continue(self) -> int:
        """Return how many bytes are there of this file; what is there of another one is dropped."""
        if not self._is_right():
            self._check = TarCheck(self._tar)
            self._file.seek(0)
            self._file.truncate()
        return self._file.tell()

    def _is_right(self) -> bool:
        try:
            while piece := self._file.read(PIECE_BYTES):
                self._check.feed(piece)
        except WrongBytes:
            return False
        return True

    def _check_room(self) -> None:
        free, left = shutil.disk_usage(self._part.parent).free, self._tar.size_bytes - self.found_bytes
        if left > free:
            raise Misuse(f"{self._path} needs {human_size(left)} more, and {human_size(free)} are free: make room")
