"""A blob that no cache has, one client: GB/s until the client has all of it, while it is checked and kept.

Every round has a new blob. The caches take turns, each beginning with a disk at rest; what one kept is removed after
its turn. CPU is counted until the blob is there under its final name: docker-registry fetches it a second time for
that, after its client has it. Only hubferry has it synced to the disk by then.
The second table names where hubferry's CPU goes, beside what each piece costs alone.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.blobs import check, write_blob
from bench.caches import Caches, drop, flush, flush_file, kept_file, wait_kept
from bench.costs import Costs, measure_costs
from bench.load import BadAnswer, pull_many
from bench.meters import ThreadCpu, median, thread_cpu
from bench.run import MIB
from bench.table import Goal, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.blobs import BlobFile
    from bench.contestants import Contestant
    from bench.run import Run

__all__ = ["measure"]


@dataclass(frozen=True)
class Filled:
    """One round of one cache."""

    gb_per_s: float
    kept_after_s: float
    fetches: float  # bytes that the upstream sent, by the size of the blob
    cpu: ThreadCpu  # for 1 GB

    @property
    def cpu_s_per_gb(self) -> float:
        return self.cpu.main_s + self.cpu.others_s


def measure(run: Run) -> Sequence[Table]:
    rounds: dict[str, list[Filled]] = {}
    with Caches.start(run) as caches:
        check(caches.contestants, write_blob(caches.root, MIB))
        for number in range(run.rounds):
            blob = write_blob(caches.root, run.blob_bytes)
            flush_file(caches.root / blob.path[1:])
            for contestant in _turn(caches.contestants, number):
                rounds.setdefault(contestant.name, []).append(_fill(caches, contestant, blob, run.blob_bytes))
            (caches.root / blob.path[1:]).unlink()
    costs = measure_costs(run.folder, run.blob_bytes if run.quick else 1024 * MIB)
    return [_table(run, caches, rounds), _where(costs, rounds[caches.hubferry.name])]


def _turn(contestants: Sequence[Contestant], number: int) -> Sequence[Contestant]:
    """Somebody else begins in every round."""
    first = number % len(contestants)
    return *contestants[first:], *contestants[:first]


def _fill(caches: Caches, contestant: Contestant, blob: BlobFile, size: int) -> Filled:
    sent_before, cpu_before = caches.log.sent_bytes(blob.path), thread_cpu(contestant.process)
    started = time.perf_counter()
    elapsed_s = pull_many(contestant, blob.path, 1, reads=True)
    wait_kept(contestant, blob.path)
    kept_after_s = time.perf_counter() - started
    cpu = thread_cpu(contestant.process) - cpu_before
    fetches = (caches.log.sent_bytes(blob.path) - sent_before) / size
    if contestant is caches.hubferry:
        _check_kept(contestant, blob)
    flush(contestant, blob.path)
    drop(contestant, blob.path)
    gigabytes = size / 1e9
    return Filled(
        gigabytes / elapsed_s, kept_after_s, fetches, ThreadCpu(cpu.main_s / gigabytes, cpu.others_s / gigabytes)
    )


def _check_kept(contestant: Contestant, blob: BlobFile) -> None:
    """It promises that what has its final name is right."""
    with kept_file(contestant, blob.path).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != blob.hex_digest:
            raise BadAnswer(f"{contestant.name} kept wrong bytes under {blob.hex_digest}")


def _table(run: Run, caches: Caches, rounds: dict[str, list[Filled]]) -> Table:
    speeds = {name: median([one.gb_per_s for one in found]) for name, found in rounds.items()}
    fastest = max(speeds[peer.name] for peer in caches.peers)
    ratio = speeds[caches.hubferry.name] / fastest
    return Table(
        title=f"cold: {run.blob_bytes // MIB} MiB, 1 client that reads, median of {run.rounds}",
        columns=("contestant", "GB/s", "x best peer", "kept after", "fetches", "CPU s/GB"),
        rows=[
            (
                name,
                f"{speeds[name]:.2f}",
                f"{speeds[name] / fastest:.2f}",
                f"{median([one.kept_after_s for one in found]):.2f} s",
                f"{median([one.fetches for one in found]):.2f}",
                f"{median([one.cpu_s_per_gb for one in found]):.2f}",
            )
            for name, found in rounds.items()
        ],
        goals=[Goal("at least the throughput of the best peer", f"{ratio:.2f} of it", ratio >= 1)],
        notes=[
            "CPU until the blob is kept; hubferry alone has hashed and synced it by then, nginx has done neither",
        ],
        samples={
            name: [(one.gb_per_s, one.kept_after_s, one.fetches, one.cpu.main_s, one.cpu.others_s) for one in found]
            for name, found in rounds.items()
        },
    )


def _where(costs: Costs, found: Sequence[Filled]) -> Table:
    whole = median([one.cpu_s_per_gb for one in found])
    rows = [
        ("hubferry, measured", whole),
        ("  its event loop: both sockets, reading back", median([one.cpu.main_s for one in found])),
        ("  its other threads: hash, write, sync", median([one.cpu.others_s for one in found])),
        ("alone, here: sha256", costs.sha256),
        ("alone, here: write a new file", costs.write),
        ("alone, here: sync it", costs.sync),
        ("alone, here: read it back from the page cache", costs.read_back),
        ("alone, here: receive over loopback", costs.receive),
        ("alone, here: send over loopback", costs.send),
        ("what hubferry takes beyond these", whole - costs.total),
    ]
    return Table(
        title="cold: where hubferry's CPU goes",
        columns=("what", "CPU s/GB"),
        rows=[(what, f"{cost:.2f}") for what, cost in rows],
        notes=["loopback charges most of a transfer to whoever sends: receiving is cheap, also for hubferry"],
        samples=dict(rows),
    )
