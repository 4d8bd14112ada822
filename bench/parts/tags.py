"""Manifests by tag per second, hubferry against docker-registry as a proxy, both before the same docker-registry.

As configured by default hubferry answers a tag for 60 s without asking; docker-registry asks its upstream every time.
With the cache off hubferry asks every time as well: then the upstream, which shares the machine's cores, is the
ceiling. Real clients send a token with each request, which one row does; the others have `login = "open"`.
CPU per request is that of the contestant alone.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.contestants import Contestant, hubferry, registry_proxy, registry_server
from bench.load import BadAnswer
from bench.meters import median
from bench.requests import pace_of_gets, pace_of_heads
from bench.table import Goal, Table
from tests.support.http import fetch
from tests.support.images import OCI_MANIFEST, build_image
from tests.support.registry_client import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run import Run

__all__ = ["measure"]

CONNECTIONS = 32
GOAL = 5.0
GOAL_PER_SECOND = 15_000
GOAL_P99_MS = 10.0
REPOSITORY = "bench/image"
PATH = f"/v2/{REPOSITORY}/manifests/latest"
HEADERS = {"Accept": OCI_MANIFEST}

Method = Literal["HEAD", "GET"]
METHODS: tuple[Method, ...] = ("HEAD", "GET")


@dataclass(frozen=True)
class Rate:
    """One round of one contestant."""

    per_second: float
    p99_ms: float
    cpu_ms: float


def measure(run: Run) -> Sequence[Table]:
    image = build_image("bench")
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(registry_server(run.state("registry"), REPOSITORY, "latest", image))
        url = f"http://127.0.0.1:{origin.port}"
        peer = stack.enter_context(registry_proxy(run.state("registry-proxy"), url))
        ours = stack.enter_context(hubferry(run.state("hubferry"), url, cache=True))
        asking = stack.enter_context(
            hubferry(run.state("hubferry-login"), url, cache=True, login="upstream", name="hubferry, with a token")
        )
        bare = stack.enter_context(hubferry(run.state("hubferry-bare"), url, name="hubferry, cache off"))
        return [_table(run, (origin, peer, ours, asking, bare), method) for method in METHODS]


def _table(run: Run, contestants: tuple[Contestant, ...], method: Method) -> Table:
    _, peer, ours, _, _ = contestants
    rates: dict[str, list[Rate]] = {contestant.name: [] for contestant in contestants}
    for contestant in contestants:
        _rate(run, contestant, method, 1)  # warms up
    for _ in range(run.rounds):
        for contestant in contestants:
            rates[contestant.name].append(_rate(run, contestant, method, 1 if run.quick else 2))
    base = _middle(rates[peer.name])
    reached = _middle(rates[ours.name])
    ratio = reached.per_second / base.per_second
    return Table(
        title=f"tags: {method}, {CONNECTIONS} connections, median of {run.rounds}",
        columns=("contestant", "per second", f"x {peer.name}", "p99 ms", "CPU ms each"),
        rows=[_row(name, _middle(found), base) for name, found in rates.items()],
        goals=[
            Goal(f"at least {GOAL:.0f} times {peer.name}", f"{ratio:.2f} times", ratio >= GOAL),
            Goal(
                f"at least {GOAL_PER_SECOND:,} per second and worker",
                f"{reached.per_second:,.0f}",
                reached.per_second >= GOAL_PER_SECOND,
            ),
            Goal(f"p99 under {GOAL_P99_MS:.0f} ms", f"{reached.p99_ms:.1f} ms", reached.p99_ms < GOAL_P99_MS),
        ],
        notes=["within hubferry's tag TTL; docker-registry asks its upstream for every tag"],
        samples={name: [(r.per_second, r.p99_ms, r.cpu_ms) for r in found] for name, found in rates.items()},
    )


def _row(name: str, middle: Rate, base: Rate) -> tuple[str, ...]:
    ratio = middle.per_second / base.per_second
    return name, f"{middle.per_second:,.0f}", f"{ratio:.2f}", f"{middle.p99_ms:.1f}", f"{middle.cpu_ms:.2f}"


def _middle(found: Sequence[Rate]) -> Rate:
    return Rate(
        median([rate.per_second for rate in found]),
        median([rate.p99_ms for rate in found]),
        median([rate.cpu_ms for rate in found]),
    )


def _rate(run: Run, contestant: Contestant, method: Method, seconds: int) -> Rate:
    headers = HEADERS | _authorization(contestant)
    cpu_before_s = contestant.process.cpu_s()
    if method == "HEAD":
        pace = pace_of_heads(contestant, PATH, headers, connections=CONNECTIONS, seconds=seconds)
    else:
        pace = pace_of_gets(contestant, PATH, headers, connections=CONNECTIONS, seconds=seconds, folder=run.folder)
    cpu_s = contestant.process.cpu_s() - cpu_before_s
    return Rate(pace.per_second, pace.p99_ms, cpu_s / (pace.per_second * seconds) * 1000)


def _authorization(contestant: Contestant) -> dict[str, str]:
    """A new token where one is asked for: it lives for minutes, and a run may be longer."""
    url = f"http://127.0.0.1:{contestant.port}"
    refused = fetch(url + PATH, "HEAD")
    if refused.status != 401:
        return {}
    answer = RegistryClient(url).token_for(refused)
    if answer.status != 200:
        raise BadAnswer(f"{contestant.name}: no token: {answer.body[:300]!r}")
    return {"Authorization": f"Bearer {answer.json()['token']}"}
