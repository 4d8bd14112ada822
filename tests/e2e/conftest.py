"""Two gateways in front of a real docker-registry and the Docker Hub stand-in, for every routing way.

Both know both upstreams: `hub` has docker.io as its default and the host name `localhost` for registry.test,
`other` the reverse. So for each upstream there is a gateway on which only the signal under test leads to it.
The same repository names hold different images on the two upstreams: a wrong turn shows as a wrong digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clients import Docker, Podman, Skopeo, write_hosts_toml
from tests.support.gateway import Gateway, upstream
from tests.support.hub import Hub
from tests.support.images import DOCKER, OCI, build_index
from tests.support.processes import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.support.clients import Pulled
    from tests.support.images import Image, Index
    from tests.support.registry import Registry

ALICE = ("alice", "wonder land/7")
BOB = ("bob", "builder")


@dataclass(frozen=True)
class Lab:
    """`sources` are the names of the upstreams; `gateways[source]` has that one as its default."""

    stand_in: Hub
    registry: Registry
    gateways: dict[str, Gateway]

    def other(self, source: str) -> Gateway:
        """The gateway whose default is not `source`."""
        return next(gateway for name, gateway in self.gateways.items() if name != source)

    def publish(self, source: str, repository: str, tag: str | None, image: Image | Index) -> str:
        if source == "docker.io":
            return self.stand_in.add(repository, tag, image)
        return self.registry.push(repository, tag, image)

    def publish_index(self, source: str, repository: str, tag: str) -> Index:
        """The image at `source`, and a different one of the same name at the other upstream."""
        indexes = {
            name: build_index(f"{name}/{repository}", flavour=OCI if name == "docker.io" else DOCKER)
            for name in self.gateways
        }
        for name, index in indexes.items():
            self.publish(name, repository, tag, index)
        return indexes[source]

    def reference(self, source: str, way: str, image: str) -> str:
        """How a client writes `image` of `source` for that routing way."""
        if way == "default":
            return f"127.0.0.1:{self.gateways[source].port}/{image}"
        if way == "host":
            return f"localhost:{self.other(source).port}/{image}"
        if way == "path":
            return f"127.0.0.1:{self.other(source).port}/{source}/{image}"
        assert way == "mirror"
        return f"{source}/{image}"


SOURCES = ("docker.io", "registry.test")


def check_amd64(pulled: Pulled, index: Index) -> None:
    """What was pulled for linux/amd64 is that of the index."""
    assert pulled.digest == index.digest
    assert (pulled.architecture, pulled.diff_ids) == ("amd64", index.image("amd64").diff_ids)


def answers_since(gateway: Gateway, lines: int, repository: str, references: Iterable[str]) -> list[dict[str, Any]]:
    """The answers of a repository that were logged after so many lines of the log; challenges are not.

    It waits for one to each of the references: a line is written after its answer has left.
    """
    expected, found = set(references), list[dict[str, Any]]()

    def are_all_there() -> bool:
        found[:] = [line for line in gateway.log_records()[lines:] if line.get("repository") == repository]
        return expected <= {line["reference"] for line in found}

    wait_until(are_all_there, "a line for each of the references", seen=lambda: found)
    return found


@pytest.fixture(scope="session")
def lab(state_dir: Path, registry: Registry) -> Iterator[Lab]:
    with Hub() as stand_in:
        stand_in.state.pull_limit = None
        stand_in.state.users.update([ALICE, BOB])
        ports = {name: free_port() for name in SOURCES}
        gateways = {name: _start(state_dir, stand_in, registry, name, port) for name, port in ports.items()}
        lab = Lab(stand_in, registry, gateways)
        yield lab
        for gateway in gateways.values():
            gateway.stop()


def _start(state_dir: Path, stand_in: Hub, registry: Registry, default: str, port: int) -> Gateway:
    hosts = {name: [] if name == default else [f"localhost:{port}"] for name in SOURCES}
    config = {
        "upstreams": {
            "only": True,
            "docker.io": upstream(
                stand_in.url,
                default=default == "docker.io",
                library=True,
                hosts=hosts["docker.io"],
                search_url=stand_in.url + "/v1/search",
            ),
            "registry.test": upstream(
                registry.url,
                default=default == "registry.test",
                hosts=hosts["registry.test"],
                search_url=stand_in.url + "/v1/search",
            ),
        }
    }
    return Gateway.start(state_dir / f"gateway-{default}", config, port=port)


@pytest.fixture(scope="session")
def hosts_dirs(lab: Lab, state_dir: Path) -> dict[str, Path]:
    """containerd's certs.d for each source: a `_default` that names the gateway with the other default."""
    return {
        source: write_hosts_toml(state_dir / f"certs.d-{source}", "_default", lab.other(source).url)
        for source in SOURCES
    }


@pytest.fixture(scope="session")
def _mirrors(lab: Lab) -> dict[str, str]:
    return {source: f"{lab.other(source).host}/{source}" for source in SOURCES}


@pytest.fixture(scope="session")
def mirrored_podman(_mirrors: dict[str, str], state_dir: Path) -> Podman:
    return Podman(state_dir / "podman-mirrored", mirrors=_mirrors)


@pytest.fixture(scope="session")
def mirrored_skopeo(_mirrors: dict[str, str], state_dir: Path) -> Skopeo:
    return Skopeo(state_dir / "skopeo-mirrored", mirrors=_mirrors)


@pytest.fixture(scope="session")
def mirrored_dockers(lab: Lab, state_dir: Path) -> Iterator[dict[str, Docker]]:
    """A dockerd for each source, whose registry-mirror is the gateway with that default."""
    dockers: dict[str, Docker] = {}
    try:
        for source, gateway in lab.gateways.items():
            dockers[source] = Docker(state_dir / f"docker-{source}", mirror=gateway.url)
        yield dockers
    finally:
        for running in dockers.values():
            running.stop()
