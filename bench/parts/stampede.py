"""Many clients ask for one blob at the same moment: upstream fetches, and seconds until the last client has it.

Cold is compared with warm: the same clients for the same blob right afterwards. One client of them hashes what it
got, in both. The clients share one thread; how busy that was is shown, because a client that is the bottleneck would
make the two alike. The peers' rows are for comparison: one round each, docker-registry with fewer clients, because
it fetches the blob for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.blobs import check, write_blob
from bench.caches import Caches, drop, flush, flush_file, wait_kept
from bench.load import BadAnswer, Crowd, pull_crowd
from bench.meters import median
from bench.run import MIB
from bench.table import Goal, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestants import Contestant
    from bench.run import Run

__all__ = ["measure"]

CLIENTS = 64
FEWER_CLIENTS = 16
ROUNDS = 3  # at most: each moves 64 GiB
GOAL = 1.3
ONE_FETCH = 1.01  # what was asked for twice where a range ends


@dataclass(frozen=True)
class Stampede:
    """The same crowd before and after the blob was kept."""

    clients: int
    fetches: float  # bytes that the upstream sent, by the size of the blob
    cold: Crowd
    warm: Crowd

    @property
    def ratio(self) -> float:
        return self.cold.elapsed_s / self.warm.elapsed_s


def measure(run: Run) -> Sequence[Table]:
    rounds: dict[str, list[Stampede]] = {}
    with Caches.start(run) as caches:
        check(caches.contestants, write_blob(caches.root, MIB))
        ours = caches.hubferry
        rounds[ours.name] = [_stampede(run, caches, ours, CLIENTS) for _ in range(min(run.rounds, ROUNDS))]
        rounds[caches.nginx.name] = [_stampede(run, caches, caches.nginx, CLIENTS)]
        rounds[caches.registry.name] = [_stampede(run, caches, caches.registry, FEWER_CLIENTS)]
    found = rounds[ours.name]
    fetches, ratio = max(one.fetches for one in found), median([one.ratio for one in found])
    return [
        Table(
            title=f"stampede: {run.blob_bytes // MIB} MiB, all clients at once, median of {len(found)} (peers: 1)",
            columns=("contestant", "clients", "fetches", "cold", "warm", "cold/warm", "clients busy"),
            rows=[_row(name, one) for name, one in rounds.items()],
            goals=[
                Goal(f"one upstream fetch for {CLIENTS} clients", f"{fetches:.2f}", fetches < ONE_FETCH),
                Goal(f"within {GOAL} times of what {CLIENTS} warm reads take", f"{ratio:.2f} times", ratio <= GOAL),
            ],
            notes=["busy: the CPU share of the clients' thread, cold and warm; near 100 % it is what is measured"],
            samples={
                name: [(one.fetches, one.cold.elapsed_s, one.warm.elapsed_s) for one in every]
                for name, every in rounds.items()
            },
        )
    ]


def _stampede(run: Run, caches: Caches, contestant: Contestant, clients: int) -> Stampede:
    blob = write_blob(caches.root, run.blob_bytes)
    flush_file(caches.root / blob.path[1:])
    cold = pull_crowd(contestant, blob.path, run.blob_bytes, clients)
    wait_kept(contestant, blob.path)
    flush(contestant, blob.path)
    sent_bytes = caches.log.sent_bytes(blob.path)
    warm = pull_crowd(contestant, blob.path, run.blob_bytes, clients)
    if caches.log.sent_bytes(blob.path) != sent_bytes:
        raise BadAnswer(f"{contestant.name}: a blob that was kept was fetched again")
    if {cold.sha256, warm.sha256} != {blob.hex_digest}:
        raise BadAnswer(f"{contestant.name}: wrong bytes")
    drop(contestant, blob.path)
    (caches.root / blob.path[1:]).unlink()
    return Stampede(clients, sent_bytes / run.blob_bytes, cold, warm)


def _row(name: str, found: Sequence[Stampede]) -> tuple[str, ...]:
    return (
        name,
        str(found[0].clients),
        f"{max(one.fetches for one in found):.2f}",
        f"{median([one.cold.elapsed_s for one in found]):.1f} s",
        f"{median([one.warm.elapsed_s for one in found]):.1f} s",
        f"{median([one.ratio for one in found]):.2f}",
        f"{median([one.cold.busy for one in found]):.0%}, {median([one.warm.busy for one in found]):.0%}",
    )
