"""A bad link to the upstream: 150 ms of round trip and 4 MB/s for each connection, cut now and then, or a blackhole.

skopeo alone, docker-registry as a proxy and hubferry pull over it, each behind a relay of its own (tests/support/relay)
that leads to the same docker-registry. Cold pulls are measured once: what they take is the link's, and not chance.
What is kept is pulled in turns with pulls from the registry itself, without a relay.
What a pull asks an upstream for is in link_requests.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.contestants import hubferry, registry_proxy
from bench.links import Links
from bench.load import BadAnswer
from bench.meters import median
from bench.parts import link_requests
from bench.table import Goal, Table
from tests.support.relay import RATE_BYTES_PER_S, RTT_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.contestants import Contestant
    from bench.links import Cost, Pull, Transport
    from bench.run import Run
    from tests.support.relay import Relay

__all__ = ["measure"]

GOAL_RATIO = 5.0
GOAL_CUT_RATIO = 1.5
GOAL_BEYOND_PERCENT = 5.0
GOAL_ADDED_S = 0.2
GOAL_BLACKHOLE_S = 2.5

CUT_AFTER = 10_000_000
QUICK_CUT_AFTER = 4_000_000
LONG_TTL_S = 3600
SHORT_TTL_S = 1
ALONE, PROXY, OURS = "skopeo alone", "docker-registry as proxy", "hubferry"
CLIENTS: dict[Transport, str] = {"dir": "one", "oci": "six"}


@dataclass(frozen=True)
class Cold:
    """A cold pull: who, how many layers at a time, over which link, and what it took."""

    who: str
    transport: Transport
    is_cut: bool
    cost: Cost


@dataclass(frozen=True)
class Kept:
    """Pulls of what is kept; `requests` are those of the first."""

    what: str
    pulls: Sequence[Pull]
    requests: int

    @property
    def middle_s(self) -> float:
        return median([pull.seconds for pull in self.pulls])


def measure(run: Run) -> Sequence[Table]:
    cut_after = QUICK_CUT_AFTER if run.quick else CUT_AFTER
    with Links.start(run) as links:
        cold, kept = _first(run, links)
        cold += _others(run, links, cut_after)
    return [_cold_table(links, cold, cut_after), _kept_table(run, kept), link_requests.measure(run)]


def _first(run: Run, links: Links) -> tuple[list[Cold], list[Kept]]:
    """One layer at a time over a whole link, and what is kept then."""
    state = run.state("hubferry")
    with contextlib.ExitStack() as stack:
        direct, theirs, mine = (stack.enter_context(links.relay()) for _ in range(3))
        proxy = stack.enter_context(registry_proxy(run.state("registry-proxy"), theirs.url))
        with hubferry(state, mine.url, cache=True, tag_ttl_s=LONG_TTL_S) as ours:
            cold = [
                Cold(who, "dir", False, _complete(who, links.measure(relay, contestant)))
                for who, relay, contestant in ((ALONE, direct, None), (PROXY, theirs, proxy), (OURS, mine, ours))
            ]
            kept = _within(run, links, {PROXY: (theirs, proxy), f"{OURS}, within the TTL": (mine, ours)})
        return cold, kept + _blackholed(links, state, mine)


def _others(run: Run, links: Links, cut_after: int) -> list[Cold]:
    """With nothing kept again: six layers at a time, and over a link that is cut."""
    found = []
    transports: tuple[tuple[Transport, int | None], ...] = (("oci", None), ("dir", cut_after))
    for transport, cut in transports:
        for who in (ALONE, PROXY, OURS):
            with links.relay() as relay, _started(run, who, relay) as contestant:
                if cut:
                    relay.cut_after(cut, "rst")
                cost = links.measure(relay, contestant, transport)
                found.append(Cold(who, transport, bool(cut), cost if cut else _complete(who, cost)))
    return found


@contextlib.contextmanager
def _started(run: Run, who: str, relay: Relay) -> Iterator[Contestant | None]:
    if who == ALONE:
        yield None
    elif who == PROXY:
        with registry_proxy(run.state("registry-proxy"), relay.url) as contestant:
            yield contestant
    else:
        with hubferry(run.state("hubferry"), relay.url, cache=True) as contestant:
            yield contestant


def _complete(who: str, cost: Cost) -> Cost:
    if cost.pull.failure:
        raise BadAnswer(f"{who}, with a link that is not cut: {cost.pull.failure}")
    return cost


def _within(run: Run, links: Links, contestants: dict[str, tuple[Relay, Contestant]]) -> list[Kept]:
    """In turns with pulls from the registry itself."""
    local = []
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(run.rounds):
        local.append(links.pull(links.upstream.port))
        for name, (relay, contestant) in contestants.items():
            costs[name].append(_complete(name, links.measure(relay, contestant)))
    kept = [Kept(name, [cost.pull for cost in found], found[0].requests) for name, found in costs.items()]
    return [Kept("a local registry", local, 0), *kept]


def _blackholed(links: Links, state: Path, relay: Relay) -> list[Kept]:
    """Everything is kept, the tag has to be confirmed, and there is no answer: on an open connection, on a new one."""
    with hubferry(state, relay.url, cache=True, tag_ttl_s=SHORT_TTL_S) as ours:
        time.sleep(SHORT_TTL_S)
        if _complete(OURS, links.measure(relay, ours)).requests == 0:
            raise BadAnswer("hubferry did not ask for a tag after its TTL: a blackhole would not matter")
        relay.blackhole()
        found = []
        for when in ("first pull", "next pull"):
            time.sleep(SHORT_TTL_S + 0.5)
            found.append(Kept(f"hubferry, blackhole, {when}", [links.pull(ours.port)], 0))
    with hubferry(state, relay.url, cache=True, tag_ttl_s=SHORT_TTL_S) as ours:
        return [*found, Kept("hubferry, blackhole, started in it", [links.pull(ours.port)], 0)]


def _cold_table(links: Links, cold: Sequence[Cold], cut_after: int) -> Table:
    by_case = {(one.who, one.transport, one.is_cut): one.cost for one in cold}
    ours, ours_cut = by_case[OURS, "dir", False], by_case[OURS, "dir", True]
    ratio = by_case[PROXY, "dir", False].pull.seconds / ours.pull.seconds
    ratio_at_once = by_case[PROXY, "oci", False].pull.seconds / by_case[OURS, "oci", False].pull.seconds
    cut_ratio = ours_cut.pull.seconds / ours.pull.seconds
    completes = not ours_cut.pull.failure
    beyond = _beyond_percent(links, ours_cut)
    layers = len(links.image.layers)
    return Table(
        title=(
            f"link: {links.size_bytes / 1e6:.0f} MB in {layers} layers, cold, once; {RTT_S * 1000:.0f} ms and"
            f" {RATE_BYTES_PER_S / 1e6:.0f} MB/s for each connection"
        ),
        columns=(
            "contestant",
            "layers at a time",
            "connections cut after",
            "seconds",
            "MB/s",
            "connections",
            "upstream requests",
            "MB from upstream",
            "more than the image",
        ),
        rows=[_cold_row(links, one, cut_after) for one in cold],
        goals=[
            Goal(
                f"{GOAL_RATIO:.0f} times as fast as docker-registry, one layer at a time",
                f"{ratio:.2f} times",
                ratio >= GOAL_RATIO,
            ),
            Goal("completes with cuts", "yes" if completes else ours_cut.pull.failure, completes),
            Goal(
                f"with cuts within {GOAL_CUT_RATIO} times of what it takes without",
                f"{cut_ratio:.2f} times" if completes else "does not complete",
                completes and cut_ratio <= GOAL_CUT_RATIO,
            ),
            Goal(
                f"with cuts at most {GOAL_BEYOND_PERCENT:.0f} % more than the image from the upstream",
                f"{beyond:.2f} %" if completes else "does not complete",
                completes and beyond <= GOAL_BEYOND_PERCENT,
            ),
        ],
        notes=[
            f"six layers at a time: {ratio_at_once:.2f} times as fast as docker-registry",
            "what left the upstream includes heads, and what was on its way when a connection was given up",
            "docker-registry fetches every blob twice to keep it",
        ],
        samples={f"{one.who}, {one.transport}, {'cut' if one.is_cut else 'whole'}": asdict(one.cost) for one in cold},
    )


def _beyond_percent(links: Links, cost: Cost) -> float:
    return (cost.bytes_down / links.size_bytes - 1) * 100


def _cold_row(links: Links, one: Cold, cut_after: int) -> tuple[str, ...]:
    failed = bool(one.cost.pull.failure)
    return (
        one.who,
        CLIENTS[one.transport],
        f"{cut_after / 1e6:.0f} MB" if one.is_cut else "never",
        one.cost.pull.shown,
        "-" if failed else f"{links.size_bytes / 1e6 / one.cost.pull.seconds:.1f}",
        str(one.cost.connections),
        str(one.cost.requests),
        f"{one.cost.bytes_down / 1e6:.1f}",
        "-" if failed else f"{_beyond_percent(links, one.cost):.2f} %",
    )


def _kept_table(run: Run, kept: Sequence[Kept]) -> Table:
    local, _, within, *blackholed = kept
    added_s = within.middle_s - local.middle_s
    slowest = max((pull for one in blackholed for pull in one.pulls), key=lambda pull: (pull.failure, pull.seconds))
    return Table(
        title=f"link: the same image when it is kept, median of {run.rounds} (blackhole: each once)",
        columns=("from", "seconds", "more than local", "upstream requests"),
        rows=[
            (
                one.what,
                next((pull.shown for pull in one.pulls if pull.failure), f"{one.middle_s:.2f}"),
                f"{one.middle_s - local.middle_s:.2f} s",
                "none arrived" if one in blackholed else str(one.requests) if one is not local else "-",
            )
            for one in kept
        ],
        goals=[
            Goal(
                f"under {GOAL_ADDED_S} s more than from a local registry within the TTL",
                f"{added_s:.3f} s",
                added_s < GOAL_ADDED_S,
            ),
            Goal("0 upstream requests within the TTL", str(within.requests), within.requests == 0),
            Goal(
                f"within {GOAL_BLACKHOLE_S} s when the tag has to be confirmed and the upstream is a blackhole",
                f"{slowest.shown} s",
                not slowest.failure and slowest.seconds <= GOAL_BLACKHOLE_S,
            ),
        ],
        notes=["a connection to the upstream is open at the first pull; none was opened before what is started in it"],
        samples={one.what: [pull.seconds for pull in one.pulls] for one in kept},
    )
