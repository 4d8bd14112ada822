"""What dockerd is told: `registry-mirrors` for Docker Hub, and a hosts.toml for every other registry.

Pure. dockerd with the containerd image store (Docker 29 and newer) reads certs.d/REGISTRY/hosts.toml, and asks the
mirrors of daemon.json for docker.io as long as no hosts.toml of docker.io names a host (moby daemon/hosts.go). Older
ones ignore hosts.toml, so it is written as well when the version is not known. See docs/clients.md.
"""

from collections.abc import Iterator

from hubferry.core.client_files.entries import CannotEditError, FileWish, Item, Plan
from hubferry.core.client_files.gateway import EVERY
from hubferry.core.client_files.hosts import hosts_path, hosts_wish
from hubferry.core.client_files.request import PlanRequest

DAEMON_JSON = "/etc/docker/daemon.json"
CERTS_D = "/etc/docker/certs.d"
HUB = "docker.io"
READS_HOSTS = (29, 0)
# dockerd 20.10 does not start with a mirror that has a path
TAKES_PATH = (25, 0)
# moby#53868: from here on a list of insecure registries takes away that loopback addresses are such
LISTS_LOOPBACK = (29, 10)
CAPABILITIES = ("pull", "resolve", "referrers")

# where dockerd's command line is written down, and who else may have set its mirrors
DOCKER_SOURCES = (
    "/etc/systemd/system/docker.service",
    "/etc/systemd/system/docker.service.d/*.conf",
    "/usr/lib/systemd/system/docker.service",
    "/lib/systemd/system/docker.service",
    "/etc/default/docker",
    "/etc/sysconfig/docker",
    "/etc/conf.d/docker",
    f"{CERTS_D}/*/hosts.toml",
)


def plan_docker(request: PlanRequest) -> Plan:
    """Return the plan for dockerd. Raises ValueError, and CannotEditError if its command line has these options too."""
    others = [registry for registry in request.registries if registry != HUB]
    has_hub = HUB in request.registries or EVERY in others
    if request.is_older_than(*READS_HOSTS):
        if not has_hub:
            raise ValueError(f"this Docker has mirrors of {HUB} only: write the gateway into the names of other images")
        notes = [f"this Docker uses the gateway for {HUB} only; for others, write {request.gateway.host}/REGISTRY/..."]
        others = []
    else:
        notes = list(_hosts_notes(request)) if others else []
    if request.gateway.is_plain and has_hub and not request.gateway.is_loopback:
        notes.append(
            "the gateway is reached without TLS, so it is listed in insecure-registries: only for your own network"
        )
    if request.gateway.path and has_hub and request.is_older_than(*TAKES_PATH):
        raise ValueError("Docker before 25 takes no secret in the URL of a mirror: update it, or leave the path away")
    files = [FileWish(DAEMON_JSON, "json", tuple(_items(request)))] if has_hub else []
    for item in files[0].entries if files else ():
        _refuse_flag(request, item)
    paths = [hosts_path(CERTS_D, registry) for registry in others]
    if has_hub and not request.is_older_than(*READS_HOSTS) and _hides_mirrors(request):
        paths.append(hosts_path(CERTS_D, HUB))
    files += [hosts_wish(request, "docker", path, CAPABILITIES) for path in dict.fromkeys(paths)]
    return Plan(tuple(files), tuple(_checks(request, has_hub)), tuple(notes))


def _items(request: PlanRequest) -> Iterator[Item]:
    gateway = request.gateway
    yield Item(("registry-mirrors",), gateway.url)
    if not gateway.is_plain:
        return
    key = ("insecure-registries",)
    if gateway.is_loopback:  # exempt by itself, unless there is a list and the version is new
        yield Item(key, gateway.host, "list")
        return
    if not request.is_older_than(*LISTS_LOOPBACK):
        yield Item(key, "::1/128", "no list")
        yield Item(key, "127.0.0.0/8", "no list")
    yield Item(key, gateway.host)


def _hides_mirrors(request: PlanRequest) -> bool:
    """Return whether a hosts.toml is there because of which dockerd would not look at the mirrors of daemon.json."""
    return any(hosts_path(CERTS_D, registry) in request.texts for registry in (HUB, EVERY))


def _refuse_flag(request: PlanRequest, item: object) -> None:
    if not isinstance(item, Item) or item.when != "always":
        return
    flag = "--registry-mirror" if item.keys == ("registry-mirrors",) else "--insecure-registry"
    for path, text in request.texts.items():
        if path.startswith("/etc/docker/"):
            continue
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        if any(flag in line for line in lines):
            raise CannotEditError(
                f"{path} gives {flag} to dockerd, which does not start if daemon.json says the same: move what it "
                "says into daemon.json, then try again"
            )


def _hosts_notes(request: PlanRequest) -> Iterator[str]:
    if request.version is None:
        yield "the version of Docker is not known (--client-version): before 29 only Docker Hub goes to the gateway"
    yield (
        "registries other than docker.io need the containerd image store: `docker info` then shows "
        "io.containerd.snapshotter.v1"
    )


def _checks(request: PlanRequest, has_hub: bool) -> Iterator[str]:
    if has_hub:
        yield "docker info shows the gateway below Registry Mirrors"
    registry = next((name for name in request.registries if name not in (HUB, EVERY)), HUB)
    image = "hello-world" if has_hub else f"{registry}/IMAGE"
    yield f"docker pull {image}, and the log of the gateway has a line for it"
