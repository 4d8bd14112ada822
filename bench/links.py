"""A bad link and those who pull over it: each has a relay of its own before one upstream, Debian's docker-registry.

The client is skopeo, which copies to a folder: each layer is hashed and written once, and nothing is unpacked. As
`dir:` it takes one layer after the other, as `oci:` six at a time.
A link is read after a pull: what it cost is what passed the relay and what the upstream's log has, until everything
that was to be kept is kept.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.caches import wait_kept
from bench.contestants import Contestant, registry_server
from bench.load import BadAnswer
from bench.upstream_log import RegistryLog
from tests.support.clients import ClientError, Skopeo
from tests.support.content import digest_of
from tests.support.images import build_image
from tests.support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.run import Run
    from tests.support.images import Image

__all__ = ["REPOSITORY", "TAG", "Cost", "Links", "Pull", "Transport", "pull"]

Transport = Literal["dir", "oci"]

REPOSITORY = "bench/link"
TAG = "latest"
MB = 1_000_000
LAYERS = (130 * MB, 12 * MB, 8 * MB, 5 * MB, 3 * MB, 2 * MB)
QUICK_LAYERS = (24 * MB, 2 * MB, MB)


@dataclass(frozen=True)
class Pull:
    """One pull; `failure` is the last line that the client said when it did not succeed."""

    seconds: float
    failure: str = ""

    @property
    def shown(self) -> str:
        return f"failed after {self.seconds:.1f}" if self.failure else f"{self.seconds:.2f}"


@dataclass(frozen=True)
class Cost:
    """What a pull took of the link; `bytes_down` left the upstream, with the heads of its answers."""

    pull: Pull
    connections: int
    requests: int
    bytes_down: int


@dataclass(frozen=True)
class Links:
    """The upstream with its image, and relays to it."""

    upstream: Contestant
    image: Image
    log: RegistryLog
    skopeo: Skopeo

    @classmethod
    @contextlib.contextmanager
    def start(cls, run: Run) -> Iterator[Links]:
        image = build_image("bench-link", layer_sizes=QUICK_LAYERS if run.quick else LAYERS)
        with registry_server(run.state("upstream"), REPOSITORY, TAG, image, logs=True) as upstream:
            yield cls(upstream, image, RegistryLog(upstream.process.log), Skopeo(run.state("skopeo")))

    @property
    def size_bytes(self) -> int:
        return len(self.image.manifest) + sum(blob.size for blob in self.image.blobs.values())

    def relay(self) -> Relay:
        return Relay(self.upstream.port)

    def measure(self, relay: Relay, contestant: Contestant | None, transport: Transport = "dir") -> Cost:
        """Pull from a contestant behind this relay, None: over the relay; nobody else may be pulling."""
        connections, bytes_down, requests = relay.connections, relay.down, self.log.requests()
        done = self.pull(contestant.port if contestant else relay.port, transport)
        if contestant and not done.failure:
            self.wait_kept(contestant)
        return Cost(done, relay.connections - connections, self.log.requests() - requests, relay.down - bytes_down)

    def pull(self, port: int, transport: Transport = "dir") -> Pull:
        return pull(self.skopeo, f"127.0.0.1:{port}/{REPOSITORY}:{TAG}", self.image, transport)

    def wait_kept(self, contestant: Contestant) -> None:
        for digest in self.image.blobs:
            wait_kept(contestant, digest)


def pull(skopeo: Skopeo, reference: str, image: Image, transport: Transport = "dir") -> Pull:
    """Pull and look at every byte; raises BadAnswer when skopeo took something else for the image."""
    started = time.perf_counter()
    try:
        folder = skopeo.copy(reference, transport=transport)
    except (ClientError, subprocess.TimeoutExpired) as error:
        return Pull(time.perf_counter() - started, str(error).splitlines()[-1])
    seconds = time.perf_counter() - started
    blobs = folder / "blobs/sha256" if transport == "oci" else folder
    for digest in image.blobs:
        if digest_of((blobs / digest.removeprefix("sha256:")).read_bytes()) != digest:
            raise BadAnswer(f"{reference}: wrong bytes as {digest}")
    shutil.rmtree(folder)
    return Pull(seconds)
