"""What the workers of a server did lately, for the status page: counted in memory, kept in small files.

Each worker has a number, which it holds by a lock on a file, and beside that a file with its record (core/activity.py),
written every SAVE_S when something happened and at the end. A worker that begins takes the lowest free number and goes
on with the record under it. So charts survive a restart, files do not pile up, and the sum over all files is that of
all workers: it includes those that died. Without a cache folder a record is in memory only, and of one worker.

Adding a request costs half a microsecond, because it is done for each answer that recent.py repeats.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from hubferry.core.activity import BusyImage, Figures, Problem, Record
from hubferry.core.documents import parse_json
from hubferry.core.logged import logged
from hubferry.gateway.answer import AccessRecord
from hubferry.ports.shell import FillResult, Metrics
from hubferry.server.log import logger

SAVE_S = 10.0
MAX_WORKERS = 256
MAX_FILE_BYTES = 2**20
FROM_CACHE = frozenset({"hit", "revalidated", "stale"})
GIVEN = FROM_CACHE | {"miss", "bypass"}
OTHER = ("", "", "")


class Activity:
    """The record of one worker process, and a view of those of all workers on one cache folder."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is where the records are kept; None: nowhere."""
        self.folder = folder
        self._record = Record(time.time())
        self._sums: dict[tuple[str, str, str], list[int]] = {}
        self._fetched_bytes = 0
        self.number: int | None = None
        self._lock = -1
        self._is_saved = True
        self._has_failed = False
        self._others: dict[str, tuple[tuple[int, int], object]] = {}
        self._task: asyncio.Task[None] | None = None

    def answered(self, record: AccessRecord, status: int, sent_bytes: int) -> None:
        """Count a request that is over. What is not about an image of an upstream does not count."""
        upstream = record.upstream
        if not upstream:
            return
        outcome = record.outcome
        name = outcome.name
        # clients make up names: only those of which something was given are told apart
        key = (upstream, record.repository, name) if name in GIVEN else OTHER
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = [0, 0]
        sums[0] += 1
        sums[1] += sent_bytes
        if outcome.problem:
            self._note_problem(record, status)

    def fetched(self, size_bytes: int) -> None:
        """Count bytes of a body that arrived from an upstream."""
        self._fetched_bytes += size_bytes

    @property
    def is_summed(self) -> bool:
        """Whether the record is kept, and `look` adds up those of all workers."""
        return self.folder is not None

    def start(self) -> None:
        """Begin to keep the record, in a task on the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write the record for the last time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._fold()
        await self._save()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def look(self) -> Record:
        """Return the records of all workers added up; of others up to SAVE_S late."""
        self._fold()
        seen = Record(self._record.since)
        seen.read(self._record.document())
        for document in await asyncio.to_thread(self._read_others):
            seen.read(document)
        return seen

    async def _run(self) -> None:
        found = await asyncio.to_thread(self._take_number)
        self._record.read(found)
        while True:
            await asyncio.sleep(SAVE_S)
            self._fold()
            await self._save()

    def _fold(self) -> None:
        """Add what was counted since the last time to the record."""
        sums, self._sums = self._sums, {}
        fetched_bytes, self._fetched_bytes = self._fetched_bytes, 0
        if not sums and not fetched_bytes:
            return
        requests = sum(count for count, _ in sums.values())
        hits = sum(count for (_, _, name), (count, _) in sums.items() if name in FROM_CACHE)
        misses = sum(count for (_, _, name), (count, _) in sums.items() if name in GIVEN) - hits
        sent_bytes = sum(size for _, size in sums.values())
        images = [BusyImage(f"{key[0]}/{key[1]}", *of) for key, of in sums.items() if key[1]]
        self._record.add(time.time(), Figures(requests, hits, misses, sent_bytes, fetched_bytes), images)
        self._is_saved = False

    def _note_problem(self, record: AccessRecord, status: int) -> None:
        """Remember what an operator may have to do something about, and not what clients did wrong."""
        name = record.outcome.name
        if status >= 500 or status == 429 or name == "cut" or name in GIVEN:
            text = str(logged(record.problem))
            self._record.note_problem(Problem(time.time(), record.upstream, status, text))
            self._is_saved = False

    def _take_number(self) -> object:
        """Take the lowest number that no other worker has, and return the document under it."""
        if self.folder is None:
            return None
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(MAX_WORKERS):
                descriptor = os.open(
                    self.folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
                )
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(descriptor)
                    continue
                self._lock, self.number = descriptor, number
                return _read(self._path(number))
        return None

    def _path(self, number: int) -> Path:
        return (self.folder or Path()) / f"{number}.json"

    async def _save(self) -> None:
        if self.number is None or self._is_saved:
            return
        self._is_saved = True
        text = json.dumps(self._record.document(), separators=(",", ":"), ensure_ascii=False)
        try:
            await asyncio.to_thread(_write, self._path(self.number), text.encode("utf-8", "replace"))
        except OSError as error:
            self._is_saved = False
            if not self._has_failed:
                self._has_failed = True
                logger().warning("activity_not_kept", file=str(self._path(self.number)), problem=str(error))

    def _read_others(self) -> list[object]:
        """Return the documents of the other workers; a file is read again when it has changed."""
        if self.folder is None or self.number is None:
            return []
        found: dict[str, tuple[tuple[int, int], object]] = {}
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                if entry.name.endswith(".json") and entry.name != f"{self.number}.json" and len(found) < MAX_WORKERS:
                    seen = entry.stat(follow_symlinks=False)
                    version = (seen.st_mtime_ns, seen.st_size)
                    known = self._others.get(entry.name)
                    is_new = known is None or known[0] != version
                    found[entry.name] = (version, _read(Path(entry.path))) if is_new or known is None else known
        self._others = found
        return [document for _, document in found.values()]


class FetchedCounter:
    """A `Metrics` that also tells an `Activity` what upstreams gave."""

    def __init__(self, activity: Activity, inner: Metrics) -> None:
        self._activity = activity
        self._inner = inner

    def upstream_gave(self, upstream: str, size_bytes: int) -> None:
        self._activity.fetched(size_bytes)
        self._inner.upstream_gave(upstream, size_bytes)

    def upstream_asked(self, upstream: str, method: str, status: int | None) -> None:
        self._inner.upstream_asked(upstream, method, status)

    def fill_ended(self, upstream: str, result: FillResult) -> None:
        self._inner.fill_ended(upstream, result)

    def wrong_content(self, upstream: str) -> None:
        self._inner.wrong_content(upstream)

    def store_failed(self) -> None:
        self._inner.store_failed()

    def index_failed(self) -> None:
        self._inner.index_failed()

    def quota(self, upstream: str, account: str, limit: int, remaining: int) -> None:
        self._inner.quota(upstream, account, limit, remaining)

    def account_refused(self, upstream: str, account: str) -> None:
        self._inner.account_refused(upstream, account)


def _read(path: Path) -> object:
    """Return the document in a file; None when there is none that can be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        return parse_json(text) if len(text) <= MAX_FILE_BYTES else None
    except (OSError, ValueError):
        return None


def _write(path: Path, text: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    new.replace(path)
