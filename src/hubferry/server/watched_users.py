"""The `UserSource` port over the files of users and secrets, which are read again when they change.

Every LOOK_S it is looked whether they changed. A changed file is read when it looks the same twice, because htpasswd
writes in place. One that cannot be read any more changes nothing but the log.
"""

import asyncio
import contextlib
from pathlib import Path

from hubferry.core.settings import AccessSettings
from hubferry.core.users import Directory
from hubferry.core.values import ConfigError
from hubferry.server.log import logger
from hubferry.server.user_files import paths_of, read_directory

LOOK_S = 1.0

Signature = tuple[tuple[int, ...] | None, ...]


class WatchedUsers:
    """The users of the two files, at any time as they are then (the `UserSource` port)."""

    def __init__(self, access: AccessSettings) -> None:
        """Read the files, which `start` then watches. Raises ConfigError when one of them cannot be used."""
        self._access = access
        self._read_from = self._seen = self._look()
        self._directory = read_directory(access)
        self._revision = 0
        self._problem = ""
        self._watching: asyncio.Task[None] | None = None

    def current(self) -> Directory:
        return self._directory

    def revision(self) -> int:
        return self._revision

    def start(self) -> None:
        """Begin to look for changes."""
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop looking for changes, which `start` began."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._reread_if_changed()
            except Exception as error:  # noqa: BLE001 - whatever fails: what is revoked later must still be noticed
                self._tell(repr(error))

    async def _reread_if_changed(self) -> None:
        before, self._seen = self._seen, await asyncio.to_thread(self._look)
        if self._seen != before or self._seen == self._read_from:
            return
        try:
            found = await asyncio.to_thread(read_directory, self._access)
        except ConfigError as error:
            self._tell(str(error))
            return
        self._read_from, self._directory, self._problem = self._seen, found, ""
        self._revision += 1
        with contextlib.suppress(OSError):  # a full disk
            logger().info("users_reread", users_file=self._access.users_file)

    def _tell(self, problem: str) -> None:
        """Log a problem, once as long as it stays the same. It is tried again."""
        if problem != self._problem:
            self._problem = problem
            with contextlib.suppress(OSError):
                logger().warning("users_not_reread", problem=problem)

    def _look(self) -> Signature:
        return tuple(_signature(path) for path in paths_of(self._access))


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file does, also when it is a symbolic link that points elsewhere now."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size
