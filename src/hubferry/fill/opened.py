"""The partial file of one fill: opened, replaced, looked at and closed, with the blocking work on threads.

Only the leader removes the file. All readers share one opening (`shared`), which lasts until the last of them is gone.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple, Unpack

from hubferry.fill.reader import SharedFile
from hubferry.ports.content import StoreFailure
from hubferry.ports.partials import Partial, Partials, Standing

MAX_OPENINGS = 3

T = TypeVar("T")
Args = TypeVarTuple("Args")


@dataclass(frozen=True, slots=True)
class Look:
    """What a follower sees of another process's fill, at one moment.

    `written_bytes` is how far the file is whole, `size_bytes` how long the blob will be; None: not known.
    """

    standing: Standing
    written_bytes: int
    size_bytes: int | None


class OpenedFile:
    """The partial file of one (upstream, digest), as this process has it open."""

    def __init__(self, upstream: str, digest: str, partials: Partials, pool: ThreadPoolExecutor) -> None:
        self._upstream = upstream
        self._digest = digest
        self._partials = partials
        self._pool = pool
        self.shared: SharedFile | None = None

    @property
    def partial(self) -> Partial:
        """The open file. Raises StoreFailure when it is not open."""
        if self.shared is None:
            raise StoreFailure("the file of a blob under way is not open")
        return self.shared.partial

    async def open(self) -> Standing:
        """Open the file, or open it anew in place of the one that was open, and return who writes it.

        Readers that wait for its first bytes will read the new one. Raises StoreFailure.
        """
        for _ in range(MAX_OPENINGS):
            standing = await self.on_thread(self._reopen)
            if standing not in ("discarded", "abandoned"):  # removed or renamed between opening and locking
                return standing
        raise StoreFailure("the file of a blob under way vanishes as soon as it is opened")

    async def begin_anew(self) -> None:
        """Remove the file, which this process leads, and open a new one in its place. Raises StoreFailure."""
        await self.on_thread(self.partial.discard)
        if await self.open() != "ours":
            raise StoreFailure("another process took the file of a blob that was to begin anew")

    async def look(self) -> Look:
        """Return what became of another process's fill; it is ours when its leader has gone. Raises StoreFailure."""
        return await self.on_thread(self._look)

    async def remove(self, *, only_empty: bool = False) -> None:
        """Remove the file, which this process leads; with `only_empty` only when it holds no bytes."""

        def remove() -> None:
            if not only_empty or not self.partial.length_bytes():
                self.partial.discard()

        await self.on_thread(remove)

    async def abandon(self) -> None:
        """Remove the file, which this process leads: its bytes are right so far, but cannot be kept."""
        await self.on_thread(self.partial.abandon)

    async def on_thread(
        self, work: Callable[[Unpack[Args]], T], *args: *Args, pool: ThreadPoolExecutor | None = None
    ) -> T:
        """Run blocking work on a thread, and return its result.

        A caller that is cancelled still waits for the end of the work, because that uses the file. `pool` is for long
        work.
        """
        job = asyncio.get_running_loop().run_in_executor(pool or self._pool, work, *args)
        try:
            return await asyncio.shield(job)
        except OSError as error:  # of whatever the disk does not allow: pulls go on without the cache
            raise StoreFailure(f"the file of {self._digest} cannot be used: {error}") from error
        except asyncio.CancelledError:
            await asyncio.wait({job})
            if not job.cancelled():
                job.exception()
            raise

    def give_back(self) -> None:
        """Release the lock, so that another process may write the file, and admit no new readers.

        The file is closed when its last reader is gone.
        """
        shared, self.shared = self.shared, None
        if shared is not None:
            shared.partial.release()
            shared.give_back()

    def _reopen(self) -> Standing:
        # assigned on the thread, so that the file is closed even when the caller is cancelled meanwhile
        if self.shared is None:
            partial = self._partials.open_partial(self._upstream, self._digest)
            self.shared = SharedFile(partial, self._pool)
        else:
            opened = self._partials.open_partial(self._upstream, self._digest)  # may fail: then the old one stays
            self.shared.partial.close()
            self.shared.partial = opened
        return self.shared.partial.standing()

    def _look(self) -> Look:
        # the length before the lock: when the lock is held after that, its holder has written this length
        length_bytes = self.partial.length_bytes()
        standing = self.partial.standing()
        declared = self.partial.declared()
        return Look(standing, length_bytes, declared.size_bytes if declared else None)
