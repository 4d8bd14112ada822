"""`hubferry export`: the same file as the server's, from the same cache; stopped and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.fakes import basic
from tests.support import faults
from tests.support.content import MIB
from tests.support.gateway import HUBFERRY, upstream
from tests.support.http import fetch
from tests.support.images import build_index
from tests.support.processes import Process
from tests.support.toml import format_toml
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.hub import Hub

INDEX = build_index("exported", layer_sizes=(3 * MIB, 20_000))


@dataclass
class Desk:
    """A hub with an image, and a configuration for the command: no server runs."""

    hub: Hub
    folder: Path
    settings: dict[str, Any]

    def command(self, *arguments: str | Path) -> list[str | Path]:
        config = self.folder / "hubferry.toml"
        config.write_text(format_toml(self.settings))
        return [HUBFERRY, "export", *arguments, "--config", config]

    def run(self, *arguments: str | Path, status: int = 0) -> tuple[bytes, str]:
        """What it says on standard output, and beside it."""
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            self.command(*arguments), capture_output=True, cwd=self.folder, env=environment, timeout=60, check=False
        )
        assert done.returncode == status, f"{done.stdout!r} {done.stderr!r}"
        return done.stdout, done.stderr.decode()


@pytest.fixture
def desk(hub: Hub, tmp_path: Path) -> Desk:
    hub.add("library/exported", "1", INDEX)
    settings = {
        "upstreams": {"only": True, "docker.io": upstream(hub.url, default=True, library=True)},
        "cache": {"dir": str(tmp_path / "data")},
    }
    return Desk(hub, tmp_path, settings)


def test_it_is_the_file_that_the_server_gives(desk: Desk, start_gateway: StartGateway) -> None:
    file = desk.folder / "images.tar"
    printed, _ = desk.run("exported:1", "-o", file, "--platform", "linux/amd64", "--json")
    document = json.loads(printed)
    assert document["images"] == [{"image": "docker.io/library/exported:1", "digest": INDEX.digest}]
    assert document["bytes"] == file.stat().st_size
    layers = [layer.digest[7:] for layer in INDEX.image("amd64").layers]
    out, aside = desk.run(f"exported:1@{INDEX.digest}", "--platform", "linux/amd64", "-o", "-")
    assert out == file.read_bytes()
    assert "exported_1_linux-amd64.tar" in aside
    assert [desk.hub.count("cdn", path=layer) for layer in layers] == [1, 1]  # they were kept
    gateway = start_gateway(desk.settings)
    given = fetch(f"{gateway.url}/download?image=docker.io/library/exported:1@{INDEX.digest}")
    assert given.body == file.read_bytes()


def test_what_was_stopped_is_continued(desk: Desk) -> None:
    layer = INDEX.image("amd64").layers[0]
    desk.hub.script(faults.stall(2 * MIB), role="cdn", method="GET", path=layer.digest[7:])
    file, part = desk.folder / "images.tar", desk.folder / "images.tar.part"
    command = desk.command("exported:1", "-o", file, "--platform", "linux/amd64")
    environment = {"PATH": os.environ["PATH"]}
    with Process(command, log=desk.folder / "log", env=environment, cwd=desk.folder) as running:
        wait_until(lambda: part.exists() and part.stat().st_size > MIB // 2, "some of it is there", seen=running.output)
        running.signal(signal.SIGINT)
        assert running.wait(20) == 128 + signal.SIGINT
        assert "the same command goes on" in running.output()
    desk.hub.clear()
    desk.hub.release_stalls()
    there = part.stat().st_size
    printed, _ = desk.run("exported:1", "-o", file, "--platform", "linux/amd64", "--json")
    assert json.loads(printed)["found_bytes"] == there
    whole, _ = desk.run("exported:1", "-o", "-", "--platform", "linux/amd64")
    assert file.read_bytes() == whole


def test_a_layer_that_cannot_be_had_leaves_the_part(desk: Desk) -> None:
    layer = INDEX.image("amd64").layers[1]
    held = desk.hub.state.repositories["library/exported"].blobs.pop(layer.digest)
    file = desk.folder / "images.tar"
    _, aside = desk.run("exported:1", "-o", file, "--platform", "linux/amd64", status=1)
    assert layer.digest in aside
    assert "the same command goes on from there" in aside
    assert not file.exists()
    desk.hub.state.repositories["library/exported"].blobs[layer.digest] = held
    printed, _ = desk.run("exported:1", "-o", file, "--platform", "linux/amd64")
    assert b"of it were there" in printed
    assert b"docker load -i" in printed


def test_a_running_gateway_is_asked(desk: Desk, start_gateway: StartGateway) -> None:
    desk.hub.state.users["alice"] = "wonder"
    desk.hub.add("alice/app", "1", INDEX, readers={"alice"})
    gateway = start_gateway(desk.settings)
    file = desk.folder / "images.tar"
    where: list[str | Path] = ["alice/app:1", "-o", file, "--platform", "linux/arm64", "--gateway"]
    _, aside = desk.run(*where, gateway.url, status=1)
    assert "alice/app" in aside
    desk.run(*where, gateway.url.replace("//", "//alice:wonder@"))
    address = f"{gateway.url}/download?image=alice/app:1@{INDEX.digest}&platform=linux/arm64"
    assert file.read_bytes() == fetch(address, headers=[("Authorization", basic("alice", "wonder"))]).body
