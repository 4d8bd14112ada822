"""What k3s and BuildKit are told, which have one file each.

Pure. k3s makes containerd's hosts.toml of its registries.yaml. It takes an address with a path as it is, so the path
needs its /v2 (k3s pkg/agent/containerd/config.go). BuildKit puts the path of a mirror behind /v2/
(util/resolver), where no secret is read, and has to be told about plain HTTP also on loopback.
"""

from collections.abc import Iterator

from hubferry.core.client_files.entries import Entry, FileWish, Item, Plan, Setting
from hubferry.core.client_files.request import PlanRequest, head_of, refuse_every, refuse_path

REGISTRIES_YAML = "/etc/rancher/k3s/registries.yaml"
BUILDKITD_TOML = "/etc/buildkit/buildkitd.toml"


def plan_k3s(request: PlanRequest) -> Plan:
    """Return the plan for k3s."""
    gateway = request.gateway
    url = f"{gateway.url}/v2" if gateway.path else gateway.url
    items = tuple(Item(("mirrors", registry, "endpoint"), url) for registry in request.registries)
    checks = ("k3s crictl pull docker.io/library/hello-world:latest, and the log of the gateway has a line for it",)
    notes = ["do the same on every node; on agents the service is k3s-agent"]
    if "rewrite" in request.texts.get(REGISTRIES_YAML, ""):
        notes.append(
            f"k3s applies each rewrite of {REGISTRIES_YAML} to the gateway too, which then knows no such image"
        )
    wish = FileWish(REGISTRIES_YAML, "yaml", items, head_of("k3s"))
    return Plan((wish,), checks, tuple(notes))


def plan_buildkit(request: PlanRequest) -> Plan:
    """Return the plan for a buildkitd of its own. Raises ValueError for a secret, and for all registries."""
    refuse_every(request, "BuildKit")
    refuse_path(request, "BuildKit")
    wish = FileWish(BUILDKITD_TOML, "toml", tuple(_buildkit_entries(request)), head_of("buildkit"))
    checks = ("buildctl build with FROM hello-world, and the log of the gateway has a line for it",)
    notes = (
        f"a builder of buildx is made with the file: docker buildx create --use --buildkitd-config {BUILDKITD_TOML}",
        "docker build without a builder of its own is dockerd's: hubferry setup docker",
    )
    return Plan((wish,), checks, notes)


def _buildkit_entries(request: PlanRequest) -> Iterator[Entry]:
    host = request.gateway.host
    for registry in request.registries:
        yield Item(("registry", registry, "mirrors"), host)
    if request.gateway.is_plain:
        yield Setting(("registry", host, "http"), value=True)
