"""Store, account and fills against a model: every blob has its one content, whatever happens to them.

Two processes share a folder too small for everything. Upstreams cut, lie and refuse; readers come and leave; the power
goes, and what is found afterwards may be damaged. Always: what was taken for a whole blob is one, nothing under
blobs/ is wrong, no more is kept than allowed, nothing is fetched twice at a time. In the end, with honest upstreams:
everything can be had, and is kept if it is small enough.

Everything runs on one thread and on a clock of its own, so that an example that fails does so again.
Not here: a disk that fails (tests/fill), files altered under a running server.
"""

import asyncio
import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hubferry.core.errors import Code, OciError
from hubferry.fill.bounds import Effort
from hubferry.fill.fills import LocalFills
from hubferry.fill.parallel.segments import Segments
from hubferry.ports.content import StoreFailure
from hubferry.ports.fills import Fetched, FillOrder
from hubferry.ports.upstream import UpstreamFailure
from hubferry.store.blobs import FileBlobs
from hubferry.store.housekeeping import SETTLED_S, Housekeeping
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import Layout, occupied_bytes
from hubferry.store.ledger import CacheLimits, Ledger
from hubferry.store.schema import is_counted, total_bytes
from tests.fill.fakes import HELD_BACK, Upstream, content, digest_of
from tests.fill.own_time import OwnTime
from tests.gateway.fakes import FakeLog
from tests.support.waiting import turns

SIZES = (100, HELD_BACK + 1, 200_000)
CONTENTS = {digest_of(data): data for data in (content(size, size) for size in SIZES)}
UPSTREAMS = ("docker.io", "ghcr.io")
MAX_SIZE = 240_000  # room for the largest and a small one
MAX_ROUNDS = 3
PIECE = 20_000
DAMAGES = ("none", "flip", "truncate", "lengthen", "sidecar", "no sidecar")
QUIET_S = 1000.0

T = TypeVar("T")

processes = st.integers(0, 1)
digests = st.sampled_from(list(CONTENTS))
upstreams = st.sampled_from(UPSTREAMS)
places = st.integers(0, 200_000)
faults = st.tuples(
    st.sampled_from(["cuts", "flips a byte", "knows no ranges", "says no size", "lies about the size", "refuses"]),
    places,
)
moments = st.sampled_from([0, 1, 5, 20, 100])


class AtOnce(ThreadPoolExecutor):
    """Does on the caller's thread what is submitted."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is whoever asks for the result who is told
            done.set_exception(error)
        return done


@dataclass
class OneAtATime(Upstream):
    """A scripted upstream of one blob: never more connections to it at a time than one fill may have."""

    connections: int = 1
    overlaps: int = 0
    most: int = 0

    async def fetch(self, start: int, end: int | None = None) -> Fetched:
        self.bodies[:] = [body for body in self.bodies if not body.closed]
        if self.connections > 1:  # not one after the other, but the same every time
            await turns(start * 7 % 13)
        fetched = await super().fetch(start, end)
        is_open = sum(not body.closed for body in self.bodies)
        self.most = max(self.most, is_open)
        self.overlaps += is_open > self.connections
        return fetched


async def read_until_its_end(body: Any) -> tuple[bytes, bool]:
    """What a body gave, and whether it ended as it should."""
    parts = []
    try:
        while (piece := await body.read()) is not None:
            parts.append(piece)
    except UpstreamFailure:
        return b"".join(parts), False
    finally:
        await body.close()
    return b"".join(parts), True


class Process:
    """What one server process has of a folder."""

    def __init__(self, folder: Path, now: Callable[[], float], effort: Effort) -> None:
        layout = Layout(folder)
        self.log = FakeLog()
        self.index = SqliteIndex(folder, self.log)
        self.ledger = Ledger(layout, self.index.transact, CacheLimits(MAX_SIZE, 0), now=now)
        self.house = Housekeeping(layout, self.ledger, self.index.transact, now=lambda: now() + SETTLED_S)
        self.house.count()
        self.store = FileBlobs(folder, self.ledger)
        self.fills = LocalFills(self.store, self.log, unwatched_bytes=100_000, effort=effort)
        for upstream in UPSTREAMS:  # these lines are too quick for anybody to measure
            self.fills._services.links.learn(upstream, "helps", 1000.0, float("inf"))

    async def end(self) -> None:
        await self.fills.close()
        await self.index.close()


@dataclass
class Reader:
    """A client: which blob it wants, which part, and its task."""

    digest: str
    start: int
    end: int | None
    task: asyncio.Task[bytes | None]


class StoreAndFill(RuleBasedStateMachine):
    effort = Effort(connections=1)

    def __init__(self) -> None:
        super().__init__()
        self.loop = OwnTime()
        self.loop.set_default_executor(AtOnce())
        ticks = itertools.count(4 * 10**9)  # after every file's time of change
        self.now = lambda: float(next(ticks))
        self.root = Path(tempfile.mkdtemp(prefix="hubferry-properties-"))
        self.folder = self.root / "0"
        clock = SimpleNamespace(monotonic=self.loop.time)
        self.patches = ExitStack()
        for module in ("fill.fills", "fill.reader", "store.blobs"):
            self.patches.enter_context(mock.patch(f"hubferry.{module}.time", clock))
        for module in ("fill.fills", "store.index"):
            self.patches.enter_context(mock.patch(f"hubferry.{module}.ThreadPoolExecutor", AtOnce))
        self.patches.enter_context(mock.patch("hubferry.store.housekeeping.PAUSE_S", 0))
        small = {"min_chunk_bytes": 15_000, "min_share_bytes": 5_000}
        self.patches.enter_context(mock.patch.object(Segments.__init__, "__kwdefaults__", small))
        self.patches.enter_context(mock.patch("hubferry.fill.parallel.segments.MIN_CHUNK_BYTES", 15_000))
        self.patches.enter_context(mock.patch("os.fsync"))  # power goes, but only between two steps
        self.readers: list[Reader] = []
        self.doubtful: set[str] = set()  # of these a part may be wrong: only the whole is checked
        self.upstreams: dict[tuple[str, str], OneAtATime] = {}
        self.processes: list[Process] = []

    @initialize()
    def start(self) -> None:
        for name in UPSTREAMS:
            for digest, data in CONTENTS.items():
                self.upstreams[name, digest] = OneAtATime(data, piece=PIECE, connections=self.effort.connections)
        self.start_processes()

    def start_processes(self) -> None:
        self.processes = [Process(self.folder, self.now, self.effort) for _ in range(2)]

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, QUIET_S))

    # what clients do

    @rule(process=processes, upstream=upstreams, digest=digests, moments=moments)
    def pull(self, process: int, upstream: str, digest: str, moments: int) -> None:
        self.come(process, upstream, digest, 0, None)
        self.a_moment_passes(moments)

    @rule(process=processes, upstream=upstreams, digest=digests, places=st.tuples(places, places), moments=moments)
    def pull_a_part(self, process: int, upstream: str, digest: str, places: tuple[int, int], moments: int) -> None:
        first, last = sorted(place % len(CONTENTS[digest]) for place in places)
        self.come(process, upstream, digest, first, last + 1)
        self.a_moment_passes(moments)

    @rule(process=processes, upstream=upstreams, digest=digests, fault=faults, moments=moments)
    def pull_what_goes_wrong(
        self, process: int, upstream: str, digest: str, fault: tuple[str, int], moments: int
    ) -> None:
        self.it_goes_wrong(upstream, digest, fault)
        self.pull(process, upstream, digest, moments)

    @rule(upstream=upstreams, digest=digests)
    def many_pull(self, upstream: str, digest: str) -> None:
        for process in (0, 1, 0, 1):
            self.come(process, upstream, digest, 0, None)

    @rule(process=processes, upstream=upstreams)
    def an_image_is_pulled(self, process: int, upstream: str) -> None:
        for digest in CONTENTS:
            self.come(process, upstream, digest, 0, None)

    def come(self, process: int, upstream: str, digest: str, start: int, end: int | None) -> None:
        asking = self.client(self.processes[process], upstream, digest, start, end)
        self.readers.append(Reader(digest, start, end, self.loop.create_task(asking)))

    async def client(self, process: Process, upstream: str, digest: str, start: int, end: int | None) -> bytes | None:
        """As pull.kept_blobs: what the client took for all that it had asked for; None when it saw that it was not."""
        for _ in range(MAX_ROUNDS):
            blob = await process.store.open(digest) or await process.fills.visit(upstream, digest)
            if blob is not None:
                body, size_bytes = blob.body(start, end), blob.size_bytes
                blob.close()
                got, has_ended = await read_until_its_end(body)
                promised = size_bytes if end is None else end - start
                # who was told a length has all when so much is there, however it goes on
                return got if (has_ended if promised is None else len(got) == promised) else None
            try:
                await process.fills.start(FillOrder(upstream, digest, self.upstreams[upstream, digest].fetch))
            except (OciError, UpstreamFailure, StoreFailure):
                return None  # an error, or it is streamed past the store
        return None

    @rule(number=st.integers(0, 10))
    def a_reader_leaves(self, number: int) -> None:
        if self.readers:
            self.readers.pop(number % len(self.readers)).task.cancel()

    @rule(moments=moments)
    def a_moment_passes(self, moments: int) -> None:
        async def pass_by() -> None:
            await turns(moments)

        self.do(pass_by())

    @rule(seconds=st.sampled_from([0.05, 1.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    @rule()
    def all_is_read(self) -> None:
        self.do(self.read_out())

    async def read_out(self) -> None:
        if self.readers:
            await asyncio.wait([reader.task for reader in self.readers])

    # what upstreams do

    @rule(upstream=upstreams, digest=digests, fault=faults)
    def it_goes_wrong(self, upstream: str, digest: str, fault: tuple[str, int]) -> None:
        script = self.upstreams[upstream, digest]
        what, at = fault
        if what == "cuts":
            script.cut_after, script.cut_at_end = at, bool(at % 2)
        elif what == "flips a byte":
            wrong = bytearray(CONTENTS[digest])
            wrong[at % len(wrong)] ^= 1
            script.data = bytes(wrong)
            self.doubtful.add(digest)
        elif what == "knows no ranges":
            script.knows_ranges = False
        elif what == "says no size":
            script.says_size = lambda _: None
        elif what == "lies about the size":
            script.says_size = lambda real: at if at % 2 else real + at % 3 - 1
            self.doubtful.add(digest)
        else:
            status = (403, 429, 503)[at % 3]
            script.refusals[len(script.offsets) + 1] = OciError(status, Code.UNKNOWN, "refused by the script")

    @rule(upstream=upstreams, digest=digests)
    def it_is_honest_again(self, upstream: str, digest: str) -> None:
        script = self.upstreams[upstream, digest]
        script.data = CONTENTS[digest]
        script.knows_ranges, script.says_size = True, lambda real: real
        script.cut_after, script.cut_at_end = None, False
        script.refusals.clear()

    # what the machine and its operator do

    @rule(damage=st.sampled_from(DAMAGES), at=places)
    def the_power_goes(self, damage: str, at: int) -> None:
        """The folder as it is at this moment is all that the next processes know."""
        after = self.root / str(int(self.folder.name) + 1)
        shutil.copytree(self.folder, after, ignore=lambda *_: ["index.sqlite3-shm"])
        self.end_all()
        shutil.rmtree(self.folder)
        self.folder = after
        self.damage(damage, at)
        self.start_processes()

    def damage(self, damage: str, at: int) -> None:
        for path in sorted((self.folder / "partial").glob("sha*")):
            is_sidecar = path.suffix == ".json"
            data = path.read_bytes()
            if is_sidecar and damage == "sidecar":
                path.write_bytes(data[: at % len(data)])
            elif is_sidecar and damage == "no sidecar":
                path.unlink()
            elif not is_sidecar and data and damage in ("flip", "truncate", "lengthen"):
                at %= len(data)
                flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                path.write_bytes({"flip": flipped, "truncate": data[:at], "lengthen": data + b"?"}[damage])
                self.doubtful.update(CONTENTS)

    @rule(of=st.sampled_from(["index.sqlite3*", "index.sqlite3"]))
    def the_index_is_removed(self, of: str) -> None:
        for path in self.folder.glob(of):
            path.unlink(missing_ok=True)

    @rule(process=processes, digest=digests, size_bytes=places, is_by_hand=st.booleans())
    def something_is_removed(self, process: int, digest: str, size_bytes: int, is_by_hand: bool) -> None:
        if is_by_hand:
            self.processes[process].store.path(digest).unlink(missing_ok=True)
        else:
            self.processes[process].ledger.make_room(size_bytes)
        self.tidy(self.processes[process])

    def tidy(self, process: Process) -> None:
        """As housekeeping does now and then."""
        process.ledger.flush()
        if process.index.transact(is_counted) is False:
            process.house.count()

    # what always holds

    @invariant()
    def readers_have_what_they_took_for_whole(self) -> None:
        for reader in [reader for reader in self.readers if reader.task.done()]:
            self.readers.remove(reader)
            got = reader.task.result()
            is_whole = (reader.start, reader.end) == (0, None)
            if got is not None and (is_whole or reader.digest not in self.doubtful):
                assert got == CONTENTS[reader.digest][reader.start : reader.end]

    @invariant()
    def nothing_wrong_is_kept(self) -> None:
        for path in (self.folder / "blobs").rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file():
                    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name

    @invariant()
    def no_more_is_kept_than_allowed(self) -> None:
        for process in self.processes:
            assert (process.index.transact(total_bytes) or 0) <= MAX_SIZE
        assert self.on_disk_bytes() <= MAX_SIZE

    @invariant()
    def nothing_is_fetched_twice_at_a_time(self) -> None:
        assert not any(script.overlaps for script in self.upstreams.values())

    def on_disk_bytes(self) -> int:
        total = 0
        for folder in ("blobs", "partial"):
            for path in (self.folder / folder).rglob("*"):
                with suppress(FileNotFoundError):
                    if path.is_file():
                        total += occupied_bytes(path.stat().st_size)
        return total

    # the end

    def teardown(self) -> None:
        try:
            if self.processes:
                self.in_the_end_everything_can_be_had()
        finally:
            self.end_all()
            self.loop.close()
            self.patches.close()
            shutil.rmtree(self.root)

    def in_the_end_everything_can_be_had(self) -> None:
        for upstream, digest in self.upstreams:
            self.it_is_honest_again(upstream, digest)
        self.do(self.read_out())
        self.do(self.settled())
        self.readers_have_what_they_took_for_whole()
        for process in self.processes:
            self.tidy(process)
        for number in range(len(self.processes)):
            for upstream, digest in self.upstreams:
                self.check_can_be_had(self.processes[number], upstream, digest)

    def check_can_be_had(self, process: Process, upstream: str, digest: str) -> None:
        """From this upstream, at the second time: what a damaged file cost was paid for by the first."""
        process.store.path(digest).unlink(missing_ok=True)
        self.do(self.client(process, upstream, digest, 0, None))
        self.do(self.settled())
        assert self.do(self.client(process, upstream, digest, 0, None)) == CONTENTS[digest]
        self.do(self.settled())
        assert process.store.path(digest).exists()
        self.nothing_wrong_is_kept()
        self.no_more_is_kept_than_allowed()
        self.nothing_is_fetched_twice_at_a_time()

    async def settled(self) -> None:
        """Nothing is being filled any more."""
        while running := [task for one in self.processes for _, task in one.fills._running.values()]:
            await asyncio.wait(running)
            await asyncio.sleep(0)

    def end_all(self) -> None:
        async def end() -> None:
            for reader in self.readers:
                reader.task.cancel()
            await asyncio.gather(*(reader.task for reader in self.readers), return_exceptions=True)
            for process in self.processes:
                await process.end()
            await asyncio.sleep(0)

        self.do(end())
        self.readers.clear()
        self.processes.clear()


class StoreAndFillOverSeveral(StoreAndFill):
    """The same when each fill has several connections."""

    effort = Effort(connections=4, parallel_from_bytes=50_000)


TestStoreAndFill = StoreAndFill.TestCase
TestStoreAndFillOverSeveral = StoreAndFillOverSeveral.TestCase
for case in (TestStoreAndFill, TestStoreAndFillOverSeveral):
    case.settings = settings(max_examples=settings().max_examples // 8, stateful_step_count=25)
