"""What the second of the two scripts got wrong, on both shells: each bug of it is a test here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.content import Blob
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.images import build_index
from tests.support.registry_client import ACCEPT_MANIFESTS, RegistryClient, parse_bearer

if TYPE_CHECKING:
    from tests.conftest import StartGateway
    from tests.support.hub import Hub

pytestmark = pytest.mark.shells

HOST = "hub.example.com:8443"  # a port of its own, as behind a router


@pytest.fixture
def gateway(hub: Hub, start_gateway: StartGateway) -> Gateway:
    docker = upstream(hub.url, default=True, library=True)
    return start_gateway({"upstreams": {"only": True, "docker.io": docker}})


def test_the_realm_keeps_port_and_scheme(gateway: Gateway) -> None:
    challenge = parse_bearer(fetch(gateway.url + "/v2/", host=HOST).header("WWW-Authenticate") or "")
    assert (challenge["realm"], challenge["service"]) == (f"http://{HOST}/token", HOST)


def test_the_realm_is_what_people_reach_it_by(hub: Hub, start_gateway: StartGateway) -> None:
    docker = upstream(hub.url, default=True, library=True)
    public = {"public_url": "https://hub.example.com:8443"}
    gateway = start_gateway({"server": public, "upstreams": {"only": True, "docker.io": docker}})
    challenge = parse_bearer(fetch(gateway.url + "/v2/").header("WWW-Authenticate") or "")
    assert challenge["realm"] == f"https://{HOST}/token"


def test_the_challenge_keeps_its_scope_and_a_401_is_json(gateway: Gateway) -> None:
    refused = fetch(gateway.url + "/v2/library/nginx/manifests/1", host=HOST)
    assert (refused.status, refused.header("Content-Type"), refused.error_code) == (
        401,
        "application/json",
        "UNAUTHORIZED",
    )
    assert parse_bearer(refused.header("WWW-Authenticate") or "")["scope"] == "repository:library/nginx:pull"


def test_head_stays_head(hub: Hub, gateway: Gateway) -> None:
    index = build_index("head")
    digest = hub.add("library/nginx", "1", index)
    layer = index.images[0].layers[0]
    client = RegistryClient(gateway.url, host=HOST)
    manifest = client.manifest("nginx", "1", method="HEAD")
    assert (manifest.status, manifest.body, manifest.header("Docker-Content-Digest")) == (200, b"", digest)
    assert manifest.header("Content-Length") == str(len(index.manifest))
    assert hub.count("hub", method="GET", path="/manifests/") == 0
    blob = client.get(f"/v2/nginx/blobs/{layer.digest}", method="HEAD")
    assert (blob.status, blob.body, blob.header("Content-Length")) == (200, b"", str(len(layer.data)))
    assert hub.count("cdn", method="GET") == 0


def test_a_range_survives_the_redirect_to_the_cdn(hub: Hub, gateway: Gateway) -> None:
    blob = Blob.generated(1_000_000, seed=3)
    hub.add_blob("library/nginx", blob)
    client = RegistryClient(gateway.url, host=HOST)
    answer = client.blob("nginx", blob.digest, [("Range", "bytes=400000-400099")])
    assert (answer.status, answer.body) == (206, blob.data[400_000:400_100])
    assert answer.header("Content-Range") == "bytes 400000-400099/1000000"
    rest = client.blob("nginx", blob.digest, [("Range", "bytes=999000-")])
    assert (rest.status, rest.body) == (206, blob.data[999_000:])


def test_a_list_of_what_is_accepted_arrives_whole(hub: Hub, gateway: Gateway) -> None:
    """docker and podman send Accept as several lines; wrappers of the runtime keep only one of them."""
    index = build_index("accept")
    digest = hub.add("library/nginx", "1", index)
    client = RegistryClient(gateway.url, host=HOST)
    name, value = ACCEPT_MANIFESTS
    lines = [(name, one.strip()) for one in value.split(",")]
    answer = client.get("/v2/nginx/manifests/1", lines)
    assert (answer.status, answer.header("Docker-Content-Digest")) == (200, digest)
