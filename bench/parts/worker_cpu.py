"""What a request costs the Worker in CPU time, beside a pass-through of a few lines of JavaScript, and the free plan.

It is the time of Node's main thread, which is what an isolate has, with HTTP towards both sides in it: more than
Cloudflare counts, which leaves out its own. Its runtime is another one; only its dashboard can show what it counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.blobs import write_blob
from bench.contestants import Contestant, blob_server, passthrough, registry_server, worker_config
from bench.load import Connection
from bench.meters import main_thread_s, median
from bench.run import MIB
from bench.table import Goal, Table
from bench.upstream_log import UpstreamLog
from tests.support.images import build_image
from tests.support.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.run import Run

__all__ = ["measure_cpu"]

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
TAG = "/v2/bench/image/manifests/latest"
FREE_PLAN_MS = 10.0
WARM_MS = 3.0
SMALL = 256 * 1024  # the largest blob that is copied by default
LARGE = 8 * MIB
COPIED_S = 0.5  # after its answer a request goes on: a copy is hashed
WARM = "a manifest by tag, warm"
SMALL_FIRST, SMALL_AGAIN = "a blob of 256 KiB, first pull", "a blob of 256 KiB, again"
LARGE_FIRST = "a blob of 8 MiB, first pull"
FIRSTS = {
    "first of an isolate: a token": ("GET", "/token"),
    "then a tag by HEAD": ("HEAD", TAG),
    "then a manifest": ("GET", TAG),
    "then the manifest again": ("GET", TAG),
}


@dataclass(frozen=True)
class Upstreams:
    """Where everybody fetches from, and which blobs are there."""

    registry_url: str
    blobs_url: str
    small: Sequence[str]
    large: Sequence[str]


def measure_cpu(run: Run) -> Table:
    """A row for each kind of request, a column for each contestant."""
    root, state = run.state("root"), run.state("upstream")
    small = [write_blob(root, SMALL).path for _ in range(4 if run.quick else 10)]
    large = [write_blob(root, LARGE).path for _ in range(3)]
    with (
        blob_server(state, root, UpstreamLog(state / "asked.log").path) as blobs,
        registry_server(run.state("registry"), "bench/image", "latest", build_image("bench")) as registry,
    ):
        there = Upstreams(f"http://127.0.0.1:{registry.port}", f"http://127.0.0.1:{blobs.port}", small, large)
        costs = {
            "pass-through": _plain(run, there),
            "cache off": _worker(run, there, {"enabled": False}),
            "with its cache": _worker(run, there, {"max_copied": "64MiB"}),
        }
    ours = [costs["cache off"], costs["with its cache"]]
    kinds = list(ours[0])
    above = [kind for kind in kinds if kind != LARGE_FIRST and max(median(one[kind]) for one in ours) > FREE_PLAN_MS]
    warm_ms = {name: median(costs[name][WARM]) for name in ("cache off", "with its cache")}
    return Table(
        title="worker: ms of CPU time for a request, median, main thread of Node; the free plan allows 10 ms",
        columns=("request", *costs),
        rows=[
            (kind, *(f"{median(one[kind]):.2f}" if kind in one else "-" for one in costs.values())) for kind in kinds
        ],
        goals=[
            *(
                Goal(f"a warm manifest in at most {WARM_MS:.0f} ms, {name}", f"{ms:.2f} ms", ms <= WARM_MS)
                for name, ms in warm_ms.items()
            ),
            Goal(
                f"at most the free plan's {FREE_PLAN_MS:.0f} ms, but for 8 MiB",
                f"above it: {', '.join(above) or 'nothing'}",
                not above,
            ),
        ],
        notes=["blobs of 8 MiB are copied because max_copied is raised here to 64MiB; by default they pass through"],
        samples=costs,
    )


def _plain(run: Run, there: Upstreams) -> dict[str, list[float]]:
    costs = {}
    with passthrough(run.state("passthrough"), there.registry_url) as contestant:
        costs[WARM] = _warm(run, contestant)
    with passthrough(run.state("passthrough"), there.blobs_url) as contestant:
        _warm_up(contestant, there.small[0])
        costs[SMALL_FIRST] = _each(contestant, there.small[1:])
        costs[LARGE_FIRST] = _each(contestant, there.large)
    return costs


def _worker(run: Run, there: Upstreams, cache: Mapping[str, object]) -> dict[str, list[float]]:
    costs: dict[str, list[float]] = {kind: [] for kind in FIRSTS}
    config = worker_config(there.registry_url, cache)
    with Worker.start(run.state("worker"), config) as running:
        contestant = Contestant("hubferry's Worker", running.port, running.process)
        for _ in range(run.rounds):
            running.deploy(config)
            with Connection(contestant) as connection:
                for kind, (method, path) in FIRSTS.items():
                    costs[kind].append(_cost(contestant, connection, path, method))
        costs[WARM] = _warm(run, contestant)
        running.deploy(worker_config(there.blobs_url, cache))
        _warm_up(contestant, there.small[0])
        costs[SMALL_FIRST] = _each(contestant, there.small[1:])
        costs[SMALL_AGAIN] = _each(contestant, there.small[1:])
        costs[LARGE_FIRST] = _each(contestant, there.large)
    return costs


def _warm(run: Run, contestant: Contestant) -> list[float]:
    """The mean of each hundred requests, once the engine has compiled what is used often."""
    found = []
    warm_up = 1 if run.quick else 10
    with Connection(contestant) as connection:
        for number in range(warm_up + run.rounds):
            before_s = main_thread_s(contestant.process)
            for _ in range(100):
                connection.read(connection.get(TAG, OCI_IMAGE))
            if number >= warm_up:
                found.append((main_thread_s(contestant.process) - before_s) / 100 * 1000)
    return found


def _warm_up(contestant: Contestant, path: str) -> None:
    with Connection(contestant) as connection:
        for _ in range(50):
            connection.read(connection.get(path))
    time.sleep(COPIED_S)


def _each(contestant: Contestant, paths: Sequence[str]) -> list[float]:
    with Connection(contestant) as connection:
        return [_cost(contestant, connection, path) for path in paths]


def _cost(contestant: Contestant, connection: Connection, path: str, method: str = "GET") -> float:
    before_s = main_thread_s(contestant.process)
    head = connection.get(path, OCI_IMAGE, method)
    if method != "HEAD":
        connection.read(head)
    time.sleep(COPIED_S)
    return (main_thread_s(contestant.process) - before_s) * 1000
