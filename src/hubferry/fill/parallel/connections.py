"""Fetch what is missing of a blob, over one connection or over several.

    alone     one connection, whose answer goes to the blob's end. It is slow and much is left             -> together
    together  several (crew.py). Everything is fetched, or they are no faster than one, or all have failed -> alone

To begin with one costs nothing on a fast line, and its answer proves the caller's right to the blob. What was learnt
about an upstream is remembered (links.py): where several connections were faster, the next large blob begins with all
of them, and where they were not, with one. Only a connection that is alone has the whole patience: the fill fails when
that gets nowhere.
Invariant: no connection is left open, whichever way `run` ends.
"""

from dataclasses import replace

from hubferry.fill.bounds import Effort
from hubferry.fill.opened import OpenedFile
from hubferry.fill.parallel.crew import Crew
from hubferry.fill.parallel.intake import Connection, Intake
from hubferry.fill.parallel.links import Links
from hubferry.fill.source import Source

LOOK_S = 0.3  # for how long a body is received before its rate means anything
LOOK_AGAIN_S = 1.0  # for how long its rate is measured after that, again and again
WORTH_S = 2.0  # several are worth it when one connection would take longer than this for what is left
FAST_BYTES_PER_S = 100e6  # bytes a second: a connection that gives as much needs no help


class Connections:
    """Fetches one blob, over as many connections as are worth it."""

    def __init__(self, intake: Intake, file: OpenedFile, effort: Effort, links: Links) -> None:
        self._intake = intake
        self._file = file
        self._effort = effort
        self._links = links
        self._may_share = effort.connections > 1
        self._is_first = True

    async def run(self, source: Source) -> None:
        """Fetch everything from a source's offset to the blob's end, and give it to the writer.

        Raises UpstreamFailure, WrongContent, StoreFailure, and what the intake's `check_wanted` raises.
        """
        intake = self._intake
        if intake.size_bytes is None:
            while (piece := await source.next_piece()) is not None:
                await intake.put(piece, source.offset - len(piece))
            return
        segment = intake.segments.take_gap()
        connection = None if segment is None else intake.connect(segment, source)
        while connection is not None:
            try:
                await self._fetch_gap(connection)
            finally:
                await connection.source.close()
            segment = intake.segments.take_gap()
            connection = None if segment is None else intake.connect_alone(segment, self._effort.patience_s)

    async def _fetch_gap(self, connection: Connection) -> None:
        """Fetch the range of a connection: with that one alone, then with several when they may be faster."""
        intake = self._intake
        bytes_per_s = await self._alone(connection)
        if bytes_per_s is None:
            intake.segments.finish(connection.segment)
        elif await self._file.on_thread(self._file.partial.go_ahead):
            crew = Crew(intake, self._links, self._effort, bytes_per_s)
            await crew.run(connection)
            self._effort = replace(self._effort, connections=crew.allowed)  # from now on, for this blob
            self._may_share = crew.allowed > 1
        else:  # the file system cannot note ranges ahead of the front, so it has to be written in order
            self._may_share = False
            intake.segments.finish(connection.segment)

    async def _alone(self, connection: Connection) -> float | None:
        """Fetch a connection's range for as long as one connection is enough.

        Returns None when all of it is fetched, otherwise the connection's rate in bytes a second: several may be
        faster.
        """
        intake = self._intake
        looked_s, next_s, seen_bytes = 0.0, 0.0, 0
        known = self._links.known(intake.upstream, intake.now())
        # only once: later it is alone because several have failed together, and one has to be patient
        is_first, self._is_first = self._is_first, False
        if is_first and known is not None and known.verdict == "helps" and self._is_worth(known.bytes_per_s):
            return known.bytes_per_s
        while size_bytes := await intake.next_piece(connection):
            now_s = intake.now()
            if not next_s:  # measured from the first piece on: before that there is the round trip
                looked_s, next_s, seen_bytes = now_s, now_s + LOOK_S, 0
                continue
            seen_bytes += size_bytes
            if now_s >= next_s:
                bytes_per_s = seen_bytes / (now_s - looked_s)
                if self._is_worth(bytes_per_s):
                    return bytes_per_s
                looked_s, next_s, seen_bytes = now_s, now_s + LOOK_AGAIN_S, 0
        return None

    def _is_worth(self, bytes_per_s: float) -> bool:
        """Return whether further connections may be faster than one that gives `bytes_per_s` bytes a second."""
        intake = self._intake
        left_bytes = intake.segments.left_bytes
        if not self._may_share or left_bytes < self._effort.parallel_from_bytes:
            return False
        if bytes_per_s > FAST_BYTES_PER_S or left_bytes < bytes_per_s * WORTH_S:
            return False
        known = self._links.known(intake.upstream, intake.now())
        return (known is None or known.verdict == "helps") and self._links.has_room(intake.upstream, intake.client)
