"""Manifests by tag per second, hubferry against docker-registry as a proxy, both before the same docker-registry.

As configured by default hubferry answers a tag for 60 s without asking; docker-registry asks its upstream every time.
With the cache off hubferry asks every time as well: then the upstream, which shares the machine's cores, is the
ceiling. CPU per request is that of the contestant alone.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.contestants import Contestant, hubferry, registry_proxy, registry_server
from bench.meters import median
from bench.requests import gets_per_second, heads_per_second
from bench.table import Goal, Table
from tests.support.images import OCI_MANIFEST, build_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run import Run

__all__ = ["measure"]

CONNECTIONS = 32
GOAL = 5.0
REPOSITORY = "bench/image"
PATH = f"/v2/{REPOSITORY}/manifests/latest"
HEADERS = {"Accept": OCI_MANIFEST}

Method = Literal["HEAD", "GET"]
METHODS: tuple[Method, ...] = ("HEAD", "GET")


@dataclass(frozen=True)
class Rate:
    """One round of one contestant."""

    per_second: float
    cpu_ms: float


def measure(run: Run) -> Sequence[Table]:
    image = build_image("bench")
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(registry_server(run.state("registry"), REPOSITORY, "latest", image))
        url = f"http://127.0.0.1:{origin.port}"
        peer = stack.enter_context(registry_proxy(run.state("registry-proxy"), url))
        ours = stack.enter_context(hubferry(run.state("hubferry"), url, cache=True))
        bare = stack.enter_context(hubferry(run.state("hubferry-bare"), url, name="hubferry, cache off"))
        return [_table(run, (origin, peer, ours, bare), method) for method in METHODS]


def _table(run: Run, contestants: tuple[Contestant, ...], method: Method) -> Table:
    _, peer, ours, _ = contestants
    rates: dict[str, list[Rate]] = {contestant.name: [] for contestant in contestants}
    for contestant in contestants:
        _rate(run, contestant, method, 1)  # warms up
    for _ in range(run.rounds):
        for contestant in contestants:
            rates[contestant.name].append(_rate(run, contestant, method, 1 if run.quick else 2))
    base = _per_second(rates[peer.name])
    ratio = _per_second(rates[ours.name]) / base
    return Table(
        title=f"tags: {method}, {CONNECTIONS} connections, median of {run.rounds}",
        columns=("contestant", "per second", f"x {peer.name}", "CPU ms each"),
        rows=[_row(name, found, base) for name, found in rates.items()],
        goals=[Goal(f"at least {GOAL:.0f} times {peer.name}", f"{ratio:.2f} times", ratio >= GOAL)],
        notes=["within hubferry's tag TTL; docker-registry asks its upstream for every tag"],
        samples={name: [(rate.per_second, rate.cpu_ms) for rate in found] for name, found in rates.items()},
    )


def _row(name: str, found: Sequence[Rate], base: float) -> tuple[str, ...]:
    middle = _per_second(found)
    return name, f"{middle:,.0f}", f"{middle / base:.2f}", f"{median([rate.cpu_ms for rate in found]):.2f}"


def _per_second(found: Sequence[Rate]) -> float:
    return median([rate.per_second for rate in found])


def _rate(run: Run, contestant: Contestant, method: Method, seconds: int) -> Rate:
    cpu_before_s = contestant.process.cpu_s()
    if method == "HEAD":
        rate = heads_per_second(contestant, PATH, HEADERS, connections=CONNECTIONS, seconds=seconds)
    else:
        rate = gets_per_second(contestant, PATH, HEADERS, connections=CONNECTIONS, seconds=seconds, folder=run.folder)
    return Rate(rate, (contestant.process.cpu_s() - cpu_before_s) / (rate * seconds) * 1000)
