"""A thousand slow readers of one blob that every cache has: what the process tree of each takes at most.

Each reader has a connection, so the descriptors that a cache needs are shown as well: hubferry opens the blob once
for all of them. The bench raises its own limit of open files, which its children inherit; `ulimit -n` is often 1024.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from bench.blobs import write_blob
from bench.caches import Caches
from bench.parts.memory import Held, format_mib, measure_readers
from bench.run import MIB
from bench.table import Goal, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run import Run

__all__ = ["measure"]

CLIENTS = 1000
RATE = 100_000
GOAL = 250 * MIB
FILES = CLIENTS + 200


def measure(run: Run) -> Sequence[Table]:
    seconds = 5 if run.quick else 20
    _raise_file_limit(FILES)
    with Caches.start(run) as caches:
        blob = write_blob(caches.root, run.blob_bytes)
        caches.warm(blob)
        found = {
            contestant.name: measure_readers(contestant, blob.path, CLIENTS, RATE, seconds)
            for contestant in caches.contestants
        }
    peak = found[caches.hubferry.name].peak.rss
    return [
        Table(
            title=f"readers: {CLIENTS:,} clients at {RATE // 1000} kB/s, {run.blob_bytes // MIB} MiB kept, {seconds} s",
            columns=(*Held.COLUMNS, "open files"),
            rows=[(*held.row(name), str(held.files)) for name, held in found.items()],
            goals=[Goal(f"peak RSS of hubferry's process tree under {GOAL // MIB} MiB", format_mib(peak), peak < GOAL)],
            notes=["RSS counts pages that processes share in each of them, PSS once"],
            samples={name: held.series for name, held in found.items()},
        )
    ]


def _raise_file_limit(files: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
