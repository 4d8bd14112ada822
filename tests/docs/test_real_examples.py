"""The examples of docs/clients.md at work: what is printed there is what runs here, with other addresses."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.docs.markdown import example, replaced
from tests.support.gateway import upstream
from tests.support.images import build_index
from tests.support.processes import free_port
from tests.support.reverse_proxies import nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.clients import Containerd, Docker, Skopeo
    from tests.support.gateway import Gateway
    from tests.support.registry import Registry
    from tests.support.tls import Authority

pytestmark = pytest.mark.real

CLIENTS = "docs/clients.md"
DOMAIN = "hub.example.com"


@pytest.fixture
def tls_port(tmp_path: Path, authority: Authority, registry: Registry, start_gateway: StartGateway) -> Iterator[int]:
    """nginx -> hubferry -> docker-registry, both with the configuration that the document prints."""
    port = free_port()
    gateway = start_gateway(
        replaced(
            example(CLIENTS, "toml hubferry", "trusted_proxies"),
            ("127.0.0.1:5000", "127.0.0.1:{port}"),
            (f"https://{DOMAIN}", f"https://localhost:{port}"),
        )
        + f'\n[upstreams."docker.io"]\nurl = "{registry.url}"\nallow_private_addresses = true\n'
    )
    certificate = authority.issue()
    site = replaced(
        example(CLIENTS, "nginx", "proxy_pass"),
        ("127.0.0.1:5000", gateway.host),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("    listen [::]:443 ssl;\n", ""),
        (f"{DOMAIN} ghcr.example.com", "localhost"),
        (f"/etc/ssl/{DOMAIN}/fullchain.pem", str(certificate.cert_file)),
        (f"/etc/ssl/{DOMAIN}/privkey.pem", str(certificate.key_file)),
    )
    with nginx(tmp_path, port, site):
        yield port


def test_skopeo_through_nginx(
    tmp_path: Path, tls_port: int, authority: Authority, registry: Registry, skopeo: Skopeo
) -> None:
    registry.push("library/behind-nginx", "1", build_index("behind nginx", layer_sizes=(3_000_000,)))
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    shutil.copy(authority.ca_file, certificates / "ca.crt")
    source = f"docker://localhost:{tls_port}/behind-nginx:1"
    skopeo.run("copy", "--quiet", "--all", "--src-cert-dir", certificates, source, f"dir:{tmp_path}/copy")


def test_docker_through_nginx(tls_port: int, registry: Registry, docker: Docker) -> None:
    index = build_index("docker behind nginx")
    registry.push("library/docker-behind-nginx", "1", index)
    # dockerd does not verify certificates of loopback addresses; the realm names localhost
    reference = f"localhost:{tls_port}/docker-behind-nginx:1"
    assert docker.pull(reference, platform="linux/amd64").digest == index.digest


@pytest.fixture
def plain(registry: Registry, start_gateway: StartGateway) -> Gateway:
    return start_gateway({"upstreams": {"only": True, "docker.io": upstream(registry.url)}})


def test_containerd_hosts_toml(tmp_path: Path, plain: Gateway, registry: Registry, containerd: Containerd) -> None:
    index = build_index("hosts.toml")
    registry.push("library/hosts-toml", "1", index)
    folder = tmp_path / "certs.d" / "_default"
    folder.mkdir(parents=True)
    # Debian's containerd is older than 2.2; the newer one's file is tried in tests/matrix/test_hosts_toml.py
    text = replaced(example(CLIENTS, "toml", '["pull", "resolve"]'), (f"https://{DOMAIN}", plain.url))
    (folder / "hosts.toml").write_text(text)
    pulled = containerd.pull("docker.io/library/hosts-toml:1", hosts_dir=folder.parent)
    assert pulled.digest == index.digest


def test_skopeo_registries_conf(tmp_path: Path, plain: Gateway, registry: Registry, skopeo: Skopeo) -> None:
    index = build_index("registries.conf")
    registry.push("library/registries-conf", "1", index)
    config = tmp_path / "registries.conf"
    text = replaced(example(CLIENTS, "toml", "[[registry.mirror]]"), (DOMAIN, plain.host))
    config.write_text(text.replace("[[registry.mirror]]", "[[registry.mirror]]\ninsecure = true"))
    target = tmp_path / "copy"
    source = "docker://docker.io/library/registries-conf:1"
    skopeo.run("--registries-conf", config, "copy", "--quiet", "--all", source, f"dir:{target}")
    assert (target / "manifest.json").read_bytes() == index.manifests[index.digest][1]
