"""The gateway's own users and real clients: logged in, with an access token, with a secret in the mirror's URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import Lab, check_amd64
from tests.support.clients import ClientError, write_hosts_toml
from tests.support.gateway import Gateway, upstream
from tests.support.users import UserBook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.clients import Containerd, Docker, Podman, Skopeo
    from tests.support.images import Index

pytestmark = pytest.mark.real

USER = ("user-of-gateway", "correct horse")
IMAGE = "library/for-users:1"
# each client's words for 401, and for the 429 that comes after several wrong passwords
REFUSED = r"(?i)denied|unauthorized|authentication required|authorization failed|incorrect|401|log in|429|too many"


@dataclass(frozen=True)
class Stage:
    gateway: Gateway
    index: Index
    access_token: str
    mirror: str

    @property
    def reference(self) -> str:
        return f"{self.gateway.host}/{IMAGE}"

    @property
    def mirror_url(self) -> str:
        return f"{self.gateway.url}/{self.mirror}"


@pytest.fixture(scope="module")
def stage(lab: Lab, state_dir: Path) -> Iterator[Stage]:
    state = state_dir / "users"
    state.mkdir()
    book = UserBook(state)
    book.add(*USER)
    secrets = book.token(USER[0]), book.mirror("a-node")
    index = lab.publish_index("docker.io", *IMAGE.split(":"))
    search = {"search_url": f"{lab.stand_in.url}/v1/search"}
    config = {
        "access": book.access,
        "cache": {"dir": str(state / "data")},
        "upstreams": {"only": True, "docker.io": upstream(lab.stand_in.url, default=True, library=True, **search)},
    }
    with Gateway.start(state, config) as gateway:
        yield Stage(gateway, index, *secrets)


@pytest.fixture(params=["password", "access token"])
def user(request: pytest.FixtureRequest, stage: Stage) -> tuple[str, str]:
    return USER if request.param == "password" else (USER[0], stage.access_token)


def test_docker_login(stage: Stage, docker: Docker, user: tuple[str, str]) -> None:
    with pytest.raises(ClientError, match=REFUSED):
        docker.pull(stage.reference)
    with pytest.raises(ClientError, match=REFUSED):
        docker.login(stage.gateway.host, USER[0], "guess")
    assert "Login Succeeded" in docker.login(stage.gateway.host, *user)
    try:
        check_amd64(docker.pull(stage.reference), stage.index)
    finally:
        docker.logout(stage.gateway.host)
    docker.remove(stage.reference)
    with pytest.raises(ClientError, match=REFUSED):
        docker.pull(stage.reference)


def test_docker_searches_once_it_is_logged_in(stage: Stage, docker: Docker, user: tuple[str, str]) -> None:
    term = f"{stage.gateway.host}/for-us"
    with pytest.raises(ClientError, match=REFUSED):
        docker.search(term)
    docker.login(stage.gateway.host, *user)
    try:
        assert docker.search(term) == ["for-users"]
    finally:
        docker.logout(stage.gateway.host)


def test_podman_shows_no_login_when_it_searches(stage: Stage, podman: Podman) -> None:
    """What docs/clients.md says of it. It then asks for a catalogue of everything, which there is none of."""
    podman.login(stage.gateway.host, *USER)
    try:
        with pytest.raises(ClientError, match=r"(?i)couldn't search|404"):
            podman.search(f"{stage.gateway.host}/for-us")
    finally:
        podman.run("logout", stage.gateway.host)


def test_containerd_with_user(stage: Stage, containerd: Containerd, user: tuple[str, str]) -> None:
    for wrong in (None, (USER[0], "guess")):
        with pytest.raises(ClientError, match=REFUSED):
            containerd.pull(stage.reference, user=wrong)
    check_amd64(containerd.pull(stage.reference, user=user), stage.index)
    containerd.remove(stage.reference)


def test_podman_login(stage: Stage, podman: Podman, user: tuple[str, str]) -> None:
    with pytest.raises(ClientError, match=REFUSED):
        podman.pull(stage.reference)
    podman.login(stage.gateway.host, *user)
    try:
        check_amd64(podman.pull(stage.reference), stage.index)
    finally:
        podman.run("logout", stage.gateway.host)
    podman.remove(stage.reference)


def test_skopeo_with_credentials(stage: Stage, skopeo: Skopeo, user: tuple[str, str]) -> None:
    check_amd64(skopeo.pull(stage.reference, credentials=user), stage.index)
    for wrong in (None, (USER[0], "guess")):
        with pytest.raises(ClientError, match=REFUSED):
            skopeo.pull(stage.reference, credentials=wrong)


def test_a_mirror_with_a_secret_for_containerd(stage: Stage, containerd: Containerd, tmp_path: Path) -> None:
    hosts = write_hosts_toml(tmp_path, "docker.io", stage.mirror_url)
    check_amd64(containerd.pull("docker.io/library/for-users:1", hosts_dir=hosts), stage.index)
    containerd.remove("docker.io/library/for-users:1")
