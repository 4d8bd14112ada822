"""64 clients read a 1 GiB blob at 1 MB/s each: what the process tree of each gateway takes at most."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.blobs import Field, write_sparse_blob
from bench.load import SlowReaders
from bench.meters import Memory, MemorySampler, count_files, read_memory
from bench.run import MIB
from bench.table import Goal, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestants import Contestant
    from bench.run import Run

__all__ = ["Held", "format_mib", "measure", "measure_readers"]

CLIENTS = 64
RATE = 1_000_000
BLOB = 1024 * MIB
GOAL = 200 * MIB


@dataclass(frozen=True)
class Held:
    """What a contestant held while it served slow readers; `files` are its open descriptors at the end."""

    COLUMNS: ClassVar = ("contestant", "idle RSS", "peak RSS", "peak PSS", "clients got", "CPU s/GB")

    idle: Memory
    peak: Memory
    series: Sequence[int]
    mb_per_s: tuple[float, float]
    cpu_s_per_gb: float
    files: int

    def row(self, name: str) -> tuple[str, ...]:
        """The cells of COLUMNS."""
        return (
            name,
            format_mib(self.idle.rss),
            format_mib(self.peak.rss),
            format_mib(self.peak.pss),
            f"{self.mb_per_s[0]:.2f}-{self.mb_per_s[1]:.2f} MB/s",
            f"{self.cpu_s_per_gb:.2f}",
        )


def measure(run: Run) -> Sequence[Table]:
    seconds = 4 if run.quick else 20
    with Field.start(run) as field:
        path = write_sparse_blob(field.root, BLOB).path
        found = {
            contestant.name: measure_readers(contestant, path, CLIENTS, RATE, seconds)
            for contestant in (*field.peers, field.hubferry)
        }
    peak = found[field.hubferry.name].peak.rss
    return [
        Table(
            title=f"memory: {CLIENTS} clients at {RATE / 1e6:.0f} MB/s, a 1 GiB blob from TLS, {seconds} s",
            columns=Held.COLUMNS,
            rows=[held.row(name) for name, held in found.items()],
            goals=[Goal(f"peak RSS of hubferry's process tree under {GOAL // MIB} MiB", format_mib(peak), peak < GOAL)],
            notes=["RSS counts pages that processes share in each of them, PSS once"],
            samples={name: held.series for name, held in found.items()},
        )
    ]


def measure_readers(contestant: Contestant, path: str, clients: int, bytes_per_second: int, seconds: float) -> Held:
    """So many clients read at that rate for so long."""
    idle = read_memory(contestant.process)
    cpu_before_s = contestant.process.cpu_s()
    with (
        MemorySampler(contestant.process) as memory,
        SlowReaders(contestant, path, clients, bytes_per_second) as readers,
    ):
        readers.read_for(seconds)
        received = readers.received
        cpu_s = contestant.process.cpu_s() - cpu_before_s
        files = count_files(contestant.process)
        series = [sample.rss for sample in memory.samples]
    time.sleep(0.5)
    return Held(
        idle,
        memory.peak,
        series,
        (min(received) / seconds / 1e6, max(received) / seconds / 1e6),
        cpu_s / (sum(received) / 1e9),
        files,
    )


def format_mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"
