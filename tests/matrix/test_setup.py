"""`hubferry setup` writes files with which real daemons pull through the gateway, and ask nobody else.

Each client begins with a configuration of its own, which is kept. Not here: what becomes of texts (tests/core,
tests/setup), what the command prints (tests/cli).
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.matrix.conftest import serving
from tests.matrix.rows import TAG
from tests.support.clients import Podman
from tests.support.dockerd import Dockerd
from tests.support.gateway import HUBFERRY, Gateway, upstream
from tests.support.shell import settled_log
from tests.support.todays_clients import BuildKit, Cri

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.matrix.conftest import Market
    from tests.matrix.rows import Goods
    from tests.support.switched_upstream import SwitchedUpstream

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def gateway(state_dir: Path, switched: SwitchedUpstream) -> Iterator[Gateway]:
    """A gateway with the same content as Docker Hub and as ghcr.io."""
    config = serving(switched, dir=str(state_dir / "setup-data"))
    config["upstreams"]["ghcr.io"] = upstream(switched.url)
    with Gateway.start(state_dir / "setup-gateway", config) as running:
        yield running


@pytest.fixture(scope="module")
def goods(market: Market) -> Goods:
    return market.publish("setup")


def write(state: Path, name: str, text: str) -> Path:
    path = state / "etc" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def set_up(market: Market, client: str, gateway: Gateway, state: Path, *options: str) -> None:
    """Run the command on the root folder `state`, which has an /etc of an enclosure."""
    market.enclosure.write_etc(state, {})
    market.enclosure.forget()
    command: list[str | Path] = [
        HUBFERRY,
        "setup",
        client,
        "--gateway",
        gateway.url,
        "--rootfs",
        state,
        "--yes",
        *options,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def asked(gateway: Gateway, registry: str, goods: Goods) -> int:
    """How many manifests the gateway was asked for, of the goods in a registry."""
    records = settled_log(gateway)
    return len(
        [
            line
            for line in records
            if line.get("repository") == f"library/{goods.name}"
            and line.get("upstream") == registry
            and "/manifests/" in line["path"]
        ]
    )


def reference(registry: str, goods: Goods) -> str:
    return f"{registry}/library/{goods.name}:{TAG}"


def test_docker_29(market: Market, gateway: Gateway, goods: Goods, new_state: Path) -> None:
    market.enclosure.write_etc(new_state, {})
    config = write(new_state, "docker/daemon.json", '{"features": {"containerd-snapshotter": true}}\n')
    set_up(market, "docker", gateway, new_state, "--client-version", "29.1")
    assert json.loads(config.read_text())["features"] == {"containerd-snapshotter": True}
    with Dockerd(new_state, market.enclosure, configured=True) as dockerd:
        for registry in ("docker.io", "ghcr.io"):
            before = asked(gateway, registry, goods)
            assert dockerd.pull(reference(registry, goods)).digest == goods.image.index.digest
            assert asked(gateway, registry, goods) > before
    assert market.enclosure.escaped == []


def test_docker_20(market: Market, gateway: Gateway, goods: Goods, new_state: Path) -> None:
    market.enclosure.write_etc(new_state, {})
    set_up(market, "docker", gateway, new_state)
    before = asked(gateway, "docker.io", goods)
    with Dockerd(new_state, market.enclosure, store="debian", configured=True) as dockerd:
        assert dockerd.pull(reference("docker.io", goods)).digest == goods.image.index.digest
    assert asked(gateway, "docker.io", goods) > before
    assert market.enclosure.escaped == []


# what `containerd config default` writes, and containerd 2.4 itself does not understand
TWO_FOLDERS = """
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'
"""


@pytest.mark.parametrize(
    ("version", "begin", "end"),
    [("2.4", "version = 3\n", ""), ("2.4", "version = 3\n", TWO_FOLDERS), ("1.6", "version = 2\n", "# the end")],
    ids=["2.4", "2.4 with two folders", "1.6"],
)
def test_containerd(
    version: str, begin: str, end: str, *, market: Market, gateway: Gateway, goods: Goods, new_state: Path
) -> None:
    market.enclosure.write_etc(new_state, {})
    write(new_state, "containerd/config.toml", f"{begin}{Cri.daemon_config(new_state)}{end}")
    set_up(market, "containerd", gateway, new_state, "--client-version", version)
    with Cri(new_state, market.enclosure, configured=True, debian=version == "1.6") as cri:
        for registry in ("docker.io", "ghcr.io"):
            before = asked(gateway, registry, goods)
            assert cri.pull(reference(registry, goods)).digest == goods.image.index.digest
            assert asked(gateway, registry, goods) > before
    assert market.enclosure.escaped == []


def test_podman(market: Market, gateway: Gateway, goods: Goods, new_state: Path) -> None:
    """docker.io is described in the machine's own file already, ghcr.io is not."""
    market.enclosure.write_etc(new_state, {})
    write(new_state, "containers/registries.conf", '[[registry]]\nlocation = "docker.io"\n')
    set_up(market, "podman", gateway, new_state)
    podman = Podman(new_state, enclosure=market.enclosure)
    (new_state / ".config" / "containers" / "registries.conf").unlink()
    for registry in ("docker.io", "ghcr.io"):
        before = asked(gateway, registry, goods)
        podman.run("pull", "--quiet", reference(registry, goods))
        found = json.loads(podman.run("image", "inspect", reference(registry, goods)))[0]
        assert found["Digest"] == goods.image.index.digest
        assert asked(gateway, registry, goods) > before
    assert market.enclosure.escaped == []


def test_buildkit(market: Market, gateway: Gateway, goods: Goods, new_state: Path) -> None:
    root = new_state.with_name(f"{new_state.name}r")
    market.enclosure.write_etc(root, {})
    set_up(market, "buildkit", gateway, root)
    config = (root / "etc" / "buildkit" / "buildkitd.toml").read_text()
    before = asked(gateway, "ghcr.io", goods)
    with BuildKit(new_state, market.enclosure, config=config) as buildkit:
        assert buildkit.pull(reference("ghcr.io", goods)).digest == goods.image.index.digest
    assert asked(gateway, "ghcr.io", goods) > before
    assert market.enclosure.escaped == []
