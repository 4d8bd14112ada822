"""Lead a fill: continue what is there or begin, fetch, write, check, commit.

What is there is continued only when its sidecar tells what it is, when it still has the hash that was noted, and when
the upstream's blob still has the same size; else another file takes its place, unless somebody was given bytes of it:
then they are cut (WrongContent). Not here: following another process, what becomes of a failure (fill.py).
"""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hubferry.core.errors import OciError
from hubferry.fill.connections import Connections
from hubferry.fill.links import Links
from hubferry.fill.opened import OpenedFile
from hubferry.fill.parts import Effort, Fetch, Fetched, WrongContent
from hubferry.fill.places import Turns
from hubferry.fill.progress import Progress
from hubferry.fill.source import Source
from hubferry.fill.writer import Damaged, Writer, hash_prefix
from hubferry.ports import NoRoom, StoreFailure

MAX_REMEMBERING = 16  # fills that hold their last pieces in memory (progress.py); when there are more, none does

Report = Callable[[str, str], None]
OnUnkept = Callable[[Fetched], Awaitable[None]]
"""Is given an upstream's answer for which there is no room, and sees to its end."""


async def close_unkept(fetched: Fetched) -> None:
    """The `OnUnkept` of whoever has no use for it."""
    await fetched.body.close()


class AlreadyKept(Exception):
    """The blob got its final name in the meantime."""


@dataclass(frozen=True, slots=True)
class Writers:
    """What the writers of one process share: their threads, and their turns."""

    pool: ThreadPoolExecutor
    turns: Turns


@dataclass(frozen=True, slots=True)
class Beginning:
    """From where the file goes on, what was declared of it, and the upstream's answer from there or from before."""

    offset: int
    declared_bytes: int | None
    fetched: Fetched

    @property
    def size_bytes(self) -> int | None:
        """How long the blob is, if known."""
        return self.fetched.size_bytes if self.declared_bytes is None else self.declared_bytes


class Leader:
    """The leading of one fill."""

    def __init__(
        self,
        upstream: str,
        digest: str,
        fetch: Fetch,
        *,
        file: OpenedFile,
        progress: Progress,
        report: Report,
        effort: Effort,
        links: Links,
        writers: Writers,
        client: str,
        on_unkept: OnUnkept,
        on_verified: Callable[[int], Awaitable[None]] | None = None,
        anew: bool = False,
    ) -> None:
        """`on_verified` is told the size in bytes, before the blob has its final name; `anew`: also when it is kept."""
        self._on_verified = on_verified
        self._writers = writers
        self._client = client
        self._on_unkept = on_unkept
        self._upstream = upstream
        self._digest = digest
        self._fetch = fetch
        self._file = file
        self._progress = progress
        self._report = report
        self._effort = effort
        self._links = links
        self._anew_if_kept = anew

    async def begin(self) -> Beginning:
        """Ask the upstream for what is missing.

        Raises AlreadyKept, StoreFailure, WrongContent, and OciError and UpstreamFailure as the fetch does.
        """
        partial = self._file.partial
        if (
            not self._anew_if_kept
            and not self._progress.written_bytes
            and await self._file.on_thread(partial.final_exists)
        ):
            await self._file.remove()
            raise AlreadyKept
        beginning = await self._first_answer()
        try:
            await self._file.on_thread(self._declare, beginning)
        except NoRoom:
            await self._on_unkept(beginning.fetched)
            raise
        except BaseException:
            await beginning.fetched.body.close()
            raise
        self._progress.found_bytes = self._progress.fetched_bytes = beginning.offset
        return beginning

    async def go_on(self, beginning: Beginning, check_wanted: Callable[[], None]) -> None:
        """Fetch the rest and keep the blob. `check_wanted` is called after each piece, and may raise.

        Raises StoreFailure, WrongContent, OciError, UpstreamFailure.
        """
        source = self._source(beginning)
        try:
            try:
                hasher = await self._file.on_thread(hash_prefix, self._file.partial, self._digest, beginning.offset)
            except Damaged as error:
                self._report("partial_damaged", str(error))
                self._progress.found_bytes = self._progress.fetched_bytes = 0
                await source.close()
                beginning = await self._anew(str(error))
                source = self._source(beginning)
                await self._file.on_thread(self._declare, beginning)
                hasher = await self._file.on_thread(hash_prefix, self._file.partial, self._digest, 0)
            self._progress.size_bytes = source.size_bytes
            self._progress.advance(beginning.offset)
            writer = Writer(
                self._file.partial,
                hasher,
                beginning.offset,
                size_bytes=source.size_bytes,
                pool=self._writers.pool,
                on_written=self._written,
                turns=self._writers.turns,
                client=self._client,
            )
            self._writers.turns.writers += 1
            try:
                await self._pump(source, writer, check_wanted)
            finally:
                self._writers.turns.writers -= 1
        finally:
            await source.close()

    def _written(self, written_bytes: int, piece: bytes) -> None:
        if self._writers.turns.writers > MAX_REMEMBERING:
            self._progress.forget_recent()
            piece = b""
        self._progress.advance(written_bytes, piece)

    async def _pump(self, source: Source, writer: Writer, check_wanted: Callable[[], None]) -> None:
        is_right = False
        try:
            connections = Connections(
                self._upstream,
                self._fetch,
                file=self._file,
                writer=writer,
                progress=self._progress,
                effort=self._effort,
                links=self._links,
                client=self._client,
                check_wanted=check_wanted,
            )
            await connections.run(source)
            actual = f"{self._digest.partition(':')[0]}:{await writer.drain()}"
            if actual != self._digest:
                raise WrongContent(f"its bytes have the digest {actual}")
            is_right = True
        finally:
            await writer.stop()
            if not is_right:
                await self._note(writer)
        # readers need not wait for the disk
        self._progress.verify(writer.written_bytes)
        if self._on_verified is not None:
            await self._on_verified(writer.written_bytes)
        await self._file.on_thread(self._file.partial.commit, writer.written_bytes, actual)

    async def _note(self, writer: Writer) -> None:
        try:
            await self._file.on_thread(writer.note_progress)
        except StoreFailure as failure:  # the file will be continued unchecked, or begun anew
            self._report("store_failed", str(failure))

    async def _first_answer(self) -> Beginning:
        offset, size_bytes, is_known = await self._file.on_thread(self._resumable)
        if not is_known:
            return await self._anew("there is no telling what its file holds")
        try:
            fetched = await self._fetch(offset)
        except OciError as error:
            if error.status != 416 or not offset:
                raise
            return await self._anew("the upstream says that it ends before")
        if not offset:
            return Beginning(0, None, fetched)
        is_same = fetched.size_bytes is None or size_bytes in (None, fetched.size_bytes)
        if is_same and fetched.start_bytes <= offset:
            return Beginning(offset, size_bytes, fetched)
        await fetched.body.close()
        return await self._anew(f"its size was {size_bytes} and is now {fetched.size_bytes}")

    def _resumable(self) -> tuple[int, int | None, bool]:
        """How much of the file can be continued, the size that was declared, and whether it is known what it is."""
        partial = self._file.partial
        declared, length_bytes = partial.declared(), partial.settle(self._progress.written_bytes)
        if declared is None:
            return 0, None, length_bytes == 0
        if declared.size_bytes is not None:
            # at least one byte is asked for: the answer is also what proves that the caller may have the rest
            length_bytes = min(length_bytes, max(declared.size_bytes - 1, 0))
        return length_bytes, declared.size_bytes, True

    async def _anew(self, why: str) -> Beginning:
        """Begin with another file. Raises WrongContent when somebody was given bytes of this one."""
        if self._progress.written_bytes:
            raise WrongContent(why)
        await self._file.begin_anew()
        return Beginning(0, None, await self._fetch(0))

    def _declare(self, beginning: Beginning) -> None:
        size_bytes = beginning.size_bytes
        self._file.partial.expect(beginning.offset, size_bytes)
        if not beginning.offset:
            self._file.partial.declare(size_bytes)

    def _source(self, beginning: Beginning) -> Source:
        return Source(
            self._fetch,
            self._upstream,
            beginning.offset,
            size_bytes=beginning.size_bytes,
            fetched=beginning.fetched,
            patience_s=self._effort.patience_s,
        )
