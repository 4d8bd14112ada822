"""The complete configurations of docs/internet.md and docs/office.md: started as printed, and pulled through."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.markdown import page, replaced
from tests.support.clients import ClientError
from tests.support.gateway import HUBFERRY
from tests.support.http import fetch
from tests.support.images import build_image
from tests.support.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.clients import Containerd, Docker, Skopeo
    from tests.support.hub import Hub
    from tests.support.tls import Authority

pytestmark = pytest.mark.real

USER, PASSWORD = "alice", "correct horse"


def configuration(document: str, listen: str) -> str:
    """The whole configuration of a page: the one that listens there."""
    bodies = [fence.body for fence in page(document).fences if fence.info == "toml hubferry"]
    (whole,) = [body for body in bodies if f'listen = "{listen}"' in body]
    return whole


def of_stand_in(hub: Hub) -> dict[str, str]:
    """The environment that makes the stand-in Docker Hub."""
    name = "HUBFERRY_UPSTREAMS__DOCKER_IO"
    return {f"{name}__URL": hub.url, f"{name}__ALLOW_PRIVATE_ADDRESSES": "true"}


def run(config: Path, *arguments: str, stdin: str = "") -> str:
    command = [str(HUBFERRY), *arguments, "--config", str(config)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_on_the_internet(
    tmp_path: Path, hub: Hub, authority: Authority, start_gateway: StartGateway, skopeo: Skopeo
) -> None:
    image = build_image("internet")
    hub.add("library/internet", "1", image)
    own, port = authority.issue(), free_port()
    text = replaced(
        configuration("docs/internet.md", "[::]:443"),
        ("[::]:443", f"127.0.0.1:{port}"),
        ("https://hub.example.com", f"https://127.0.0.1:{port}"),
        ("/etc/hubferry/fullchain.pem", str(own.cert_file)),
        ("/etc/hubferry/privkey.pem", str(own.key_file)),
        ("/var/lib/hubferry", str(tmp_path)),
        ("/var/log/hubferry", str(tmp_path)),
    )
    config = tmp_path / "hubferry.toml"
    config.write_text(text)
    run(config, "user", "add", USER, "--password-stdin", stdin=PASSWORD + "\n")
    mirror = run(config, "token", "create", "--mirror", "build-7")
    assert mirror.startswith(f"https://127.0.0.1:{port}/hubferry_")
    checked = subprocess.run(
        [HUBFERRY, "config", "check", config], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    for sentence in (fence.body for fence in page("docs/internet.md").fences if ": fine" in fence.body):
        assert sentence.strip().splitlines()[2] in checked.splitlines()
    gateway = start_gateway(text, env=of_stand_in(hub), port=port, scheme="https", wait=False)
    gateway.process.wait_ready(lambda: bool(gateway.log_records()), what="its log")
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ca.crt").write_bytes(authority.ca_file.read_bytes())
    source = f"docker://127.0.0.1:{port}/library/internet:1"
    copy = ("copy", "--quiet", f"--src-cert-dir={tmp_path / 'certs'}")
    with pytest.raises(ClientError):
        skopeo.run(*copy, source, f"dir:{tmp_path / 'refused'}")
    skopeo.run(*copy, f"--src-creds={USER}:{PASSWORD}", source, f"dir:{tmp_path / 'copy'}")
    assert (tmp_path / "copy" / "manifest.json").read_bytes() == image.manifest
    gateway.stop()
    assert image.digest in (tmp_path / "audit.json").read_text()
    assert mirror.rpartition("_")[2] not in gateway.output()


def test_in_the_office(
    tmp_path: Path, hub: Hub, start_gateway: StartGateway, docker: Docker, containerd: Containerd
) -> None:
    image = build_image("office")
    hub.add("library/office", "1", image)
    text = replaced(
        configuration("docs/office.md", ":5000"),
        ('":5000"', '":{port}"'),
        ("/var/lib/hubferry", str(tmp_path / "data")),
    )
    gateway = start_gateway(text, env=of_stand_in(hub))
    assert docker.pull(f"{gateway.host}/library/office:1").digest == image.digest
    hosts: Any = [fence.body for fence in page("docs/office.md").fences if fence.body.startswith("[host.")]
    folder = tmp_path / "hosts" / "docker.io"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(replaced(hosts[0], ("http://hub.office.example:5000", gateway.url)))
    assert containerd.pull("docker.io/library/office:1", hosts_dir=tmp_path / "hosts").digest == image.digest
    assert os.path.exists(tmp_path / "data" / "blobs")  # noqa: PTH110
    assert fetch(f"{gateway.url}/v2/").status == 200
