"""A cache folder is its owner's alone: no other user of the machine reads private images in it, or puts anything there.

A umask of 077 (cli) does the same for what is made later. What cannot be closed is reported, not hidden: file systems
without modes (vfat, CIFS) and folders that belong to somebody else are used all the same.
"""

import contextlib
import os
import stat
from pathlib import Path

UMASK = 0o077
FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
# what hubferry has in a cache folder; ext4 puts lost+found where it is mounted
_OURS = frozenset({"blobs", "partial", "quarantine", "withdrawals", "lost+found"})
_OURS_BEGIN = ("index.", "token.key", ".token.key", "count.lock", "warm.lock")


def close_to_others(folder: Path) -> str:
    """Create a cache folder, or take everybody else's rights from one that exists.

    Returns what an operator has to know: that others can still reach it, or could until now; empty when there is
    nothing. A folder that holds other things than hubferry's keeps its mode, and only what is hubferry's in it is
    closed.
    """
    try:
        if not folder.exists():
            folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        before = folder.stat()
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return ""  # whoever uses the folder later reports that
    if before.st_mode & FOR_OTHERS and all(_is_ours(name) for name in names):
        with contextlib.suppress(OSError):
            folder.chmod(stat.S_IRWXU)
    open_names = [name for name in names if _is_ours(name) and not _closed(folder / name)]
    if before.st_uid not in (os.geteuid(), 0):
        return (
            f"{folder} belongs to the user {before.st_uid}, who can read and change what is kept there: "
            f"`chown {os.geteuid()}` it, or set cache.dir to a folder of hubferry's own"
        )
    after = stat.S_IMODE(folder.stat().st_mode)
    if after & FOR_OTHERS and (open_names or all(_is_ours(name) for name in names)):
        return (
            f"{folder} can be {'written' if after & _WRITABLE else 'read'} by other users of this machine: its mode is "
            f"{after:o}, and changing it failed or did nothing: `chmod 700` it as its owner, or set cache.dir to a "
            "folder on a file system that has modes"
        )
    if after & _WRITABLE and not before.st_mode & stat.S_ISVTX:
        return (
            f"{folder} can be written by other users of this machine (mode {after:o}), and holds more than hubferry's "
            "files: set cache.dir to a folder of hubferry's own"
        )
    if before.st_mode & _WRITABLE and names:
        return (
            f"{folder} could be written by other users of this machine until now (mode "
            f"{stat.S_IMODE(before.st_mode):o}): `hubferry cache verify` finds what was altered, and a token.key that "
            "others may have read or put there should be removed, so that another one is made"
        )
    return ""


def _is_ours(name: str) -> bool:
    """Return whether a name in the folder is one that hubferry gives, or lost+found."""
    return name in _OURS or name.startswith(_OURS_BEGIN)


def _closed(path: Path) -> bool:
    """Take others' rights from an entry, and return whether they have none now. Somebody else's link is removed."""
    with contextlib.suppress(OSError):
        seen = path.lstat()
        if stat.S_ISLNK(seen.st_mode):
            if seen.st_uid not in (os.geteuid(), 0):
                path.unlink()
            return True
        if seen.st_mode & FOR_OTHERS:
            path.chmod(stat.S_IMODE(seen.st_mode) & ~FOR_OTHERS)
        return not path.lstat().st_mode & FOR_OTHERS
    return True
