"""What one cold pull asks an upstream for: by how much it exceeds one request for each blob.

The upstream is the tests' stand-in for Docker Hub, with tokens, and blobs on a CDN. A blob's request there and its
continuation on the CDN are one: no gateway can have a blob with less. Of several ranges of a blob the first counts.
A process that has talked to the upstream before is better off, so both are measured.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.caches import wait_kept
from bench.contestants import hubferry
from bench.links import pull
from bench.load import BadAnswer
from bench.run import MIB
from bench.table import Goal, Table
from tests.support.clients import Skopeo
from tests.support.hub import Hub
from tests.support.images import Index, build_image, build_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestants import Contestant
    from bench.run import Run
    from tests.support.exchange import Received
    from tests.support.images import Image

__all__ = ["measure"]

GOAL_BEYOND = 4
LAYERS = (20 * MIB, 30_000, 30_000, 30_000, 30_000)  # the first is large enough for ranges


@dataclass(frozen=True)
class Asked:
    """The requests of one pull of an image of so many blobs."""

    blobs: int
    tokens: int
    manifests: int
    for_blobs: int
    others: int
    ranges: int

    @property
    def requests(self) -> int:
        return self.tokens + self.manifests + self.for_blobs + self.others

    @property
    def beyond(self) -> int:
        return self.requests - self.blobs


def measure(run: Run) -> Table:
    skopeo = Skopeo(run.state("skopeo"))
    found: dict[tuple[str, str], Asked] = {}
    for kind in ("one manifest", "one platform of an index"):
        with (
            Hub(strict=False) as hub,
            hubferry(run.state("hubferry-asking"), hub.url, cache=True, login="upstream") as ours,
        ):
            hub.state.pull_limit = None
            for process in ("new", "has talked to it"):
                found[kind, process] = _pull(hub, skopeo, ours, _build(kind, process))
    worst = max(asked.beyond for asked in found.values())
    return Table(
        title=f"link: what one cold pull of {len(LAYERS)} layers asks the upstream for",
        columns=("image", "process", "blobs", "requests", "tokens", "manifests", "for blobs", "others", "ranges"),
        rows=[(*case, *(str(number) for number in _numbers(asked))) for case, asked in found.items()],
        goals=[
            Goal(
                f"at most {GOAL_BEYOND} requests more than blobs, tokens included, ranges aside",
                f"{worst} more",
                worst <= GOAL_BEYOND,
            )
        ],
        notes=[
            "the CDN's half of a blob's request is not counted again; of a blob's ranges all but the first are aside"
        ],
        samples={", ".join(case): asdict(asked) for case, asked in found.items()},
    )


def _numbers(asked: Asked) -> Sequence[int]:
    return asked.blobs, asked.requests, asked.tokens, asked.manifests, asked.for_blobs, asked.others, asked.ranges


def _build(kind: str, process: str) -> Image | Index:
    seed = f"asked/{kind}/{process}"
    return build_index(seed, layer_sizes=LAYERS) if "index" in kind else build_image(seed, layer_sizes=LAYERS)


def _pull(hub: Hub, skopeo: Skopeo, contestant: Contestant, image: Image | Index) -> Asked:
    """Of an image in a repository of its own."""
    repository = f"bench/{image.digest[7:19]}"
    hub.add(repository, "latest", image)
    hub.recorder.clear()
    wanted = image.image("amd64") if isinstance(image, Index) else image
    done = pull(skopeo, f"127.0.0.1:{contestant.port}/{repository}:latest", wanted)
    if done.failure:
        raise BadAnswer(f"{contestant.name}: {done.failure}")
    for digest in wanted.blobs:
        wait_kept(contestant, digest)
    return _count([exchange.request for exchange in hub.find()], len(wanted.blobs))


def _count(requests: Sequence[Received], blobs: int) -> Asked:
    asked: set[str] = set()
    tokens = manifests = for_blobs = others = ranges = 0
    for request in requests:
        if request.role == "cdn":
            continue
        if request.header("range") and request.path in asked:
            ranges += 1
            continue
        asked.add(request.path)
        tokens += request.role == "auth"
        manifests += "/manifests/" in request.path
        for_blobs += "/blobs/" in request.path
        others += request.role == "hub" and "/manifests/" not in request.path and "/blobs/" not in request.path
    return Asked(blobs, tokens, manifests, for_blobs, others, ranges)
