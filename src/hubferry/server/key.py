"""The file with the key that seals tokens: read it, or create it when there is none.

Whoever has the key can read the accounts in tokens and make tokens. So a key file in the cache folder is refused when
somebody else put it there, and its mode is changed when other users can read it. A file that the operator named is used
as it is.
"""

import base64
import contextlib
import fcntl
import os
import secrets
import stat
from pathlib import Path

from hubferry.core.values import TOKEN_KEY_BYTES, parse_token_key
from hubferry.store.private import FOR_OTHERS

MAX_BYTES = 1024  # a key has 44 characters


class KeyProblem(Exception):
    """The token key cannot be used. The message says which file it is and what to do."""


def load_or_create_key(path: Path, *, is_ours: bool) -> tuple[bytes, str]:
    """Return the key in a file, and a warning for the log.

    The file holds base64url of 32 bytes. It is created with mode 0600 when it does not exist; processes that start
    together get the same key. `is_ours`: the file is hubferry's own, not one that the operator named. The warning says
    who else could read the file; it is empty when nobody could. Raises KeyProblem.
    """
    try:
        while True:
            try:
                return _read(path, is_ours=is_ours)
            except FileNotFoundError:
                _make(path)
    except OSError as error:
        raise KeyProblem(
            f"{path}: can be neither read nor made ({error.strerror}): fix the permissions of the file or its folder, "
            "or set access.token_key_file or access.token_key"
        ) from None


def _read(path: Path, *, is_ours: bool) -> tuple[bytes, str]:
    """Read the key, and find out who else can read it: see `load_or_create_key`.

    Raises FileNotFoundError, OSError, KeyProblem.
    """
    if is_ours and path.is_symlink():
        raise KeyProblem(f"{path}: is a symbolic link: remove it to have a key made, or set access.token_key_file")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_NOFOLLOW if is_ours else 0))
    with os.fdopen(descriptor, "rb") as file:
        seen = os.fstat(descriptor)
        if is_ours and seen.st_uid not in (os.geteuid(), 0):
            raise KeyProblem(
                f"{path}: belongs to the user {seen.st_uid}, who knows it: remove it to have another one made, "
                "or set access.token_key_file"
            )
        content = file.read(MAX_BYTES)
        problem = ""
        if seen.st_mode & FOR_OTHERS:
            problem = f"{path}: other users of this machine can read it (mode {stat.S_IMODE(seen.st_mode):o})"
            if is_ours:
                with contextlib.suppress(OSError):
                    os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)
            if not os.fstat(descriptor).st_mode & FOR_OTHERS:
                problem = problem.replace("can read it", "could read it until now")
            problem += ": remove it to have another one made" if is_ours else ": give it mode 600"
    try:
        return parse_token_key(content.decode("ascii")), problem
    except ValueError:
        problem = f"{path}: is no token key (base64url of {TOKEN_KEY_BYTES} bytes): remove it to have one made"
        raise KeyProblem(problem) from None


def _make(path: Path) -> None:
    """Create the key file, or wait until another process has created it. Raises OSError.

    The key is written to a draft that is then renamed, so the file is complete as soon as it exists. All processes use
    the same draft and lock it. The lock ends with its process, so the draft that a killed process left is used again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    if draft.is_symlink():
        draft.unlink(missing_ok=True)
    is_new = True
    try:
        descriptor = os.open(draft, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        is_new = False
        descriptor = os.open(draft, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_named(descriptor, draft):
            return  # it became the key, or was removed, while the lock was waited for
        seen = os.fstat(descriptor)
        is_open = seen.st_uid != os.geteuid() or seen.st_mode & FOR_OTHERS
        if path.exists() or (is_open and not is_new):  # somebody who can open this draft could read a key written to it
            draft.unlink()
            return
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, base64.urlsafe_b64encode(secrets.token_bytes(TOKEN_KEY_BYTES)) + b"\n", 0)
        os.fsync(descriptor)
        draft.rename(path)
    finally:
        os.close(descriptor)


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
