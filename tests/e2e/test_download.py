"""A file from /download is loaded by every client, resumed by curl, and cut when a layer cannot be had."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.content import MIB, digest_of
from tests.support.dockerd import Dockerd
from tests.support.enclosure import Enclosure
from tests.support.gateway import Gateway, upstream
from tests.support.hub import Hub
from tests.support.images import DOCKER, Image, Index, build_image, build_index
from tests.support.processes import find_program
from tests.support.relay import Relay
from tests.support.shell import settled_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.clients import Containerd, Docker, Podman, Skopeo
    from tests.support.dockerd import Store
    from tests.support.tls import Authority

pytestmark = pytest.mark.real

CUT_OFF = 18  # curl: the connection was closed with bytes remaining
REFUSED = 22  # curl --fail: a status of 400 or more


def config_of(hub: Hub, **tables: Any) -> dict[str, Any]:
    return {"upstreams": {"only": True, "docker.io": upstream(hub.url, default=True, library=True)}, **tables}


def curl(*arguments: str | Path, status: int = 0) -> str:
    """`curl`; returns what it printed."""
    command = [find_program("curl"), "--silent", "--location", "--fail", "--noproxy", "*", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, f"{done.returncode}: {done.stdout} {done.stderr}"
    return done.stdout


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@dataclass(frozen=True)
class Loadable:
    """A file with an index for amd64 and an image, and what they were built from."""

    file: Path
    index: Index
    app: Image

    @property
    def amd64(self) -> Image:
        return self.index.image("amd64")


@pytest.fixture(scope="module")
def loadable(state_dir: Path) -> Iterator[Loadable]:
    """The file, downloaded while nothing of it was kept."""
    index, app = build_index("file"), build_image("app", flavour=DOCKER)
    file = state_dir / "images.tar"
    with Hub() as hub:
        hub.add("library/file", "1", index)
        hub.add("team/app", "2", app)
        with Gateway.start(state_dir / "download", config_of(hub)) as gateway:
            curl(f"{gateway.url}/download?image=file:1&image=team/app:2", "--output", file)
    yield Loadable(file, index, app)
    file.unlink()


def test_each_part_of_the_file_is_what_its_name_says(loadable: Loadable) -> None:
    images = (loadable.amd64, loadable.app)
    names = {
        loadable.index.digest,
        *(image.digest for image in images),
        *(name for one in images for name in one.blobs),
    }
    with tarfile.open(loadable.file) as opened:
        blobs = [one for one in opened.getmembers() if one.name.startswith("blobs/")]
        assert {one.name for one in blobs} == {"blobs/" + name.replace(":", "/") for name in names}
        for one in blobs:
            found = opened.extractfile(one)
            assert found is not None
            assert one.name == "blobs/" + digest_of(found.read()).replace(":", "/")


def test_docker_20_loads_it(loadable: Loadable, docker: Docker) -> None:
    docker.run("load", "--input", str(loadable.file))
    for name, image in (("file:1", loadable.amd64), ("team/app:2", loadable.app)):
        (found,) = json.loads(docker.run("image", "inspect", name))
        assert (found["Id"], found["RootFS"]["Layers"]) == (image.config.digest, list(image.diff_ids))
        docker.remove(name)


def test_podman_loads_it(loadable: Loadable, podman: Podman) -> None:
    podman.run("load", "--quiet", "--input", str(loadable.file))
    for name, image in (("docker.io/library/file:1", loadable.amd64), ("docker.io/team/app:2", loadable.app)):
        (found,) = json.loads(podman.run("image", "inspect", name))
        assert (found["Id"], found["RootFS"]["Layers"]) == (image.config.digest[7:], list(image.diff_ids))
        podman.remove(name)


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_skopeo_copies_from_it(loadable: Loadable, skopeo: Skopeo, tmp_path: Path, transport: str) -> None:
    named = [("library/file:1", loadable.amd64), ("team/app:2", loadable.app)]
    for name, image in named[:1] if transport == "oci-archive" else named:  # there it knows no types of Docker by name
        folder = tmp_path / image.digest
        skopeo.run("copy", "--quiet", f"{transport}:{loadable.file}:docker.io/{name}", f"dir:{folder}")
        manifest = (folder / "manifest.json").read_bytes()
        assert json.loads(manifest)["config"]["digest"] == image.config.digest
        assert (digest_of(manifest) == image.digest) == (transport == "oci-archive")


def test_containerd_imports_it(loadable: Loadable, containerd: Containerd) -> None:
    containerd.run("images", "import", loadable.file)
    for name, digest in (("library/file:1", loadable.index.digest), ("team/app:2", loadable.app.digest)):
        listed = containerd.run("images", "list", f"name==docker.io/{name}").splitlines()[1].split()
        assert listed[2] == digest
        containerd.remove(f"docker.io/{name}")


@pytest.mark.parametrize("store", ["classic", "containerd"])
def test_docker_29_loads_it(loadable: Loadable, state_dir: Path, authority: Authority, store: Store) -> None:
    with Enclosure(authority) as around, Dockerd(state_dir / f"load-{store}", around, store=store) as dockerd:
        dockerd.load(loadable.file)
        for name, root, image in (
            ("file:1", loadable.index, loadable.amd64),
            ("team/app:2", loadable.app, loadable.app),
        ):
            found = dockerd.inspect(name)
            assert found["Id"] == (image.config.digest if store == "classic" else root.digest)
            assert found["RootFS"]["Layers"] == list(image.diff_ids)


def test_an_interrupted_download_is_resumed_to_the_same_bytes(
    hub: Hub, start_gateway: StartGateway, tmp_path: Path
) -> None:
    image = build_image("resumed", layer_sizes=(3 * MIB, MIB))
    hub.add("library/resumed", "1", image)
    gateway = start_gateway(config_of(hub))
    named = f"{gateway.url}/download?image=resumed:1"
    address = curl("--head", "--output", "/dev/null", "--write-out", "%{url_effective}", named)
    assert image.digest in address
    with Relay(gateway.port, rtt_s=0, bytes_per_s=None) as relay:
        through = address.replace(gateway.host, relay.host)
        part, whole = tmp_path / "part.tar", tmp_path / "whole.tar"
        for size in (2 * MIB, MIB // 2):  # within a layer, the first time while it is not kept
            relay.cut_after(size)
            curl("--continue-at", "-", "--output", part, through, status=CUT_OFF)
        relay.heal()
        curl("--continue-at", "-", "--output", part, through)
    curl("--output", whole, f"{gateway.url}/download?image=resumed:1")
    assert sha256_of(part) == sha256_of(whole)


def test_a_layer_that_cannot_be_had_cuts_the_download(hub: Hub, start_gateway: StartGateway, tmp_path: Path) -> None:
    image = build_image("broken", layer_sizes=(MIB, 50_000))
    hub.add("library/broken", "1", image)
    del hub.state.repositories["library/broken"].blobs[image.layers[1].digest]
    gateway = start_gateway(config_of(hub))
    file = tmp_path / "broken.tar"
    curl("--output", file, f"{gateway.url}/download?image=broken:1", status=CUT_OFF)
    assert file.stat().st_size > image.layers[0].size
    last = [line for line in settled_log(gateway) if line.get("path") == "/download"][-1]
    assert (last["outcome"], image.layers[1].digest in last["problem"]) == ("cut", True)


def test_a_private_image_is_given_to_its_reader_only(hub: Hub, start_gateway: StartGateway, tmp_path: Path) -> None:
    hub.state.users["alice"] = "wonder"
    image = build_image("private")
    hub.add("alice/app", "1", image, readers={"alice"})
    gateway = start_gateway(config_of(hub))
    file = tmp_path / "private.tar"
    for address in ("alice/app:1", f"alice/app:1@{image.digest}"):
        curl("--output", file, f"{gateway.url}/download?image={address}", status=REFUSED)
        curl("--output", file, "--user", "alice:wonder", f"{gateway.url}/download?image={address}")
        assert file.read_bytes().startswith(b"oci-layout")
        file.unlink()
        curl("--output", file, f"{gateway.url}/download?image={address}", status=REFUSED)
        assert not file.exists()


def test_a_client_that_reads_slowly_holds_little_memory(hub: Hub, start_gateway: StartGateway) -> None:
    image = build_image("slow", layer_sizes=(30 * MIB,))
    hub.add("library/slow", "1", image)
    gateway = start_gateway(config_of(hub))
    address = f"{gateway.url}/download?image=slow:1"
    curl("--output", "/dev/null", address)
    before = gateway.rss_bytes()
    readers = [
        subprocess.Popen(
            [find_program("curl"), "-sL", "--noproxy", "*", "--limit-rate", "200K", "-o", "/dev/null", address]
        )
        for _ in range(8)
    ]
    try:
        curl("--output", "/dev/null", address)  # a whole one meanwhile
        assert gateway.rss_bytes() - before < 40 * MIB
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
