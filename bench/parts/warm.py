"""A blob that every cache has, over plain HTTP: GB/s and CPU seconds per GB.

The goals: at least the throughput of the best peer, and no more CPU than docker-registry. CPU is that of the cache's
process tree alone. Twice: with clients that read, as real ones do, and with clients that drop every byte in the
kernel, which leaves only the cache itself. The latter flatter nginx: bytes sent by sendfile are then touched by nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.blobs import write_blob
from bench.caches import Caches
from bench.parts.stream import Transfer, measure_transfer, middle_of
from bench.run import MIB
from bench.table import Goal, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.blobs import BlobFile
    from bench.run import Run

__all__ = ["measure"]


def measure(run: Run) -> Sequence[Table]:
    with Caches.start(run) as caches:
        blob = write_blob(caches.root, run.blob_bytes)
        caches.warm(blob)
        return [_table(run, caches, blob, clients, reads=reads) for reads in (True, False) for clients in (1, 8)]


def _table(run: Run, caches: Caches, blob: BlobFile, clients: int, *, reads: bool) -> Table:
    rounds: dict[str, list[Transfer]] = {contestant.name: [] for contestant in caches.contestants}
    for _ in range(run.rounds):
        for contestant in caches.contestants:
            found = measure_transfer(contestant, blob.path, run.blob_bytes, clients, reads=reads)
            rounds[contestant.name].append(found)
    middles = {name: middle_of(transfers) for name, transfers in rounds.items()}
    fastest = max(middles[peer.name].gb_per_s for peer in caches.peers)
    registry = middles[caches.registry.name].cpu_s_per_gb
    ours = middles[caches.hubferry.name]
    speed, cost = ours.gb_per_s / fastest, ours.cpu_s_per_gb / registry
    how = f"{clients} client(s) that {'read' if reads else 'drop'}"
    return Table(
        title=f"warm: {run.blob_bytes // MIB} MiB from the cache, {how}, median of {run.rounds}",
        columns=("contestant", "GB/s", "x best peer", "CPU s/GB", "x docker-registry"),
        rows=[
            (
                name,
                f"{middle.gb_per_s:.2f}",
                f"{middle.gb_per_s / fastest:.2f}",
                f"{middle.cpu_s_per_gb:.2f}",
                f"{middle.cpu_s_per_gb / registry:.2f}",
            )
            for name, middle in middles.items()
        ],
        goals=[
            Goal("at least the throughput of the best peer", f"{speed:.2f} of it", speed >= 1),
            Goal("no more CPU s/GB than docker-registry", f"{cost:.2f} of it", cost <= 1),
        ],
        samples={name: [(t.gb_per_s, t.cpu_s_per_gb) for t in transfers] for name, transfers in rounds.items()},
    )
