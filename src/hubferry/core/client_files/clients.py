"""The plan for each client, and the files whose texts have to be known for it.

Pure. A plan is made from the texts as they were before anything of hubferry was in them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hubferry.core.client_files.containerd import CONTAINERD_SOURCES, plan_containerd
from hubferry.core.client_files.containers import CONTAINERS_SOURCES, plan_crio, plan_podman
from hubferry.core.client_files.docker import DOCKER_SOURCES, plan_docker
from hubferry.core.client_files.entries import Plan
from hubferry.core.client_files.others import REGISTRIES_YAML, plan_buildkit, plan_k3s
from hubferry.core.client_files.request import PlanRequest

_PLANS: Mapping[str, Callable[[PlanRequest], Plan]] = MappingProxyType(
    {
        "docker": plan_docker,
        "containerd": plan_containerd,
        "podman": plan_podman,
        "crio": plan_crio,
        "k3s": plan_k3s,
        "buildkit": plan_buildkit,
    }
)
CLIENTS = tuple(_PLANS)
# globs of the files that a plan depends on
SOURCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "docker": DOCKER_SOURCES,
        "containerd": CONTAINERD_SOURCES,
        "podman": CONTAINERS_SOURCES,
        "crio": CONTAINERS_SOURCES,
        "k3s": (REGISTRIES_YAML,),
        "buildkit": (),
    }
)
# how a client is made to read its files again; hosts.toml and the files of podman are read with each pull
RESTARTS: Mapping[str, str] = MappingProxyType(
    {
        "docker": "systemctl restart docker",
        "containerd": "systemctl restart containerd",
        "podman": "",
        "crio": "systemctl reload crio",
        "k3s": "systemctl restart k3s",
        "buildkit": "systemctl restart buildkit",
    }
)


def plan_client(client: str, request: PlanRequest) -> Plan:
    """Return the plan for one of CLIENTS.

    Raises ValueError for what the client cannot do, and CannotEditError for files that forbid it.
    """
    return _PLANS[client](request)
