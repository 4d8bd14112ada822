"""Fetch what is missing of a blob, over one connection or over several.

    alone     one connection, whose answer goes to the end; where it is slow and much is left        -> together
    together  several (crew.py); everything is fetched, or they are no faster, or all of them failed  -> alone

To begin with one costs a fast line nothing, and its answer is what proves the caller's right. What was learnt of the
way to an upstream is remembered (links.py): where several were faster, the next large blob begins with all of them, and
where they were not, with one. Only who is alone has all the patience: the fill fails when nobody gets anywhere.
Invariant: no connection is left open, on every way out.
"""

from collections.abc import Callable
from dataclasses import replace

from hubferry.fill.crew import Crew
from hubferry.fill.intake import Connection, Intake
from hubferry.fill.links import Links
from hubferry.fill.opened import OpenedFile
from hubferry.fill.parts import Effort, Fetch
from hubferry.fill.progress import Progress
from hubferry.fill.segments import Segments
from hubferry.fill.source import Source
from hubferry.fill.writer import Writer

LOOK_S = 0.3  # of a body, before its rate means anything
LOOK_AGAIN_S = 1.0
WORTH_S = 2.0  # what is left takes longer than that over one connection
FAST_BPS = 100e6  # what one connection gives by itself needs no help


class Connections:
    """The fetching of one blob."""

    def __init__(
        self,
        upstream: str,
        fetch: Fetch,
        *,
        file: OpenedFile,
        writer: Writer,
        progress: Progress,
        effort: Effort,
        links: Links,
        client: str = "",
        check_wanted: Callable[[], None],
    ) -> None:
        """`check_wanted` is called after each piece, and may raise; `client` is whose share of connections it takes."""
        self._client = client
        self._upstream = upstream
        self._fetch = fetch
        self._file = file
        self._writer = writer
        self._progress = progress
        self._effort = effort
        self._links = links
        self._check_wanted = check_wanted
        self._may_share = effort.connections > 1
        self._is_first = True

    async def run(self, source: Source) -> None:
        """Fetch from a source's offset to the blob's end, and give it to the writer.

        Raises UpstreamFailure, WrongContent, StoreFailure, and what `check_wanted` does.
        """
        size_bytes = source.size_bytes
        segments = Segments(source.offset, source.offset if size_bytes is None else size_bytes)
        intake = Intake(
            self._upstream,
            self._fetch,
            segments=segments,
            size_bytes=size_bytes,
            writer=self._writer,
            progress=self._progress,
            check_wanted=self._check_wanted,
        )
        if size_bytes is None:
            while (piece := await source.next_piece()) is not None:
                await intake.put(piece, source.offset - len(piece))
            return
        segment = segments.take_gap()
        connection = None if segment is None else intake.connect(segment, source)
        while connection is not None:
            try:
                await self._fetch_gap(intake, connection)
            finally:
                await connection.source.close()
            segment = segments.take_gap()
            connection = None if segment is None else intake.connect_alone(segment, self._effort.patience_s)

    async def _fetch_gap(self, intake: Intake, connection: Connection) -> None:
        rate_bps = await self._alone(intake, connection)
        if rate_bps is None:
            intake.segments.finish(connection.segment)
        elif await self._file.on_thread(self._file.partial.go_ahead):
            known = self._links.known(self._upstream, intake.now())
            crew = Crew(intake, self._links, self._effort, rate_bps, is_known=known is not None, client=self._client)
            await crew.run(connection)
            self._effort = replace(self._effort, connections=crew.allowed)  # for this blob
            self._may_share = crew.allowed > 1
        else:  # it has to be written in order, then
            self._may_share = False
            intake.segments.finish(connection.segment)

    async def _alone(self, intake: Intake, connection: Connection) -> float | None:
        """Fetch a range, all of it: None; or as long as one connection is enough: the rate of it."""
        looked_s, next_s, seen_bytes = 0.0, 0.0, 0
        known = self._links.known(self._upstream, intake.now())
        # only once: later it is alone because all failed together, and somebody has to be patient
        is_first, self._is_first = self._is_first, False
        if is_first and known is not None and known.verdict == "helps" and self._is_worth(intake, known.rate_bps):
            return known.rate_bps
        while size_bytes := await intake.next_piece(connection):
            now_s = intake.now()
            if not next_s:  # from the first piece on: before that it is the round trip
                looked_s, next_s, seen_bytes = now_s, now_s + LOOK_S, 0
                continue
            seen_bytes += size_bytes
            if now_s >= next_s:
                rate_bps = seen_bytes / (now_s - looked_s)
                if self._is_worth(intake, rate_bps):
                    return rate_bps
                looked_s, next_s, seen_bytes = now_s, now_s + LOOK_AGAIN_S, 0
        return None

    def _is_worth(self, intake: Intake, rate_bps: float) -> bool:
        """Whether further connections may be faster than one of that rate."""
        left_bytes = intake.segments.left_bytes
        if not self._may_share or left_bytes < self._effort.parallel_from_bytes:
            return False
        if rate_bps > FAST_BPS or left_bytes < rate_bps * WORTH_S:
            return False
        known = self._links.known(self._upstream, intake.now())
        return (known is None or known.verdict == "helps") and self._links.has_room(self._upstream, self._client)
