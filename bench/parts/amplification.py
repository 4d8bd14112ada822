"""What each client's pull costs the line: bytes from the upstream for each byte that the client got.

An index of six platforms at a docker-registry behind a counting relay; each client is fresh, and so is each image. A
client that reads the manifests of all platforms (ctr) must not have the layers of all of them fetched. Counted from the
upstream is everything that passed the relay until nothing has for a while, with heads and with what is fetched for
other clients (`cache.complete`); for the client, the bodies that the gateway's log says it was sent.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.load import BadAnswer
from bench.table import Goal, Table
from tests.matrix.rows import ROWS, Puller, Row, Surroundings
from tests.support.enclosure import Enclosure
from tests.support.gateway import Gateway, upstream
from tests.support.images import build_index
from tests.support.registry import Registry
from tests.support.relay import Relay
from tests.support.tls import Authority
from tests.support.todays_clients import Ctr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run import Run

__all__ = ["measure"]

MOST = 1.05
MB = 1_000_000
ARCHITECTURES = ("amd64", "arm64", "arm", "386", "ppc64le", "s390x")
LAYERS = (6 * MB, 3 * MB, 2 * MB, MB)
QUIET_S = 1.0
CLIENTS = ("Docker 29", "Docker 20.10", "podman 4.3", "skopeo 1.9", "BuildKit 0.34", "ctr 2.4", "ctr 2.4 --local")


@dataclass(frozen=True)
class Cost:
    """Bytes that one client was sent, and that the upstream gave meanwhile."""

    client_bytes: int
    upstream_bytes: int

    @property
    def ratio(self) -> float:
        return self.upstream_bytes / self.client_bytes


def measure(run: Run) -> Sequence[Table]:
    rows = [row for row in ROWS if row.client in CLIENTS and row.way == "name"]
    rows.append(Row("ctr 2.4 --skip-metadata, as CRI does", "name", _start_ctr, lambda _: set()))
    folder = run.state("amplification")
    with (
        Registry(folder / "registry") as registry,
        Relay(registry.port, rtt_s=0, bytes_per_s=None) as relay,
        Enclosure(Authority(folder / "tls")) as enclosure,
        tempfile.TemporaryDirectory(prefix="hfb-") as clients,  # podman refuses a runroot of more than 50 characters
    ):
        hub = upstream(f"http://127.0.0.1:{relay.port}", default=True)
        config = {"upstreams": {"only": True, "docker.io": hub}, "cache": {"dir": str(folder / "data")}}
        with Gateway.start(folder / "gateway", config) as gateway:
            around = Surroundings(enclosure, gateway, folder / "no.pub")
            found = {}
            for number, row in enumerate(rows):
                repository = f"bench/image-{number}"
                index = build_index(repository, architectures=ARCHITECTURES, layer_sizes=LAYERS)
                registry.push(repository, "1", index)
                with row.start(Path(clients) / f"c{number}", around) as client:
                    found[row.client] = _pull(client, around.gateway, repository, index.digest, relay)
    worst = max(found, key=lambda client: found[client].ratio)
    ratio = found[worst].ratio
    return [
        Table(
            title=f"amplification: an index of {len(ARCHITECTURES)} platforms, {sum(LAYERS) // MB} MB of layers each",
            columns=("client", "MB to the client", "MB from upstream", "ratio"),
            rows=[
                (name, f"{cost.client_bytes / MB:.2f}", f"{cost.upstream_bytes / MB:.2f}", f"{cost.ratio:.3f}")
                for name, cost in found.items()
            ],
            goals=[Goal(f"{MOST} times what the client gets", f"{ratio:.3f} ({worst})", ratio <= MOST)],
            samples={name: {"ratio": cost.ratio} for name, cost in found.items()},
        )
    ]


def _start_ctr(state: Path, around: Surroundings) -> Ctr:
    return Ctr(state, around.enclosure, options=("--skip-metadata",))


def _pull(client: Puller, gateway: Gateway, repository: str, digest: str, relay: Relay) -> Cost:
    before = relay.down
    stored = client.pull(f"{gateway.host}/{repository}:1")
    if stored.digest not in (None, digest):
        raise BadAnswer(f"{repository} came as {stored.digest}, not {digest}")
    _wait_quiet(relay)
    records = [line for line in gateway.log_records() if line.get("repository") == repository]
    return Cost(sum(int(line["bytes"]) for line in records), relay.down - before)


def _wait_quiet(relay: Relay) -> None:
    """Until what the gateway fetches ahead is there."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        if relay.down != seen:
            seen, since = relay.down, time.monotonic()
        time.sleep(0.05)
