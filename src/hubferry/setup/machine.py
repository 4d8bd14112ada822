"""Files below a root: read them bounded, replace them whole or not at all, with owner and mode.

The root is `/`, or the folder of an image or of a host in a container. Links are followed as on that machine: an
absolute one begins at the root, and none leads out of it. What is no regular file is refused.
"""

import errno
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hubferry.core.client_files import CannotEditError

MAX_BYTES = 2**20
MAX_LINKS = 40
MAX_FILES = 500


@dataclass(frozen=True)
class Seen:
    """A file as it was read: its text, the bits of its mode, its owner and group."""

    text: str
    mode: int
    uid: int
    gid: int


class Machine:
    """The files of one machine, by their absolute paths on it. Every method may raise OSError."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.has_changed = False  # whether anything was written or removed

    @property
    def is_this(self) -> bool:
        """Whether programs of this machine are those that read the files."""
        return self._root == Path("/")

    def place_of(self, path: str) -> Path:
        """Return where a file is, all links followed below the root. Raises OSError for too many of them."""
        place, todo, links = self._root, Path(path).parts[1:], 0
        while todo:
            part, *rest = todo
            if part == "..":
                place = place if place == self._root else place.parent
            elif (place / part).is_symlink():
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = (place / part).readlink()
                place = self._root if target.is_absolute() else place
                rest = [*(one for one in target.parts if one != "/"), *rest]
            elif part != ".":
                place /= part
            todo = tuple(rest)
        return place

    def read(self, path: str) -> Seen | None:
        """Return a file, None if there is none. Raises CannotEditError for what is no text of bounded size."""
        place = self.place_of(path)
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise CannotEditError(f"{path} is no file: move it away")
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise CannotEditError(f"{path} is larger than {MAX_BYTES} bytes, and no such file is: check it")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise CannotEditError(f"{path} is not in UTF-8: correct it first") from None
        return Seen(text, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)

    def find(self, patterns: tuple[str, ...]) -> list[str]:
        """Return the paths of files that match, in their order; at most MAX_FILES for each pattern."""
        found: dict[str, None] = {}
        for pattern in patterns:
            folder, _, names = pattern.rpartition("/")
            if "*" in folder:  # a folder for each registry
                above, _, name = folder.rpartition("/")
                inside = (f"{above}/{one}" for one in self._names(above, name))
                found |= dict.fromkeys(f"{one}/{names}" for one in inside if self.place_of(f"{one}/{names}").is_file())
            else:
                found |= dict.fromkeys(f"{folder}/{one}" for one in self._names(folder, names))
        return list(found)

    def write(self, path: str, seen: Seen) -> None:
        """Replace a file, or make it. Its folder has to be there. An OSError names the file, not the draft of it."""
        place = self.place_of(path)
        try:
            self._replace(place, seen)
        except OSError as error:
            error.filename = str(place)
            raise
        self.has_changed = True

    @staticmethod
    def _replace(place: Path, seen: Seen) -> None:
        descriptor, draft = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if os.geteuid() == 0:
                    os.fchown(descriptor, seen.uid, seen.gid)
                os.fchmod(descriptor, seen.mode)
                file.write(seen.text.encode())
                file.flush()
                os.fsync(descriptor)
            Path(draft).replace(place)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        self.place_of(path).unlink(missing_ok=True)
        self.has_changed = True

    def missing_folders(self, path: str) -> list[str]:
        """Return the folders above a file that are not there, the outermost first."""
        above = [str(folder) for folder in Path(path).parents]
        return [folder for folder in reversed(above) if not self.place_of(folder).exists()]

    def make_folder(self, path: str) -> None:
        """Make a folder that everybody may read, as those of clients are."""
        place = self.place_of(path)
        place.mkdir(exist_ok=True)
        self.has_changed = True
        place.chmod(0o755)

    def remove_folder(self, path: str) -> None:
        """Remove a folder if it is there and empty."""
        place = self.place_of(path)
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()

    def _names(self, folder: str, pattern: str) -> list[str]:
        place = self.place_of(folder)
        if not place.is_dir():
            return []
        return sorted(one.name for one in place.glob(pattern))[:MAX_FILES]
