"""Whether real daemons of this machine ask the gateway: `hubferry doctor --gateway` beside each of them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from hubferry.core.client_mirrors import Wanted
from hubferry.doctor.clients import check_containerd, check_docker, check_docker_pull, check_podman, examine_clients
from tests.doctor.command import Report, examine
from tests.support.built_clients import find_built
from tests.support.clients import Docker
from tests.support.dockerd import Dockerd
from tests.support.enclosure import Enclosure
from tests.support.gateway import upstream
from tests.support.processes import find_program
from tests.support.users import UserBook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.gateway import Gateway
    from tests.support.hub import Hub
    from tests.support.tls import Authority

pytestmark = pytest.mark.real


@pytest.fixture
def gateway(filled: Hub, start_gateway: StartGateway) -> Gateway:
    table = upstream(filled.url, default=True, library=True)
    return start_gateway({"upstreams": {"only": True, "docker.io": table}})


@pytest.fixture
def enclosure(authority: Authority) -> Iterator[Enclosure]:
    with Enclosure(authority) as made:
        yield made


def beside(gateway: Gateway, socket: Path, tmp_path: Path, *options: str) -> Report:
    """The command with this dockerd as the only client of the machine."""
    home = {"DOCKER_HOST": f"unix://{socket}", "HOME": str(tmp_path), "PATH": str(tmp_path)}
    return examine("--gateway", gateway.url, *options, env=home)


def test_debians_docker_with_the_gateway_as_mirror(
    gateway: Gateway, filled: Hub, start_gateway: StartGateway, state_dir: Path, tmp_path: Path
) -> None:
    """Then the gateway gets users, which dockerd does not notice: it would go past it (getnora-io/nora#578)."""
    state = state_dir / "doctor-docker"
    with Docker(state, mirror=gateway.url) as docker:
        report = beside(gateway, state / "docker.sock", tmp_path, "--pull")
        assert report.bad() == []
        assert report.mark("docker") == "ok"
        assert "it asks a gateway" in report.text("docker pull")
        assert docker.run("images", "--quiet") == ""
        assert filled.count(path="hubferry/doctor") == 0
        gateway.stop()
        book = UserBook(tmp_path)
        book.add("me", "geheim")
        table = upstream(filled.url, default=True, library=True)
        config = {"upstreams": {"only": True, "docker.io": table}, "access": book.access}
        guarded = start_gateway(config, port=gateway.port)
        report = beside(guarded, state / "docker.sock", tmp_path, "--pull")
        assert report.bad() == ["pull", "docker", "docker pull"]
        assert "cannot log in to a mirror" in report.text("docker")


def test_a_docker_whose_mirror_is_another(gateway: Gateway, docker: Docker, state_dir: Path, tmp_path: Path) -> None:
    """The session's dockerd has no mirror: it goes past the gateway, and only a pull shows that for certain."""
    report = beside(gateway, state_dir / "docker" / "docker.sock", tmp_path, "--pull")
    assert report.bad() == ["docker", "docker pull"]
    assert f"hubferry setup docker --gateway {gateway.url}" in report.text("docker")
    assert "could not pull what only a gateway has" in report.text("docker pull")
    assert docker.run("images", "--quiet", "hubferry/doctor") == ""


@pytest.mark.parametrize("store", ["containerd", "classic"])
def test_docker_29(gateway: Gateway, enclosure: Enclosure, state_dir: Path, tmp_path: Path, store: str) -> None:
    """hosts.toml is read by the containerd store, and by the classic one it is not."""
    state = state_dir / f"doctor-{store}"
    hosts = {"docker.io": f'[host."{gateway.url}"]\n  capabilities = ["pull", "resolve", "referrers"]\n'}
    with Dockerd(state, enclosure, store="containerd" if store == "containerd" else "classic", hosts_toml=hosts):
        wanted = Wanted(gateway.url, "docker.io")
        environ = {"DOCKER_HOST": f"unix://{state}/docker.sock", "PATH": str(tmp_path)}
        found = check_docker(wanted, environ, state)
        pulled = check_docker_pull(wanted, environ)
    assert found is not None
    assert pulled is not None
    assert (found.mark, pulled.mark) == (("ok", "ok") if store == "containerd" else ("failed", "failed")), pulled


def test_a_docker_that_is_not_there(gateway: Gateway, tmp_path: Path) -> None:
    report = beside(gateway, tmp_path / "nobody.sock", tmp_path, "--pull")
    assert report.bad() == []
    assert report.mark("docker pull") == "skipped"


def test_a_gateway_that_does_not_give_its_own_image(filled: Hub, start_gateway: StartGateway, tmp_path: Path) -> None:
    table = upstream(filled.url, default=True, library=True)
    access = {"allow": ["docker.io/library/**"]}
    gateway = start_gateway({"upstreams": {"only": True, "docker.io": table}, "access": access})
    report = beside(gateway, tmp_path / "nobody.sock", tmp_path, "--pull")
    assert report.bad() == []
    assert "does not give hubferry/doctor" in report.text("docker pull")


def test_a_mirror_that_the_running_docker_does_not_know(docker: Docker, state_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "etc/docker/daemon.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"registry-mirrors": ["https://hub.test"]}')
    environ = {"DOCKER_HOST": f"unix://{state_dir}/docker/docker.sock", "PATH": str(tmp_path), "HOME": str(tmp_path)}
    found = check_docker(Wanted("https://hub.test", "docker.io"), environ, tmp_path)
    assert found is not None
    assert (found.mark, found.remedy) == ("failed", "restart it: systemctl restart docker")


def test_sockets_that_are_none(tmp_path: Path) -> None:
    wanted = Wanted("https://hub.test", "docker.io")
    (tmp_path / "file").touch()
    for host, words in ((f"unix://{tmp_path}/file", "does not answer"), ("tcp://hub.test:2375", "another machine")):
        found = check_docker(wanted, {"DOCKER_HOST": host, "PATH": str(tmp_path)}, tmp_path)
        assert found is not None
        assert found.mark == "skipped"
        assert words in found.text


CONTAINERD = {
    "debian": 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{}"\n',
    "built": "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = \"{}\"\n",
}


@pytest.mark.parametrize("kind", CONTAINERD)
def test_containerd(tmp_path: Path, kind: str) -> None:
    program = find_program("containerd") if kind == "debian" else str(find_built("containerd"))
    bin_folder, etc = tmp_path / "bin", tmp_path / "etc/containerd"
    bin_folder.mkdir()
    (bin_folder / "containerd").symlink_to(program)
    (etc / "certs.d/_default").mkdir(parents=True)
    (etc / "certs.d/_default/hosts.toml").write_text('[host."https://hub.test"]\n')
    environ = {"PATH": str(bin_folder)}
    wanted = Wanted("https://hub.test", "docker.io")
    marks = []
    for path in ("/etc/containerd/certs.d", ""):
        (etc / "config.toml").write_text(CONTAINERD[kind].format(path))
        found = check_containerd(wanted, environ, tmp_path)
        assert found is not None
        marks.append(found.mark)
    assert marks == ["ok", "failed"]


def test_podman(tmp_path: Path) -> None:
    find_program("podman")
    wanted = Wanted("https://hub.test", "docker.io")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    folder = tmp_path / "etc/containers"
    (folder / "registries.conf.d").mkdir(parents=True)
    found = check_podman(wanted, environ, tmp_path)
    assert found is not None
    assert found.mark == "warning"
    text = '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "hub.test/docker.io"\n'
    (folder / "registries.conf.d/hub.conf").write_text(text)
    found = check_podman(wanted, environ, tmp_path)
    assert found is not None
    assert found.mark == "ok"


def test_nobody_is_here(tmp_path: Path) -> None:
    async def findings() -> list[str]:
        environ = {"PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
        wanted = Wanted("https://hub.test", "docker.io")
        return [one.mark async for one in examine_clients(wanted, environ, tmp_path)]

    assert asyncio.run(findings()) == ["skipped"]
