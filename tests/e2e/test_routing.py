"""Every client, every routing way that it supports, from both upstreams: the same digests as without hubferry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import SOURCES, Lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clients import Containerd, Docker, Podman, Pulled, Skopeo
    from tests.support.images import Index

pytestmark = [pytest.mark.real, pytest.mark.parametrize("source", SOURCES)]

DIRECT_WAYS = ("default", "host", "path")
PLATFORMS = {"docker.io": "linux/amd64", "registry.test": "linux/arm64"}


def check(pulled: Pulled, index: Index, source: str) -> None:
    architecture = PLATFORMS[source].removeprefix("linux/")
    assert pulled.digest == index.digest
    assert (pulled.architecture, pulled.diff_ids) == (architecture, index.image(architecture).diff_ids)


@pytest.mark.parametrize("way", DIRECT_WAYS)
def test_docker_with_the_gateway_in_the_reference(lab: Lab, docker: Docker, source: str, way: str) -> None:
    index = lab.publish_index(source, f"library/docker-{way}", "1")
    reference = lab.reference(source, way, f"library/docker-{way}:1")
    check(docker.pull(reference, platform=PLATFORMS[source]), index, source)


def test_docker_through_registry_mirrors(lab: Lab, mirrored_dockers: dict[str, Docker], source: str) -> None:
    index = lab.publish_index(source, "library/docker-mirror", "1")
    check(mirrored_dockers[source].pull("docker-mirror:1", platform=PLATFORMS[source]), index, source)


@pytest.mark.parametrize("way", DIRECT_WAYS)
def test_containerd_with_the_gateway_in_the_reference(lab: Lab, containerd: Containerd, source: str, way: str) -> None:
    index = lab.publish_index(source, f"library/containerd-{way}", "1")
    reference = lab.reference(source, way, f"library/containerd-{way}:1")
    check(containerd.pull(reference, platform=PLATFORMS[source]), index, source)


def test_containerd_through_default_hosts_toml_says_ns(
    lab: Lab, containerd: Containerd, hosts_dirs: dict[str, Path], source: str
) -> None:
    index = lab.publish_index(source, "library/containerd-ns", "1")
    reference = f"{source}/library/containerd-ns:1"
    pulled = containerd.pull(reference, hosts_dir=hosts_dirs[source], platform=PLATFORMS[source])
    check(pulled, index, source)


@pytest.mark.parametrize("way", DIRECT_WAYS)
def test_podman_with_the_gateway_in_the_reference(lab: Lab, podman: Podman, source: str, way: str) -> None:
    index = lab.publish_index(source, f"library/podman-{way}", "1")
    reference = lab.reference(source, way, f"library/podman-{way}:1")
    check(podman.pull(reference, platform=PLATFORMS[source]), index, source)


def test_podman_through_a_mirror_of_registries_conf(lab: Lab, mirrored_podman: Podman, source: str) -> None:
    index = lab.publish_index(source, "library/podman-mirror", "1")
    reference = lab.reference(source, "mirror", "library/podman-mirror:1")
    check(mirrored_podman.pull(reference, platform=PLATFORMS[source]), index, source)


@pytest.mark.parametrize("way", DIRECT_WAYS)
def test_skopeo_with_the_gateway_in_the_reference(lab: Lab, skopeo: Skopeo, source: str, way: str) -> None:
    index = lab.publish_index(source, f"library/skopeo-{way}", "1")
    reference = lab.reference(source, way, f"library/skopeo-{way}:1")
    check(skopeo.pull(reference, platform=PLATFORMS[source]), index, source)


def test_skopeo_through_a_mirror_of_registries_conf(lab: Lab, mirrored_skopeo: Skopeo, source: str) -> None:
    index = lab.publish_index(source, "library/skopeo-mirror", "1")
    reference = lab.reference(source, "mirror", "library/skopeo-mirror:1")
    check(mirrored_skopeo.pull(reference, platform=PLATFORMS[source]), index, source)
