"""64 clients read a 1 GiB blob at 1 MB/s each: what the process tree of each gateway takes at most."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.blobs import Field, write_sparse_blob
from bench.load import SlowReaders
from bench.meters import MemorySampler, read_memory
from bench.run import MIB
from bench.table import Goal, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestants import Contestant
    from bench.run import Run

__all__ = ["measure"]

CLIENTS = 64
RATE = 1_000_000
BLOB = 1024 * MIB
GOAL = 200 * MIB


def measure(run: Run) -> Sequence[Table]:
    seconds = 4 if run.quick else 20
    rows = []
    samples = {}
    with Field.start(run) as field:
        path = write_sparse_blob(field.root, BLOB).path
        for contestant in (*field.peers, field.hubferry):
            row, series, peak = _one(contestant, path, seconds)
            rows.append(row)
            samples[contestant.name] = series
    return [
        Table(
            title=f"memory: {CLIENTS} clients at {RATE / 1e6:.0f} MB/s, a 1 GiB blob from TLS, {seconds} s",
            columns=("contestant", "idle RSS", "peak RSS", "peak PSS", "clients got", "CPU s/GB"),
            rows=rows,
            goals=[Goal(f"peak RSS of hubferry's process tree under {GOAL >> 20} MiB", _mib(peak), peak < GOAL)],
            notes=["RSS counts pages that processes share in each of them, PSS once"],
            samples=samples,
        )
    ]


def _one(contestant: Contestant, path: str, seconds: float) -> tuple[tuple[str, ...], list[int], int]:
    idle = read_memory(contestant.process)
    cpu_before_s = contestant.process.cpu_s()
    with MemorySampler(contestant.process) as memory, SlowReaders(contestant, path, CLIENTS, RATE) as readers:
        readers.read_for(seconds)
        slowest, fastest = min(readers.received), max(readers.received)
        total = sum(readers.received)
        cpu_s = contestant.process.cpu_s() - cpu_before_s
        series = [sample.rss for sample in memory.samples]
    time.sleep(0.5)
    row = (
        contestant.name,
        _mib(idle.rss),
        _mib(memory.peak.rss),
        _mib(memory.peak.pss),
        f"{slowest / seconds / 1e6:.2f}-{fastest / seconds / 1e6:.2f} MB/s",
        f"{cpu_s / (total / 1e9):.2f}",
    )
    return row, series, memory.peak.rss


def _mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"
