"""`docker login` and its likes with an account of the upstream: private images for their readers, nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import ALICE, BOB, Lab
from tests.support.clients import ClientError
from tests.support.images import build_index
from tests.support.registry_client import basic

if TYPE_CHECKING:
    from tests.support.clients import Containerd, Docker, Podman, Skopeo
    from tests.support.images import Index

pytestmark = pytest.mark.real

IMAGE = "alice/app:1"
# Each client's words for 401 on a repository that the token does not cover.
REFUSED = r"(?i)denied|unauthorized|authentication required|authorization failed|401"


@pytest.fixture(scope="module")
def private(lab: Lab) -> Index:
    index = build_index("private")
    lab.stand_in.add("alice/app", "1", index, readers={"alice"})
    return index


@pytest.mark.parametrize("way", ["default", "host"])
def test_docker_login_makes_private_images_pullable(lab: Lab, docker: Docker, private: Index, way: str) -> None:
    reference = lab.reference("docker.io", way, IMAGE)
    gateway = reference.partition("/")[0]
    with pytest.raises(ClientError, match=REFUSED):
        docker.pull(reference)
    with pytest.raises(ClientError, match=r"(?i)unauthorized|incorrect"):
        docker.login(gateway, ALICE[0], "guess")
    assert "Login Succeeded" in docker.login(gateway, *ALICE)
    try:
        assert docker.pull(reference).digest == private.digest
    finally:
        docker.logout(gateway)
    docker.remove(reference)
    with pytest.raises(ClientError, match=REFUSED):
        docker.pull(reference)


def test_an_account_without_access_is_refused(lab: Lab, docker: Docker, private: Index) -> None:
    reference = lab.reference("docker.io", "default", IMAGE)
    gateway = reference.partition("/")[0]
    docker.login(gateway, *BOB)
    try:
        with pytest.raises(ClientError, match=REFUSED):
            docker.pull(reference)
    finally:
        docker.logout(gateway)


@pytest.mark.parametrize("way", ["default", "path"])
def test_containerd_with_user(lab: Lab, containerd: Containerd, private: Index, way: str) -> None:
    reference = lab.reference("docker.io", way, IMAGE)
    with pytest.raises(ClientError, match=REFUSED):
        containerd.pull(reference)
    with pytest.raises(ClientError, match=REFUSED):
        containerd.pull(reference, user=(ALICE[0], "guess"))
    assert containerd.pull(reference, user=ALICE).digest == private.digest


@pytest.mark.parametrize("way", ["default", "path"])
def test_podman_login(lab: Lab, podman: Podman, private: Index, way: str) -> None:
    reference = lab.reference("docker.io", way, IMAGE)
    # podman keeps logins per repository prefix: for a registry behind a path segment that is gateway/docker.io.
    registry = reference.removesuffix("/" + IMAGE)
    with pytest.raises(ClientError, match=REFUSED):
        podman.pull(reference)
    podman.login(registry, *ALICE)
    try:
        assert podman.pull(reference).digest == private.digest
    finally:
        podman.run("logout", registry)
    podman.remove(reference)
    with pytest.raises(ClientError, match=REFUSED):
        podman.pull(reference)


@pytest.mark.parametrize("way", ["default", "host", "path"])
def test_skopeo_with_credentials(lab: Lab, skopeo: Skopeo, private: Index, way: str) -> None:
    reference = lab.reference("docker.io", way, IMAGE)
    assert skopeo.pull(reference, credentials=ALICE).digest == private.digest
    for credentials in (None, BOB, (ALICE[0], "guess")):
        with pytest.raises(ClientError, match=REFUSED):
            skopeo.pull(reference, credentials=credentials)


def test_no_password_is_logged(lab: Lab, skopeo: Skopeo, private: Index) -> None:
    reference = lab.reference("docker.io", "default", IMAGE)
    skopeo.pull(reference, credentials=ALICE)
    output = lab.gateways["docker.io"].output()
    assert "alice/app" in output, "the request is logged"
    assert ALICE[1] not in output
    assert basic(*ALICE)[1].removeprefix("Basic ") not in output
