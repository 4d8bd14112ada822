"""Case tables of core.descriptors: what a manifest or index refers to."""

import json
from typing import Any

import pytest

from hubferry.core.descriptors import Contents, Descriptor, parse_contents
from hubferry.core.manifest import ManifestProblem
from hubferry.core.platforms import Platform

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
RESTRICTED = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
URLS = ["https://example.com/layer"]
AMD64 = {"os": "linux", "architecture": "amd64"}
ATTESTED = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": A}


def layer(digest: str, media_type: str = LAYER, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": 5, **more}


READ: dict[str, tuple[dict[str, Any], Contents]] = {
    "an image": (
        {"config": layer(A), "layers": [layer(B), layer(C)]},
        Contents((), (Descriptor(A, 5), Descriptor(B, 5), Descriptor(C, 5)), Descriptor(A, 5)),
    ),
    "an artifact": (
        {"config": layer(A), "layers": [], "subject": layer(B)},
        Contents((), (Descriptor(A, 5),), Descriptor(A, 5), B),
    ),
    "an artifact of something that is named wrongly": (
        {"config": layer(A), "subject": {"digest": 5}},
        Contents((), (Descriptor(A, 5),), Descriptor(A, 5)),
    ),
    "a layer that stands there twice": (
        {"config": layer(A), "layers": [layer(B), layer(B)]},
        Contents((), (Descriptor(A, 5), Descriptor(B, 5)), Descriptor(A, 5)),
    ),
    "foreign layers": (
        {"config": layer(A), "layers": [layer(B, FOREIGN, urls=URLS), layer(C, RESTRICTED, urls=URLS)]},
        Contents(
            (),
            (Descriptor(A, 5), Descriptor(B, 5, is_foreign=True), Descriptor(C, 5, is_foreign=True)),
            Descriptor(A, 5),
        ),
    ),
    "foreign by name, but nowhere else to be had": (
        {"config": layer(A), "layers": [layer(B, FOREIGN)]},
        Contents((), (Descriptor(A, 5), Descriptor(B, 5)), Descriptor(A, 5)),
    ),
    "to be had elsewhere as well": (
        {"config": layer(A), "layers": [layer(B, urls=URLS)]},
        Contents((), (Descriptor(A, 5), Descriptor(B, 5)), Descriptor(A, 5)),
    ),
    "no size": ({"config": layer(A, size="5")}, Contents((), (Descriptor(A),), Descriptor(A))),
    "schema 1": (
        {"schemaVersion": 1, "fsLayers": [{"blobSum": A}, {"blobSum": B}, {"blobSum": A}]},
        Contents((), (Descriptor(A), Descriptor(B))),
    ),
    "an index": (
        {"manifests": [layer(A, platform={**AMD64, "variant": "v2"}), layer(B)]},
        Contents((Descriptor(A, 5, Platform("linux", "amd64", "v2")), Descriptor(B, 5)), ()),
    ),
    "an attestation": (
        {"manifests": [layer(A, platform=AMD64), layer(B, platform=AMD64, annotations=ATTESTED)]},
        Contents(
            (
                Descriptor(A, 5, Platform("linux", "amd64")),
                Descriptor(B, 5, Platform("linux", "amd64"), is_attestation=True, about=A),
            ),
            (),
        ),
    ),
    "an attestation that does not say of what": (
        {"manifests": [layer(B, annotations={"vnd.docker.reference.type": "x", "vnd.docker.reference.digest": "y"})]},
        Contents((Descriptor(B, 5, is_attestation=True),), ()),
    ),
    "what is for nobody": (
        {"manifests": [layer(B, platform={"os": "unknown", "architecture": "unknown"})]},
        Contents((Descriptor(B, 5, Platform("unknown", "unknown"), is_attestation=True),), ()),
    ),
    "an empty index": ({"manifests": []}, Contents((), ())),
}


@pytest.mark.parametrize(("document", "expected"), READ.values(), ids=READ.keys())
def test_what_is_referred_to(document: dict[str, Any], expected: Contents) -> None:
    assert parse_contents(json.dumps(document).encode()) == expected


UNREADABLE: dict[str, Any] = {
    "no object": [1],
    "neither config nor layers": {"mediaType": "application/vnd.cncf.helm+json"},
    "no digest": {"config": {"size": 5}},
    "a digest that is none": {"config": layer("sha256:short")},
    "a digest that is a number": {"config": layer(A), "layers": [{"digest": 5}]},
    "a subject that is none": {"config": layer(A), "subject": "sha256"},
    "layers that are none": {"config": layer(A), "layers": [5]},
    "layers that are a number": {"config": layer(A), "layers": 5},
    "a platform without architecture": {"manifests": [layer(A, platform={"os": "linux"})]},
    "a platform that is text": {"manifests": [layer(A, platform="linux/amd64")]},
}


@pytest.mark.parametrize("document", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_told_is_not_guessed(document: Any) -> None:
    with pytest.raises(ManifestProblem, match="does not say"):
        parse_contents(json.dumps(document).encode())
