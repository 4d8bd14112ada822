"""A scripted upstream for fills, and a stage with a real store in a folder of the test's own."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hubferry.core.errors import Code, OciError
from hubferry.fill.bounds import PIECE_BYTES, Effort
from hubferry.fill.fills import LocalFills
from hubferry.ports.fills import Fetch, Fetched, FillOrder
from hubferry.ports.partials import Partials
from hubferry.ports.shell import FillResult, Uncounted
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.store.blobs import FileBlobs
from tests.gateway.fakes import FakeLog
from tests.support.scenes import run_scene

UPSTREAM = "docker.io"
MIB = 2**20
HELD_BACK = 64 * 1024


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def content(size_bytes: int, seed: int = 1) -> bytes:
    block = hashlib.sha256(str(seed).encode()).digest() * 2048
    numbered = b"".join(number.to_bytes(8, "big") + block for number in range(size_bytes // len(block) + 1))
    return numbered[:size_bytes]


class Body:
    """Gives `data` in pieces, then breaks off after `cut_after` bytes if that is less."""

    def __init__(self, upstream: "Upstream", data: bytes) -> None:
        self._upstream = upstream
        self._data = memoryview(data)
        self._given = 0
        self.closed = False

    async def read(self) -> bytes | None:
        up = self._upstream
        if up.gate is not None:
            await up.gate(self._given)
        await asyncio.sleep(0)
        left = len(self._data) - self._given
        if up.cut_after is not None and self._given >= up.cut_after and (left or up.cut_at_end):
            raise UpstreamFailure(Cause.CUT, UPSTREAM, "cut by the script")
        if not left:
            return None
        size = min(up.piece, left, left if up.cut_after is None else max(up.cut_after - self._given, 1))
        piece = bytes(self._data[self._given : self._given + size])
        self._given += size
        up.given_bytes += size
        return piece

    async def close(self) -> None:
        self.closed = True


@dataclass
class Upstream:
    """What it holds (`data`), what it says of it, and how it breaks."""

    data: bytes
    knows_ranges: bool = True
    says_size: Callable[[int], int | None] = lambda real: real
    cut_after: int | None = None
    cut_at_end: bool = False
    piece: int = 100_000
    gate: Callable[[int], Coroutine[Any, Any, None]] | None = None
    refusals: dict[int, Exception] = field(default_factory=dict)  # number of the fetch -> what it raises
    offsets: list[int] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    given_bytes: int = 0

    async def fetch(self, start: int, end: int | None = None) -> Fetched:
        self.offsets.append(start)
        await asyncio.sleep(0)
        if (error := self.refusals.get(len(self.offsets))) is not None:
            raise error
        size = self.says_size(len(self.data))
        if not self.knows_ranges:
            start, end = 0, None
        if start and size is not None and start >= size:
            raise OciError(416, Code.UNSUPPORTED, "outside")
        body = Body(self, self.data[start:end])
        self.bodies.append(body)
        return Fetched(start, size, body)


class Asked(Protocol):
    """An upstream as a fill asks it."""

    @property
    def fetch(self) -> Fetch:
        """See ports.Fetch."""


class Counted(Uncounted):
    """What fills had counted, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def fill_ended(self, upstream: str, result: FillResult) -> None:
        assert upstream == UPSTREAM
        self.events.append(result)

    def wrong_content(self, upstream: str) -> None:
        assert upstream == UPSTREAM
        self.events.append("wrong_content")

    def store_failed(self) -> None:
        self.events.append("not_kept")


class Stage:
    """LocalFills over a real store."""

    def __init__(
        self,
        folder: Path,
        *,
        partials: Callable[[FileBlobs], Partials] | None = None,
        unwatched_bytes: int = 2**30,
        effort: Effort | None = None,
    ) -> None:
        self.folder = folder
        self.store = FileBlobs(folder)
        self.log = FakeLog()
        self.counted = Counted()
        self.fills = LocalFills(
            partials(self.store) if partials else self.store,
            self.log,
            unwatched_bytes=unwatched_bytes,
            effort=effort,
            metrics=self.counted,
        )

    async def open(self, digest: str, upstream: Asked, start: int = 0, end: int | None = None) -> Any:
        """A body of a blob that is kept or being filled; filled by this call if nobody does yet."""
        while True:
            blob = await self.store.open(digest) or await self.fills.visit(UPSTREAM, digest)
            if blob is not None:
                body = blob.body(start, end)
                blob.close()
                return body
            await self.fills.start(FillOrder(UPSTREAM, digest, upstream.fetch))

    async def pull(self, digest: str, upstream: Asked, start: int = 0, end: int | None = None) -> bytes:
        return await read_all(await self.open(digest, upstream, start, end))

    async def settled(self) -> None:
        """Wait until nothing is being filled."""
        while running := [task for _, task in self.fills._running.values()]:
            await asyncio.wait(running)
            await asyncio.sleep(0)

    async def stored(self, digest: str) -> bytes | None:
        blob = await self.store.open(digest)
        if blob is None:
            return None
        body = blob.body(0, None)
        blob.close()
        return await read_all(body)

    def partials_left(self) -> list[str]:
        folder = self.folder / "partial"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def events(self) -> list[str]:
        return [name for name, _ in self.log.events]


async def read_all(body: Any) -> bytes:
    parts = []
    try:
        while (piece := await body.read()) is not None:
            assert 0 < len(piece) <= PIECE_BYTES
            parts.append(piece)
    finally:
        await body.close()
    return b"".join(parts)


async def read_until_cut(body: Any) -> tuple[bytes, UpstreamFailure | None]:
    """What a reader got, and what cut it."""
    parts = []
    failure = None
    try:
        with suppress(StopAsyncIteration):
            while (piece := await body.read()) is not None:
                parts.append(piece)
    except UpstreamFailure as error:
        failure = error
    finally:
        await body.close()
    return b"".join(parts), failure


def play(scene: Coroutine[Any, Any, None], *stages: Stage) -> None:
    """Run a scene, close the stages in its loop; what it leaves behind fails. Its time is virtual."""
    run_scene(scene, *(stage.fills.close for stage in stages), in_virtual_time=True)
