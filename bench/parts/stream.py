"""A blob from a TLS upstream through hubferry and through nginx: GB/s, CPU seconds per GB, ratios.

The goal: at least nginx's throughput with no more CPU, measured with one client in the same run. CPU is that of
the gateway's process tree alone; upstream and clients share the machine but are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.blobs import Field, check, write_blob
from bench.load import pull_many
from bench.meters import median
from bench.table import Goal, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestants import Contestant
    from bench.run import Run

__all__ = ["Transfer", "best", "measure", "measure_transfer", "middle_of"]


@dataclass(frozen=True)
class Transfer:
    """One round of one contestant."""

    gb_per_s: float
    cpu_s_per_gb: float


def measure(run: Run) -> Sequence[Table]:
    with Field.start(run) as field:
        whole = write_blob(field.root, run.blob_bytes)
        part = write_blob(field.root, run.blob_bytes // 4)
        check((field.origin, *field.gateways), part)
        return [
            _table(run, field, 1, whole.path, run.blob_bytes),
            _table(run, field, 8, part.path, run.blob_bytes // 4),
        ]


def measure_transfer(contestant: Contestant, path: str, size: int, clients: int, *, reads: bool = False) -> Transfer:
    cpu_before_s = contestant.process.cpu_s()
    elapsed_s = pull_many(contestant, path, clients, reads=reads)
    gigabytes = size * clients / 1e9
    return Transfer(gigabytes / elapsed_s, (contestant.process.cpu_s() - cpu_before_s) / gigabytes)


def best(transfers: Sequence[Sequence[Transfer]]) -> Transfer:
    """The highest median throughput and the lowest median CPU among these contestants."""
    middles = [middle_of(rounds) for rounds in transfers]
    return Transfer(max(m.gb_per_s for m in middles), min(m.cpu_s_per_gb for m in middles))


def _table(run: Run, field: Field, clients: int, path: str, size: int) -> Table:
    contestants = (field.origin, *field.gateways)
    rounds: dict[str, list[Transfer]] = {contestant.name: [] for contestant in contestants}
    for _ in range(run.rounds):
        for contestant in contestants:
            rounds[contestant.name].append(measure_transfer(contestant, path, size, clients))
    reference = best([rounds[peer.name] for peer in field.peers])
    ours = middle_of(rounds[field.hubferry.name])
    goals = []
    if clients == 1:
        speed, cost = ours.gb_per_s / reference.gb_per_s, ours.cpu_s_per_gb / reference.cpu_s_per_gb
        goals = [
            Goal("at least the throughput of the best nginx", f"{speed:.2f} of it", speed >= 1),
            Goal("no more CPU s/GB than the best nginx", f"{cost:.2f} of it", cost <= 1),
        ]
    return Table(
        title=f"stream: {size >> 20} MiB from a TLS upstream, {clients} client(s), median of {run.rounds}",
        columns=("contestant", "GB/s", "x nginx", "CPU s/GB", "x nginx"),
        rows=[_row(name, middle_of(samples), reference) for name, samples in rounds.items()],
        goals=goals,
        notes=["the first line's CPU is the upstream's own, encrypting"],
        samples={name: [(t.gb_per_s, t.cpu_s_per_gb) for t in samples] for name, samples in rounds.items()},
    )


def _row(name: str, transfer: Transfer, reference: Transfer) -> tuple[str, ...]:
    return (
        name,
        f"{transfer.gb_per_s:.2f}",
        f"{transfer.gb_per_s / reference.gb_per_s:.2f}",
        f"{transfer.cpu_s_per_gb:.2f}",
        f"{transfer.cpu_s_per_gb / reference.cpu_s_per_gb:.2f}",
    )


def middle_of(rounds: Sequence[Transfer]) -> Transfer:
    """The medians of one contestant's rounds."""
    return Transfer(median([t.gb_per_s for t in rounds]), median([t.cpu_s_per_gb for t in rounds]))
