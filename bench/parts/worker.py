"""The Worker on Node, beside a pass-through of a few lines of JavaScript in the same harness.

Three questions: how fast a large body goes through, how much later a manifest comes than from the upstream itself, and
what a slow client makes the process hold. What a request costs in CPU time is in worker_cpu.py.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.blobs import check, write_blob
from bench.contestants import blob_server, passthrough, registry_server, worker
from bench.load import Connection, SlowReaders, pull_many
from bench.meters import MemorySampler, median, percentile, read_memory
from bench.parts.memory import format_mib
from bench.parts.worker_cpu import measure_cpu
from bench.run import MIB
from bench.table import Goal, Table
from bench.upstream_log import UpstreamLog
from tests.support.images import build_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestants import Contestant
    from bench.run import Run

__all__ = ["measure"]

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
BLOB = 100 * 10**6
ADDED_MS = 2.0
WARM_UP = 1000
HELD = 20 * MIB
SLOW_RATE = 5_000_000


def measure(run: Run) -> Sequence[Table]:
    return [*_bodies(run), _manifests(run), measure_cpu(run)]


def _bodies(run: Run) -> Sequence[Table]:
    root, upstream = run.state("root"), run.state("upstream")
    log = UpstreamLog(upstream / "asked.log")
    with blob_server(upstream, root, log.path) as origin:
        url = f"http://127.0.0.1:{origin.port}"
        with passthrough(run.state("passthrough"), url) as plain, worker(run.state("worker"), url) as ours:
            contestants = (origin, plain, ours)
            blob = write_blob(root, BLOB)
            check(contestants, blob)
            rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
            for _ in range(run.rounds):
                for contestant in contestants:
                    rates[contestant.name].append(BLOB / pull_many(contestant, blob.path, 1, reads=True) / 1e9)
            held = {contestant.name: _held(run, contestant, blob.path) for contestant in (plain, ours)}
    middles = {name: median(values) for name, values in rates.items()}
    ratio = middles[ours.name] / middles[plain.name]
    more = held[ours.name][1] - held[ours.name][0]
    return [
        Table(
            title=f"worker: {BLOB // 10**6} MB through the harness, 1 client that reads, median of {run.rounds}",
            columns=("contestant", "GB/s", "x pass-through"),
            rows=[(name, f"{rate:.2f}", f"{rate / middles[plain.name]:.2f}") for name, rate in middles.items()],
            goals=[Goal("at least half the speed of the pass-through", f"{ratio:.2f} of it", ratio >= 0.5)],
            samples=rates,
        ),
        Table(
            title=f"worker: one client reads {BLOB // 10**6} MB at {SLOW_RATE / 1e6:.0f} MB/s",
            columns=("contestant", "RSS before", "peak RSS", "more"),
            rows=[(n, format_mib(b), format_mib(p), format_mib(p - b)) for n, (b, p) in held.items()],
            goals=[Goal(f"no more than {HELD // MIB} MiB more", format_mib(more), more <= HELD)],
            samples={name: [before, peak] for name, (before, peak) in held.items()},
        ),
    ]


def _held(run: Run, contestant: Contestant, path: str) -> tuple[int, int]:
    """RSS before and at most while a slow client reads."""
    before = read_memory(contestant.process).rss
    with MemorySampler(contestant.process) as memory, SlowReaders(contestant, path, 1, SLOW_RATE) as readers:
        readers.read_for(3 if run.quick else 18)
        return before, max(sample.rss for sample in memory.samples)


def _manifests(run: Run) -> Table:
    with registry_server(run.state("registry"), "bench/image", "latest", build_image("bench")) as origin:
        url = f"http://127.0.0.1:{origin.port}"
        with (
            passthrough(run.state("passthrough"), url) as plain,
            worker(run.state("worker"), url) as ours,
            worker(run.state("worker"), url, cache=True, name="hubferry's Worker, kept") as kept,
        ):
            contestants = (origin, plain, ours, kept)
            times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
            for contestant in contestants:
                # the engine compiles what is used often, step by step: the first hundreds take up to 1.5 ms longer
                _manifest_times(contestant, 50 if run.quick else WARM_UP)
            for _ in range(run.rounds):
                for contestant in contestants:
                    times[contestant.name] += _manifest_times(contestant, 20 if run.quick else 100)
    base = median(times[origin.name])
    added = {name: median(values) - base for name, values in times.items()}
    return Table(
        title="worker: a manifest by tag over a kept-alive connection",
        columns=("contestant", "median ms", "p95 ms", "added median"),
        rows=[
            (name, f"{median(values):.2f}", f"{percentile(values, 95):.2f}", f"{added[name]:.2f}")
            for name, values in times.items()
        ],
        goals=[
            Goal(
                f"less than {ADDED_MS:.0f} ms after the upstream's, {what}",
                f"{added[name]:.2f} ms",
                added[name] < ADDED_MS,
            )
            for name, what in ((kept.name, "as it comes (with its cache)"), (ours.name, "with the cache off"))
        ],
        notes=["the pass-through adds what Node's own fetch and server cost"],
        samples=times,
    )


def _manifest_times(contestant: Contestant, count: int) -> list[float]:
    """Milliseconds for a whole answer."""
    found = []
    with Connection(contestant) as connection:
        for _ in range(count):
            started = time.perf_counter()
            connection.read(connection.get("/v2/bench/image/manifests/latest", OCI_IMAGE))
            found.append((time.perf_counter() - started) * 1000)
    return found
