"""The files with the gateway's own users and their secrets: read by the server, and changed by the command line.

Not here: noticing that they changed (watched_users.py).
"""

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from hubferry.core.settings import AccessSettings
from hubferry.core.users import Directory, StoredSecret, format_secrets, parse_secrets, parse_users
from hubferry.core.values import ConfigError
from hubferry.store.private import FOR_OTHERS

MAX_BYTES = 64 * 2**20

Parsed = TypeVar("Parsed")


def users_path(access: AccessSettings) -> Path | None:
    """Return the path of the users file, None: there is none."""
    return Path(access.users_file) if access.users_file else None


def secrets_path(access: AccessSettings) -> Path | None:
    """Return the path of the secrets file, which is beside the users file unless it is set; None: there is none."""
    if access.secrets or not (access.secrets_file or access.users_file):
        return None
    return Path(access.secrets_file) if access.secrets_file else Path(access.users_file).with_name("secrets.json")


def read_users(access: AccessSettings) -> dict[str, str]:
    """Return the bcrypt hashes of users by name; none when there is no file yet. Raises ConfigError."""
    path = users_path(access)
    if path is None:
        return parse_users(access.users)
    return _parsed("users_file", path, parse_users, if_missing="")


def read_secrets(access: AccessSettings) -> list[StoredSecret]:
    """Return access tokens and client secrets; none when there is no file yet. Raises ConfigError."""
    path = secrets_path(access)
    if path is None:
        return parse_secrets(access.secrets) if access.secrets else []
    return _parsed("secrets_file", path, parse_secrets, if_missing=format_secrets([]))


def read_directory(access: AccessSettings) -> Directory:
    """Return everybody whom the gateway knows. Raises ConfigError with file and remedy, also without a users file."""
    path = users_path(access)
    hashes = read_users(access) if path is None else _parsed("users_file", path, parse_users)
    issuers = [issuer.name for issuer in access.issuers.rows]
    return Directory(hashes, read_secrets(access), dict(access.groups.rows), issuers)


def _parsed(key: str, path: Path, parse: Callable[[str], Parsed], *, if_missing: str | None = None) -> Parsed:
    """Return what a file says; `if_missing` is its text when there is none. Raises ConfigError."""
    try:
        try:
            return parse(read_text(path))
        except FileNotFoundError:
            if if_missing is None:
                raise
            return parse(if_missing)
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        remedy = "make it with `hubferry user add NAME`" if is_missing else "check path and permissions"
        problem = f"{path} cannot be read ({error.strerror}): {remedy}"
        raise ConfigError(f"access.{key}", problem) from None
    except ValueError as error:
        raise ConfigError(f"access.{key}", f"{path}: {error}") from None


def read_text(path: Path) -> str:
    """Return the text of a file of bounded size. Raises OSError, ValueError for what is no UTF-8."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


def paths_of(access: AccessSettings) -> list[Path]:
    """Return the paths of the files that there are, of users and of secrets."""
    return [path for path in (users_path(access), secrets_path(access)) if path is not None]


def open_to_others(access: AccessSettings) -> list[str]:
    """Return the files that other users of this machine can read, in sentences."""
    problems = []
    for path in paths_of(access):
        with contextlib.suppress(OSError):
            mode = path.stat().st_mode
            if mode & FOR_OTHERS:
                problems.append(f"{path}: other users of this machine can read it (mode {stat.S_IMODE(mode):o}): 600")
    return problems


def edit_users(access: AccessSettings, change: Callable[[str], str]) -> None:
    """Change the text of the users file; `change` gets an empty text when there is no file. Raises ConfigError."""
    _edit("users_file", users_path(access), change)


def edit_secrets(access: AccessSettings, change: Callable[[list[StoredSecret]], list[StoredSecret]]) -> None:
    """Change the rows of the secrets file; `change` gets none when there is no file. Raises ConfigError."""
    _edit(
        "secrets_file", secrets_path(access), lambda text: format_secrets(change(parse_secrets(text) if text else []))
    )


def _edit(key: str, path: Path | None, change: Callable[[str], str]) -> None:
    if path is None:
        raise ConfigError(f"access.{key}", "it is not set, so there is no file to change: set it")
    try:
        path = path.resolve()
        with _locked(path):
            try:
                text = read_text(path)
            except FileNotFoundError:
                text = ""
            replace_text(path, change(text))
    except OSError as error:
        problem = f"{path} cannot be changed ({error.strerror}): check path and permissions"
        raise ConfigError(f"access.{key}", problem) from None
    except ValueError as error:
        raise ConfigError(f"access.{key}", f"{path}: {error}") from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep others who change the same file out. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(path.with_name(f".{path.name}.lock"), flags, 0o600)
    try:
        if os.geteuid() == 0:  # the user that the gateway runs as changes its files as well
            owner = path.parent.stat()
            os.fchown(lock, owner.st_uid, owner.st_gid)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def replace_text(path: Path, text: str) -> None:
    """Replace the text of a file, whole or not at all. Owner and mode stay; a new file has 0600. Raises OSError."""
    try:
        like, mode = path.stat(), stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        like, mode = path.parent.stat(), 0o600
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if os.geteuid() == 0:  # root changes the files of the user that the gateway runs as
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
