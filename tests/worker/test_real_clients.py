"""Real clients pull through the Worker, from the stand-in hub and from the real docker-registry."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.clients import CLIENTS, ClientError
from tests.support.gateway import upstream
from tests.support.images import DOCKER, OCI, build_index
from tests.support.registry_client import RegistryClient
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import Deploy
    from tests.support.clients import Docker, Pulled, Skopeo
    from tests.support.hub import Hub
    from tests.support.images import Index
    from tests.support.registry import Registry
    from tests.support.worker import Deployment

pytestmark = [pytest.mark.real, pytest.mark.worker_alone]


@pytest.fixture
def worker(hub: Hub, registry: Registry, deploy: Deploy) -> Deployment:
    """docker.io is the stand-in, registry.test the real registry."""
    docker = upstream(hub.url, default=True, library=True)
    return deploy({"upstreams": {"only": True, "docker.io": docker, "registry.test": upstream(registry.url)}})


def check(pulled: Pulled, index: Index) -> None:
    assert pulled.digest == index.digest
    assert (pulled.architecture, pulled.diff_ids) == ("amd64", index.image("amd64").diff_ids)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_pulls_from_both(
    request: pytest.FixtureRequest, hub: Hub, registry: Registry, worker: Deployment, name: str
) -> None:
    client = request.getfixturevalue(name)
    of_hub = build_index(f"worker-hub-{name}", flavour=OCI)
    hub.add(f"library/worker-{name}", "1", of_hub)
    check(client.pull(f"{worker.host}/worker-{name}:1", platform="linux/amd64"), of_hub)
    layers = [layer.digest.removeprefix("sha256:") for layer in of_hub.image("amd64").layers]
    assert [hub.count("cdn", path=f"/{layer}/data") for layer in layers] == [1, 1]
    of_registry = build_index(f"worker-registry-{name}", flavour=DOCKER)
    registry.push(f"worker/{name}", "1", of_registry)
    check(client.pull(f"{worker.host}/registry.test/worker/{name}:1", platform="linux/amd64"), of_registry)


def wait_until_kept(hub: Hub, worker: Deployment, index: Index) -> None:
    """A copy is hashed after its answer, and nobody waits for that."""
    client = RegistryClient(worker.url)
    image = index.image("amd64")

    def is_kept(digest: str) -> bool:
        seen = hub.count("cdn")
        client.blob("worker-twice", digest)
        return hub.count("cdn") == seen

    for digest in (image.config.digest, *(layer.digest for layer in image.layers)):
        wait_until(partial(is_kept, digest), f"{digest} kept")


def test_what_one_client_pulled_the_cache_has_for_another(
    hub: Hub, worker: Deployment, skopeo: Skopeo, docker: Docker
) -> None:
    index = build_index("worker-twice")
    hub.add("library/worker-twice", "1", index)
    reference = f"{worker.host}/worker-twice:1"
    check(skopeo.pull(reference), index)
    wait_until_kept(hub, worker, index)
    seen = hub.count()
    check(docker.pull(reference), index)
    assert hub.count() == seen
    docker.remove(reference)


def test_docker_login_makes_a_private_image_pullable(hub: Hub, worker: Deployment, docker: Docker) -> None:
    hub.state.users["alice"] = "wonder land/7"
    index = build_index("worker-private")
    hub.add("alice/worker", "1", index, readers={"alice"})
    reference = f"{worker.host}/alice/worker:1"
    with pytest.raises(ClientError, match=r"denied|unauthorized"):
        docker.pull(reference)
    with pytest.raises(ClientError, match=r"(?i)unauthorized|incorrect"):
        docker.login(worker.host, "alice", "guess")
    docker.login(worker.host, "alice", "wonder land/7")
    try:
        check(docker.pull(reference), index)
    finally:
        docker.logout(worker.host)
    assert "wonder land/7" not in worker.output()
