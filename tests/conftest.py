"""Fixtures of the whole suite: real parts, the Docker Hub stand-in, and the gateway under test.

Daemons and registries are started once per run and on first use; each keeps its state in one folder that is
removed at the end. Nothing may be left then: no child process, no thread.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import pytest

from tests.support import preloaded
from tests.support.clients import CLIENTS, Containerd, Docker, Podman, Skopeo
from tests.support.gateway import Gateway
from tests.support.hub import Hub
from tests.support.registry import Registry
from tests.support.sink import Sink
from tests.support.tls import Authority
from tests.support.worker import Deployment, Runtime, Worker
from tests.support.workerd import Workerd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.clients import Client


class StartGateway(Protocol):
    """`start_gateway(config, **options)`: options as for Gateway.start; stopped, and checked, after the test."""

    def __call__(self, config: str | Mapping[str, Any], **options: Any) -> Gateway: ...


class Deploy(Protocol):
    """`deploy(config)`: the Worker with that configuration; checked after the test."""

    def __call__(self, config: Mapping[str, Any], **options: Any) -> Deployment: ...


SHELLS = ("worker",) if os.environ.get("HUBFERRY_WORKERD") else ("server", "worker")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that is marked `shells` runs against the server and against the Worker."""
    if metafunc.definition.get_closest_marker("shells"):
        metafunc.parametrize("shell", SHELLS, indirect=True)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left() -> Iterator[None]:
    """Set up before every other fixture and torn down after them."""
    threads = set(threading.enumerate())
    yield
    preloaded.close()
    left = [thread.name for thread in threading.enumerate() if thread not in threads]
    left = [name for name in left if name != "parsing_0"]  # one of a process, from its first large document to its end
    assert not left, f"threads left behind: {left}"
    children = psutil.Process().children(recursive=True)
    assert not children, f"processes left behind: {children}"


@pytest.fixture(scope="session")
def state_dir(_nothing_left: None) -> Iterator[Path]:
    """A folder for daemons, removed at the end.

    Its path is short: podman refuses a runroot of more than 50 characters, Unix sockets end at 108.
    """
    folder = Path(tempfile.mkdtemp(prefix="hubferry-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def authority(state_dir: Path) -> Authority:
    return Authority(state_dir / "tls")


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A strict Docker Hub stand-in: unexpected requests and unused scripts fail the test."""
    with Hub() as stand_in:
        yield stand_in


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture
def shell(request: pytest.FixtureRequest) -> str:
    """Which shell `start_gateway` starts: one of SHELLS."""
    return str(getattr(request, "param", "server"))


@pytest.fixture(scope="session")
def node(state_dir: Path) -> Iterator[Runtime]:
    """One Node for the Workers of the whole run, one after the other: starting one takes 2.5 s.

    With HUBFERRY_WORKERD (scripts/test-workerd) it is Cloudflare's real runtime.
    """
    if os.environ.get("HUBFERRY_WORKERD"):
        workerd = Workerd(state_dir / "workerd")
        yield workerd
        workerd.stop()
        return
    with Worker.start(state_dir / "node", {}) as running:
        yield running


@pytest.fixture
def deploy(node: Runtime) -> Iterator[Deploy]:
    """A Worker of its own for a test: another deployment in the place of the last one."""
    begun: list[Deployment] = []

    def end() -> None:
        if begun and not begun[-1].stopped:
            begun[-1].stop()

    def begin(config: Mapping[str, Any], **options: Any) -> Deployment:
        end()
        begun.append(node.deploy(config, **options))
        return begun[-1]

    yield begin
    end()


@pytest.fixture
def start_gateway(request: pytest.FixtureRequest, tmp_path: Path, shell: str) -> Iterator[StartGateway]:
    started: list[Gateway] = []

    def start(config: str | Mapping[str, Any], **options: Any) -> Gateway:
        if shell == "worker":
            deployed: Gateway = request.getfixturevalue("deploy")(config, **options)
            return deployed
        gateway = Gateway.start(tmp_path / f"gateway-{len(started)}", config, **options)
        started.append(gateway)
        return gateway

    yield start
    for gateway in reversed(started):
        if not gateway.stopped:
            gateway.stop()


@pytest.fixture(scope="session")
def registry(state_dir: Path) -> Iterator[Registry]:
    """One real docker-registry for the whole run: push under a repository name of your own."""
    with Registry(state_dir / "registry") as running:
        yield running


@pytest.fixture(scope="session")
def docker(state_dir: Path) -> Iterator[Docker]:
    """A dockerd without a mirror. Logins are kept: log out."""
    with Docker(state_dir / "docker") as running:
        yield running


@pytest.fixture(scope="session")
def containerd(state_dir: Path) -> Iterator[Containerd]:
    with Containerd(state_dir / "containerd") as running:
        yield running


@pytest.fixture(scope="session")
def podman(state_dir: Path) -> Podman:
    return Podman(state_dir / "podman")


@pytest.fixture(scope="session")
def skopeo(state_dir: Path) -> Skopeo:
    return Skopeo(state_dir / "skopeo")


@pytest.fixture(scope="session")
def clients(docker: Docker, containerd: Containerd, podman: Podman, skopeo: Skopeo) -> dict[str, Client]:
    """All of them, by the names of CLIENTS."""
    return dict(zip(CLIENTS, (docker, containerd, podman, skopeo), strict=True))
