"""The link to the upstream is cut every 2 MB: docker and containerd pull through the gateway and notice nothing.

The upstream is a real docker-registry. What the clients have afterwards is exported from their stores and hashed.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import answers_since
from tests.support.clients import Containerd, Docker
from tests.support.content import digest_of
from tests.support.gateway import Gateway, upstream
from tests.support.images import Image, build_image
from tests.support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.registry import Registry

pytestmark = pytest.mark.real

EVERY = 2_000_000
SEED = 5
REPOSITORY = "cut/link"
LAYERS = (12_000_000, 6_000_000, 4_000_000, 1_000_000, 5_000)


@pytest.fixture(scope="module")
def image(registry: Registry) -> Image:
    image = build_image("cut-link", layer_sizes=LAYERS)
    registry.push(REPOSITORY, "1", image)
    return image


@pytest.fixture(params=["fin", "rst", f"random places, seed {SEED}"])
def relay(request: pytest.FixtureRequest, registry: Registry) -> Iterator[Relay]:
    with Relay(registry.port, rtt_s=0.02, bytes_per_s=16_000_000) as running:
        if request.param in ("fin", "rst"):
            running.cut_after(EVERY, request.param)
        else:
            running.cut_at_random(SEED, 100_000, EVERY)
        yield running


@pytest.fixture
def gateway(relay: Relay, start_gateway: StartGateway) -> Gateway:
    return start_gateway({"upstreams": {"only": True, "registry.test": upstream(relay.url, default=True)}})


@pytest.fixture(params=["docker", "containerd"])
def client(request: pytest.FixtureRequest) -> Docker | Containerd:
    found: Docker | Containerd = request.getfixturevalue(request.param)
    return found


def digests_in(archive: Path) -> set[str]:
    """Of every file in a tar."""
    with tarfile.open(archive) as tar:
        return {digest_of(file.read()) for member in tar if member.isfile() and (file := tar.extractfile(member))}


def check_content(client: Docker | Containerd, reference: str, image: Image, folder: Path) -> None:
    """What the client kept: docker has layers unpacked, containerd as they came."""
    archive = folder / "image.tar"
    if isinstance(client, Docker):
        client.run("save", "--output", str(archive), reference)
        expected = {image.config.digest, *image.diff_ids}
    else:
        client.run("images", "export", "--platform", "linux/amd64", archive, reference)
        expected = {image.digest, *image.blobs}
    assert expected <= digests_in(archive)


def test_a_pull_goes_on_where_the_link_was_cut(
    image: Image, relay: Relay, gateway: Gateway, client: Docker | Containerd, tmp_path: Path
) -> None:
    reference = f"{gateway.host}/{REPOSITORY}:1"
    pulled = client.pull(reference)
    try:
        assert (pulled.digest, pulled.diff_ids) == (image.digest, image.diff_ids)
        check_content(client, reference, image, tmp_path)
    finally:
        client.remove(reference)
    answers = answers_since(gateway, 0, REPOSITORY, image.blobs)
    asked = Counter(answer["reference"] for answer in answers if answer["method"] == "GET")
    assert {digest: asked[digest] for digest in image.blobs} == dict.fromkeys(image.blobs, 1), "no client had to retry"
    assert relay.cuts > 3
    size = sum(blob.size for blob in image.blobs.values())
    assert size < relay.down < 1.2 * size, "it goes on and does not begin again"
