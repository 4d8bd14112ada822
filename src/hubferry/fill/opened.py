"""The file of one fill as it is opened, replaced by another, looked at and closed; its work is done on threads.

Only whoever leads removes the file. Readers share one opening (`shared`), which lasts until the last of them is gone.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple, Unpack

from hubferry.fill.parts import Partial, Partials, Standing
from hubferry.fill.reader import SharedFile
from hubferry.ports import StoreFailure

MAX_OPENINGS = 3

T = TypeVar("T")
Args = TypeVarTuple("Args")


@dataclass(frozen=True, slots=True)
class Look:
    """What a follower sees of another process's fill."""

    standing: Standing
    written_bytes: int
    size_bytes: int | None


class OpenedFile:
    """The opening of the file of one (upstream, digest)."""

    def __init__(self, upstream: str, digest: str, partials: Partials, pool: ThreadPoolExecutor) -> None:
        self._upstream = upstream
        self._digest = digest
        self._partials = partials
        self._pool = pool
        self.shared: SharedFile | None = None

    @property
    def partial(self) -> Partial:
        """The file itself. Raises StoreFailure when it could not be opened."""
        if self.shared is None:
            raise StoreFailure("the file of a blob under way is not open")
        return self.shared.partial

    async def open(self) -> Standing:
        """Open the file, another one in place of one that was open, and find out who writes it.

        Readers who wait for its first bytes will read the new one. Raises StoreFailure.
        """
        for _ in range(MAX_OPENINGS):
            standing = await self.on_thread(self._reopen)
            if standing not in ("discarded", "abandoned"):  # removed or renamed between opening and locking
                return standing
        raise StoreFailure("the file of a blob under way vanishes as soon as it is opened")

    async def begin_anew(self) -> None:
        """Remove the file, which is ours, and begin another. Raises StoreFailure."""
        await self.on_thread(self.partial.discard)
        if await self.open() != "ours":
            raise StoreFailure("another process took the file of a blob that was to begin anew")

    async def look(self) -> Look:
        """What became of the file meanwhile; that may be that it is ours now. Raises StoreFailure."""
        return await self.on_thread(self._look)

    async def remove(self, *, only_empty: bool = False) -> None:
        """Remove the file, which is ours."""

        def remove() -> None:
            if not only_empty or not self.partial.length_bytes():
                self.partial.discard()

        await self.on_thread(remove)

    async def abandon(self) -> None:
        """Remove the file, which is ours and right, but cannot be kept."""
        await self.on_thread(self.partial.abandon)

    async def on_thread(self, work: Callable[[Unpack[Args]], T], *args: *Args) -> T:
        """Blocking work; whoever is cancelled waits for its end, because it uses the file."""
        job = asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait({job})
            if not job.cancelled():
                job.exception()
            raise

    def give_back(self) -> None:
        """Let others write the file; it is closed when its last reader is gone, and nobody new may read it."""
        shared, self.shared = self.shared, None
        if shared is not None:
            shared.partial.release()
            shared.give_back()

    def _reopen(self) -> Standing:
        # assigned here, so that it is closed also when whoever waits for this is cancelled
        if self.shared is None:
            partial = self._partials.open_partial(self._upstream, self._digest)
            self.shared = SharedFile(partial, self._pool)
        else:
            opened = self._partials.open_partial(self._upstream, self._digest)  # may fail: the old one stays then
            self.shared.partial.close()
            self.shared.partial = opened
        return self.shared.partial.standing()

    def _look(self) -> Look:
        # before the lock is looked at: if it is held then, what this says was said by whoever holds it
        length_bytes = self.partial.length_bytes()
        standing = self.partial.standing()
        declared = self.partial.declared()
        return Look(standing, length_bytes, declared.size_bytes if declared else None)
