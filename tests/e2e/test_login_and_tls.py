"""Clients with a gateway that asks nobody to log in, and with TLS on both sides of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.clients import ClientError, write_hosts_toml
from tests.support.gateway import upstream
from tests.support.hub import Hub
from tests.support.images import build_index
from tests.support.registry_client import RegistryClient

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.clients import Containerd, Docker, Podman, Skopeo
    from tests.support.tls import Authority

pytestmark = pytest.mark.real


@pytest.mark.parametrize("name", ["docker", "containerd", "podman", "skopeo"])
def test_open_login_needs_no_token(
    request: pytest.FixtureRequest, hub: Hub, start_gateway: StartGateway, name: str
) -> None:
    index = build_index(f"open-{name}")
    hub.add(f"library/open-{name}", "1", index)
    hub.add("alice/app", "1", build_index("open-private"), readers={"alice"})
    config = {
        "upstreams": {"only": True, "docker.io": upstream(hub.url, default=True, library=True)},
        "access": {"login": "open"},
    }
    gateway = start_gateway(config)
    client: Docker | Containerd | Podman | Skopeo = request.getfixturevalue(name)
    assert client.pull(f"{gateway.host}/library/open-{name}:1").digest == index.digest
    asked = [record for record in gateway.log_records() if record.get("path") == "/token"]
    assert not asked, "no client was sent for a token"
    with pytest.raises(ClientError):
        client.pull(f"{gateway.host}/alice/app:1")
    assert RegistryClient(gateway.url).manifest("alice/app", "1").status in (401, 403)


def test_tls_towards_clients_and_upstream(
    tmp_path: Path,
    authority: Authority,
    start_gateway: StartGateway,
    containerd: Containerd,
    skopeo: Skopeo,
) -> None:
    own = authority.issue()
    index = build_index("tls")
    with Hub(certificate=authority.issue()) as hub:
        hub.add("library/tls", "1", index)
        docker_hub = upstream(hub.url, default=True, library=True, ca_file=str(authority.ca_file))
        server = {"tls_cert": str(own.cert_file), "tls_key": str(own.key_file)}
        config = {"server": server, "upstreams": {"only": True, "docker.io": docker_hub}}
        gateway = start_gateway(config, scheme="https")
        reference = f"{gateway.host}/library/tls:1"
        # containerd speaks plain HTTP to loopback unless a hosts.toml says otherwise.
        hosts = write_hosts_toml(tmp_path, "docker.io", gateway.url, ca_file=authority.ca_file)
        assert containerd.pull("docker.io/library/tls:1", hosts_dir=hosts).digest == index.digest
        # skopeo takes authorities from a folder, as *.crt.
        (tmp_path / "certs").mkdir()
        (tmp_path / "certs" / "ca.crt").write_bytes(authority.ca_file.read_bytes())
        certs = f"--src-cert-dir={tmp_path / 'certs'}"
        skopeo.run("copy", "--all", "--quiet", certs, f"docker://{reference}", f"dir:{tmp_path / 'copy'}")
        assert (tmp_path / "copy" / "manifest.json").read_bytes() == index.manifest
        gateway.stop()


def test_a_certificate_that_is_not_trusted_stops_the_pull(
    authority: Authority, start_gateway: StartGateway, skopeo: Skopeo
) -> None:
    with Hub(certificate=authority.issue()) as hub:
        hub.add("library/tls", "1", build_index("tls"))
        docker_hub = upstream(hub.url, default=True, library=True)
        gateway = start_gateway({"upstreams": {"only": True, "docker.io": docker_hub}})
        with pytest.raises(ClientError):
            skopeo.pull(f"{gateway.host}/library/tls:1")
        assert hub.count() == 0, "nothing was asked of a server that nobody vouches for"
        assert sum(server.tls_failures for server in hub.servers) > 0
        gateway.stop()
