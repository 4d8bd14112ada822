"""Lead a fill: continue the partial file or begin one, fetch, write, check, commit.

A partial file is continued only when its sidecar says what it is, when its bytes still have the hash that was noted,
and when the upstream's blob still has the same size. Otherwise another file takes its place. When readers were already
given bytes of the old file, they are cut off instead (WrongContent).
Not here: following another process, what happens after a failure (fill.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubferry.core.errors import OciError
from hubferry.fill.bounds import WrongContent
from hubferry.fill.opened import OpenedFile
from hubferry.fill.parallel.connections import Connections
from hubferry.fill.parallel.intake import Intake
from hubferry.fill.parallel.segments import Segments
from hubferry.fill.progress import FillProgress
from hubferry.fill.services import FillServices
from hubferry.fill.source import Source
from hubferry.fill.writer import Damaged, Writer, hash_prefix
from hubferry.ports.content import NoRoom, StoreFailure
from hubferry.ports.fills import Fetched, FillOrder

if TYPE_CHECKING:
    from hashlib import _Hash

MAX_REMEMBERING = 16  # fills that keep their latest pieces in memory (progress.py); while more are running, none does

Report = Callable[[str, str], None]


class AlreadyKept(Exception):
    """The blob got its final name in the meantime, so that there is nothing to fill."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a fill goes on: the offset in the file, the declared size of the blob, and the upstream's answer.

    The answer begins at `offset` or before it. `declared_bytes` is None when the file is new or the size was not known.
    """

    offset: int
    declared_bytes: int | None
    fetched: Fetched

    @property
    def size_bytes(self) -> int | None:
        """The size of the blob in bytes, as declared or else as the upstream says it now; None: not known."""
        return self.fetched.size_bytes if self.declared_bytes is None else self.declared_bytes


class Leader:
    """The leader's part of one fill: it is alone in fetching and writing the blob."""

    def __init__(
        self, order: FillOrder, services: FillServices, file: OpenedFile, progress: FillProgress, report: Report
    ) -> None:
        """`report` is called with the name of an event for the log, and a description of the problem."""
        self._order = order
        self._services = services
        self._file = file
        self._progress = progress
        self._report = report

    async def begin(self) -> Beginning:
        """Ask the upstream for what is missing, and declare in the sidecar what will be written.

        An answer for which there is no room goes to the order's `on_unkept`. Raises AlreadyKept, StoreFailure,
        WrongContent, and OciError and UpstreamFailure as the fetch does.
        """
        partial = self._file.partial
        if (
            not self._order.anew
            and not self._progress.written_bytes
            and await self._file.on_thread(partial.final_exists)
        ):
            await self._file.remove()
            raise AlreadyKept
        beginning = await self._first_answer()
        try:
            await self._file.on_thread(self._declare, beginning)
        except NoRoom:
            await self._order.on_unkept(beginning.fetched)
            raise
        except BaseException:
            await beginning.fetched.body.close()
            raise
        self._progress.found_bytes = self._progress.fetched_bytes = beginning.offset
        return beginning

    async def go_on(self, beginning: Beginning, check_wanted: Callable[[], None]) -> None:
        """Fetch the rest, check the digest and keep the blob.

        `check_wanted` is called after each piece, and may raise to stop the fill. Raises StoreFailure, WrongContent,
        OciError, UpstreamFailure.
        """
        source = self._source(beginning)
        try:
            try:
                hasher = await self._hash_prefix(beginning.offset)
            except Damaged as error:
                self._report("partial_damaged", str(error))
                self._progress.found_bytes = self._progress.fetched_bytes = 0
                await source.close()
                beginning = await self._anew(str(error), is_worthless=True)
                source = self._source(beginning)
                await self._file.on_thread(self._declare, beginning)
                hasher = await self._hash_prefix(0)
            self._progress.size_bytes = source.size_bytes
            self._progress.advance(beginning.offset)
            writer = Writer(
                self._file.partial,
                hasher,
                beginning.offset,
                size_bytes=source.size_bytes,
                pool=self._services.writers.pool,
                on_written=self._written,
                turns=self._services.writers.turns,
                client=self._order.client,
            )
            with self._services.writers.turns.writing():
                await self._pump(source, writer, check_wanted)
        finally:
            await source.close()

    async def _hash_prefix(self, length_bytes: int) -> "_Hash":
        """Return the hash of what the file holds already. Raises Damaged, StoreFailure.

        It is computed on a pool of its own, so that other work does not wait for it.
        """
        pool = self._services.writers.hashing if length_bytes else None
        return await self._file.on_thread(hash_prefix, self._file.partial, self._order.digest, length_bytes, pool=pool)

    def _written(self, written_bytes: int, piece: bytes) -> None:
        """Record the writer's progress for readers; called on the event loop."""
        if self._services.writers.turns.writers > MAX_REMEMBERING:
            self._progress.forget_recent()
            piece = b""
        self._progress.advance(written_bytes, piece)

    async def _pump(self, source: Source, writer: Writer, check_wanted: Callable[[], None]) -> None:
        """Fetch, write and hash everything from the source's offset on, then check the digest and commit."""
        is_right = False
        try:
            intake = Intake(
                self._order,
                writer,
                self._progress,
                check_wanted,
                Segments(source.offset, source.offset if source.size_bytes is None else source.size_bytes),
                size_bytes=source.size_bytes,
            )
            await Connections(intake, self._file, self._services.effort, self._services.links).run(source)
            digest = await writer.drain()
            if source.size_bytes is not None and writer.written_bytes < source.size_bytes:
                missing_bytes = source.size_bytes - writer.written_bytes
                raise StoreFailure(f"{missing_bytes} bytes were fetched and never written: please report this")
            actual = f"{self._order.digest.partition(':')[0]}:{digest}"
            if actual != self._order.digest:
                raise WrongContent(f"its bytes have the digest {actual}")
            is_right = True
        finally:
            await writer.stop()
            if not is_right:
                await self._note(writer)
        # before the commit: readers need not wait for the disk
        self._progress.verify(writer.written_bytes)
        await self._order.on_verified(writer.written_bytes)
        await self._file.on_thread(self._file.partial.commit, writer.written_bytes, actual)

    async def _note(self, writer: Writer) -> None:
        """Write the hash so far into the sidecar; a failure is only reported."""
        try:
            await self._file.on_thread(writer.note_progress)
        except StoreFailure as failure:  # the next fill continues the file unchecked, or begins another
            self._report("store_failed", str(failure))

    async def _first_answer(self) -> Beginning:
        """Ask the upstream for what the file lacks, or for the whole blob when the file cannot be continued."""
        offset, size_bytes, is_known = await self._file.on_thread(self._resumable)
        if not is_known:
            return await self._anew("there is no telling what its file holds", is_worthless=True)
        try:
            fetched = await self._order.fetch(offset)
        except OciError as error:
            if error.status != 416 or not offset:
                raise
            return await self._anew("the upstream says that it ends before")
        if not offset:
            return Beginning(0, None, fetched)
        if fetched.by_mirror and not self._progress.written_bytes:
            # the file holds bytes that the upstream gave, perhaps for another repository. A mirror's answer proves no
            # right to those: its callers may only see the mirror's own bytes
            await fetched.body.close()
            return await self._anew("only a mirror gives the rest of it")
        is_same = fetched.size_bytes is None or size_bytes in (None, fetched.size_bytes)
        if is_same and fetched.start_bytes <= offset:
            return Beginning(offset, size_bytes, fetched)
        await fetched.body.close()
        return await self._anew(f"its size was {size_bytes} and is now {fetched.size_bytes}")

    def _resumable(self) -> tuple[int, int | None, bool]:
        """Return how many bytes of the file can be continued, the declared size, and whether anything is known of it.

        False there means that the file holds bytes and no sidecar says what they are.
        """
        partial = self._file.partial
        declared, length_bytes = partial.declared(), partial.cut_to_whole(self._progress.written_bytes)
        if declared is None:
            return 0, None, length_bytes == 0
        if declared.size_bytes is not None:
            # ask for at least one byte: the answer is also the proof that the caller may have the blob
            length_bytes = min(length_bytes, max(declared.size_bytes - 1, 0))
        return length_bytes, declared.size_bytes, True

    async def _anew(self, why: str, *, is_worthless: bool = False) -> Beginning:
        """Begin with another, empty file. Raises WrongContent when readers were given bytes of the old one.

        The upstream is asked before the old file is removed, because it may fail; a worthless file is removed at once,
        or every later fill would find that out again.
        """
        if self._progress.written_bytes:
            raise WrongContent(why)
        if is_worthless:
            await self._file.begin_anew()
            return Beginning(0, None, await self._order.fetch(0))
        fetched = await self._order.fetch(0)
        try:
            await self._file.begin_anew()
        except BaseException:
            await fetched.body.close()
            raise
        return Beginning(0, None, fetched)

    def _declare(self, beginning: Beginning) -> None:
        """Reserve room for what comes next, and write the sidecar of a new file. Raises NoRoom, StoreFailure."""
        size_bytes = beginning.size_bytes
        self._file.partial.expect(beginning.offset, size_bytes)
        if not beginning.offset:
            self._file.partial.declare(size_bytes)

    def _source(self, beginning: Beginning) -> Source:
        return Source(
            self._order.fetch,
            self._order.upstream,
            beginning.offset,
            size_bytes=beginning.size_bytes,
            fetched=beginning.fetched,
            patience_s=self._services.effort.patience_s,
        )
