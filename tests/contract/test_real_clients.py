"""The harness itself: each real client pulls from the real registry and from the stand-in, without hubferry.

A client that cannot pull here is misused by clients.py, or the stand-in is no Docker Hub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.clients import CLIENTS, ClientError, Docker, Podman, Skopeo, write_hosts_toml
from tests.support.images import DOCKER, OCI, Flavour, build_index
from tests.support.registry import PASSWORD, USER, Registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clients import Containerd, Pulled
    from tests.support.hub import Hub
    from tests.support.images import Index

pytestmark = pytest.mark.real


def check(pulled: Pulled, index: Index, architecture: str) -> None:
    image = index.image(architecture)
    assert pulled.digest == index.digest
    assert (pulled.architecture, pulled.diff_ids) == (architecture, image.diff_ids)


@pytest.mark.parametrize(("architecture", "flavour"), [("amd64", OCI), ("arm64", DOCKER)])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_pulls_from_the_real_registry(
    request: pytest.FixtureRequest, registry: Registry, name: str, architecture: str, flavour: Flavour
) -> None:
    index = build_index(f"real-{name}-{architecture}", flavour=flavour)
    registry.push(f"direct/{name}", architecture, index)
    client = request.getfixturevalue(name)
    pulled = client.pull(f"{registry.host}/direct/{name}:{architecture}", platform=f"linux/{architecture}")
    check(pulled, index, architecture)


@pytest.mark.parametrize(("architecture", "flavour"), [("amd64", DOCKER), ("arm64", OCI)])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_pulls_from_the_stand_in(
    request: pytest.FixtureRequest, hub: Hub, name: str, architecture: str, flavour: Flavour
) -> None:
    index = build_index(f"hub-{name}-{architecture}", flavour=flavour)
    hub.add(f"direct/{name}", architecture, index)
    client = request.getfixturevalue(name)
    pulled = client.pull(f"{hub.host}/direct/{name}:{architecture}", platform=f"linux/{architecture}")
    check(pulled, index, architecture)
    layers = [layer.digest.removeprefix("sha256:") for layer in index.image(architecture).layers]
    assert [hub.count("cdn", path=f"/{layer}/data") for layer in layers] == [1, 1]


def test_docker_logs_in_to_the_stand_in_and_searches(docker: Docker, hub: Hub) -> None:
    hub.state.users["alice"] = "secret"
    index = build_index("hub-private")
    hub.add("alice/app", "1", index, readers={"alice"})
    hub.add("library/seashell", "1", index)
    reference = f"{hub.host}/alice/app:1"
    with pytest.raises(ClientError, match="pull access denied"):
        docker.pull(reference)
    with pytest.raises(ClientError, match="incorrect username or password"):
        docker.login(hub.host, "alice", "guess")
    docker.login(hub.host, "alice", "secret")
    try:
        check(docker.pull(reference), index, "amd64")
    finally:
        docker.logout(hub.host)
    assert docker.search(f"{hub.host}/seash") == ["seashell"]


def test_the_real_registry_asks_for_its_account(tmp_path: Path, skopeo: Skopeo) -> None:
    index = build_index("htpasswd")
    with Registry(tmp_path, auth=True) as registry:
        registry.push("team/app", "1", index)
        reference = f"{registry.host}/team/app:1"
        with pytest.raises(ClientError, match=r"unauthorized|authentication required"):
            skopeo.pull(reference)
        check(skopeo.pull(reference, credentials=(USER, PASSWORD)), index, "amd64")


def test_dockerd_asks_its_mirror(tmp_path: Path, hub: Hub) -> None:
    index = build_index("docker-mirror")
    hub.add("library/mirrored", "1", index)
    with Docker(tmp_path, mirror=hub.url) as docker:
        check(docker.pull("mirrored:1"), index, "amd64")
    assert hub.count("cdn") > 0


def test_containerd_names_the_registry_to_its_default_host(tmp_path: Path, containerd: Containerd, hub: Hub) -> None:
    index = build_index("containerd-mirror")
    hub.add("library/mirrored", "1", index)
    hosts = write_hosts_toml(tmp_path, "_default", hub.url)
    check(containerd.pull("registry.test/library/mirrored:1", hosts_dir=hosts), index, "amd64")
    asked = hub.find("hub", "HEAD", "/manifests/1")
    assert {exchange.request.first("ns") for exchange in asked} == {"registry.test"}


@pytest.mark.parametrize("client", [Podman, Skopeo])
def test_a_mirror_of_registries_conf(state_dir: Path, hub: Hub, client: type[Podman | Skopeo]) -> None:
    index = build_index("conf-mirror")
    hub.add("prefix/library/mirrored", "1", index)
    mirrored = client(state_dir / f"conf-{client.__name__}", mirrors={"registry.test": f"{hub.host}/prefix"})
    check(mirrored.pull("registry.test/library/mirrored:1"), index, "amd64")
