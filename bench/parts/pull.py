"""A whole pull, again and again: what it costs upstream.

Each pull is a new node's: /v2/, token, tag, platform, config, layers, every byte checked. The upstream is the tests'
stand-in for Docker Hub, with tokens and blobs on a CDN, and it records what it is asked: hubferry is to ask nothing
while it trusts a tag, and afterwards for the tag alone. Seconds are those of one pull.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.caches import wait_kept
from bench.contestants import Contestant, hubferry, registry_proxy
from bench.load import BadAnswer
from bench.run import MIB
from bench.table import Goal, Table
from tests.support.hub import Hub
from tests.support.images import build_index
from tests.support.registry_client import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run import Run
    from tests.support.exchange import Received
    from tests.support.images import Index

__all__ = ["measure"]

REPOSITORY = "bench/image"
TAG = "latest"
LAYERS = (8 * MIB, MIB, 30_000)
QUIET_S = 1.5
COLD, WITHIN, AFTER = "cold", "again, within the TTL", "again, after the TTL"


@dataclass(frozen=True)
class Pull:
    """One pull of one contestant, and what the upstream was asked meanwhile."""

    seconds: float
    tokens: int
    tags: tuple[str, ...]  # methods
    digests: int

    @property
    def requests(self) -> int:
        return self.tokens + len(self.tags) + self.digests


def measure(run: Run) -> Sequence[Table]:
    tag_ttl_s = 4 if run.quick else 20
    index = build_index("bench", layer_sizes=LAYERS)
    with (
        Hub(strict=False) as hub,
        registry_proxy(run.state("registry-proxy"), hub.url) as registry,
        hubferry(run.state("hubferry"), hub.url, cache=True, login="upstream", tag_ttl_s=tag_ttl_s) as ours,
    ):
        hub.state.pull_limit = None
        hub.add(REPOSITORY, TAG, index)
        found = {contestant.name: _pulls(hub, contestant, index, tag_ttl_s) for contestant in (registry, ours)}
    within, after = found[ours.name][WITHIN], found[ours.name][AFTER]
    return [
        Table(
            title=f"pull: an index of two platforms, {sum(LAYERS) // MIB} MiB of layers, a tag TTL of {tag_ttl_s} s",
            columns=("contestant", "pull", "seconds", "upstream requests", "tokens", "for the tag", "for digests"),
            rows=[_row(name, when, pull) for name, pulls in found.items() for when, pull in pulls.items()],
            goals=[
                Goal("0 upstream requests within the TTL", str(within.requests), within.requests == 0),
                Goal("0 upstream requests for digests after it", str(after.digests), after.digests == 0),
                Goal("one HEAD for the tag after it", _methods(after), after.tags == ("HEAD",)),
            ],
            samples={name: {when: pull.seconds for when, pull in pulls.items()} for name, pulls in found.items()},
        )
    ]


def _pulls(hub: Hub, contestant: Contestant, index: Index, tag_ttl_s: int) -> dict[str, Pull]:
    found = {COLD: _pull(hub, contestant)}
    for blob in index.image("amd64").blobs:
        wait_kept(contestant, blob)
    _wait_complete(hub)
    found[WITHIN] = _pull(hub, contestant)
    time.sleep(tag_ttl_s + 0.5)
    found[AFTER] = _pull(hub, contestant)
    return found


def _wait_complete(hub: Hub) -> None:
    """Wait until nothing is fetched any more: hubferry goes on with what other clients need of the image."""
    asked = -1
    while len(hub.find()) != asked:
        asked = len(hub.find())
        time.sleep(QUIET_S)


def _pull(hub: Hub, contestant: Contestant) -> Pull:
    hub.clear()
    client = RegistryClient(f"http://127.0.0.1:{contestant.port}")
    started = time.perf_counter()
    try:
        client.get("/v2/")
        client.pull(REPOSITORY, TAG)
    except AssertionError as error:
        raise BadAnswer(f"{contestant.name}: {error}") from error
    seconds = time.perf_counter() - started
    asked = [exchange.request for exchange in hub.find()]
    tokens = sum(request.role == "auth" for request in asked)
    tags = tuple(request.method for request in asked if request.role == "hub" and request.path.endswith(f"/{TAG}"))
    return Pull(seconds, tokens, tags, sum(map(_is_for_digest, asked)))


def _is_for_digest(request: Received) -> bool:
    """A blob on the CDN was asked of the registry before: one request for two, but nobody gains by counting less."""
    return request.role == "cdn" or re.search(r"/(manifests|blobs)/sha256:", request.path) is not None


def _row(name: str, when: str, pull: Pull) -> tuple[str, ...]:
    requests = str(pull.requests)
    return name, when, f"{pull.seconds:.3f}", requests, str(pull.tokens), _methods(pull), str(pull.digests)


def _methods(pull: Pull) -> str:
    return ", ".join(pull.tags) or "none"
