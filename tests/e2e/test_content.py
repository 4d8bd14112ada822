"""What images consist of: a 100 MiB layer, zero bytes, artifacts and their referrers, tags, search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import SOURCES, Lab
from tests.support.content import MIB, digest_of
from tests.support.images import build_artifact, build_image
from tests.support.registry_client import RegistryClient

if TYPE_CHECKING:
    from tests.support.clients import Docker, Podman, Skopeo
    from tests.support.images import Image

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def large(lab: Lab) -> Image:
    image = build_image("large", layer_sizes=(100 * MIB,))
    for source in SOURCES:
        lab.publish(source, "library/large", "1", image)
    return image


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("docker", "docker.io"),
        ("containerd", "registry.test"),
        ("podman", "registry.test"),
        ("skopeo", "docker.io"),
    ],
)
def test_a_100_mib_layer(request: pytest.FixtureRequest, lab: Lab, large: Image, name: str, source: str) -> None:
    pulled = request.getfixturevalue(name).pull(lab.reference(source, "default", "library/large:1"))
    assert (pulled.digest, pulled.diff_ids) == (large.digest, large.diff_ids)


@pytest.mark.parametrize("way", ["default", "host", "path"])
@pytest.mark.parametrize("name", ["docker", "containerd", "podman", "skopeo"])
def test_a_single_name_means_library_on_docker_hub(
    request: pytest.FixtureRequest, lab: Lab, name: str, way: str
) -> None:
    image = build_image(f"single-{name}-{way}")
    lab.stand_in.add(f"library/single-{name}-{way}", "1", image)
    pulled = request.getfixturevalue(name).pull(lab.reference("docker.io", way, f"single-{name}-{way}:1"))
    assert (pulled.digest, pulled.diff_ids) == (image.digest, image.diff_ids)


@pytest.mark.parametrize("source", SOURCES)
def test_an_artifact_with_a_zero_byte_blob(lab: Lab, skopeo: Skopeo, source: str) -> None:
    artifact = build_artifact(blobs=(b"", source.encode()))
    lab.publish(source, "library/artifact", "zero", artifact)
    folder = skopeo.copy(lab.reference(source, "path", "library/artifact:zero"))
    assert (folder / "manifest.json").read_bytes() == artifact.manifest
    copied = {digest_of(path.read_bytes()) for path in folder.iterdir()}
    assert {digest_of(b""), digest_of(source.encode())} <= copied


@pytest.mark.parametrize("source", SOURCES)
def test_a_whole_index_is_copied_unchanged(lab: Lab, skopeo: Skopeo, source: str) -> None:
    index = lab.publish_index(source, "library/whole", "1")
    reference = lab.reference(source, "host", "library/whole:1")
    folder = skopeo.copy(reference, all_images=True)
    assert (folder / "manifest.json").read_bytes() == index.manifest
    copied = {digest_of(path.read_bytes()) for path in folder.iterdir()}
    assert {*index.blobs, *index.manifests} <= copied
    assert skopeo.raw_manifest(reference) == index.manifest


def test_referrers_are_relayed_where_the_upstream_has_them(lab: Lab) -> None:
    image = build_image("subject")
    artifact = build_artifact(subject=image)
    for source in SOURCES:
        lab.publish(source, "library/subject", "1", image)
        lab.publish(source, "library/subject", "signature", artifact)
    path = f"/v2/library/subject/referrers/{image.digest}"
    found = RegistryClient(lab.gateways["docker.io"].url).get(path)
    assert found.status == 200
    assert found.header("Content-Type") == "application/vnd.oci.image.index.v1+json"
    assert [entry["digest"] for entry in found.json()["manifests"]] == [artifact.digest]
    # distribution 2.8.2 has no referrers API; clients then fall back to tags.
    assert RegistryClient(lab.gateways["registry.test"].url).get(path).status == 404


@pytest.mark.parametrize("source", SOURCES)
def test_tags_are_listed(lab: Lab, skopeo: Skopeo, source: str) -> None:
    for tag in ("b", "a", "c"):
        lab.publish(source, "library/tags", tag, build_image(f"tags-{source}"))
    assert skopeo.list_tags(lab.reference(source, "path", "library/tags")) == ["a", "b", "c"]


def test_search(lab: Lab, docker: Docker, podman: Podman) -> None:
    lab.publish("docker.io", "library/seashell", "1", build_image("seashell"))
    host = lab.gateways["docker.io"].host
    assert docker.search(f"{host}/seash") == ["seashell"]
    assert podman.search(f"{host}/seash") == [f"{host}/seashell"]
    assert docker.search(f"{host}/registry.test/seash") == ["registry.test/seashell"]
    assert podman.search(f"{host}/registry.test/seash") == [f"{host}/registry.test/seashell"]
