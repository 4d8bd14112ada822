"""Images as BuildKit publishes them, and what is attached to them: pure data, the same digests in every run.

An index with two platforms and, for each, an attestation manifest whose layers are in-toto statements; an SBOM and a
Sigstore bundle as referrers of the index, of each image and of each attestation manifest. Also a Helm chart.
Not here: plain images (images.py); signatures that a client verifies, which cosign makes itself.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.content import Blob
from tests.support.images import OCI, OCI_INDEX, OCI_MANIFEST, Image, Index, build_artifact, build_image

if TYPE_CHECKING:
    from tests.support.registry import Push

__all__ = ["BUNDLE", "SBOM", "Published", "build_chart", "build_published"]

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SBOM = "application/spdx+json"
_IN_TOTO = "application/vnd.in-toto+json"
_PREDICATES = ("https://slsa.dev/provenance/v1", "https://spdx.dev/Document")
_PLATFORMS = ("amd64", "arm64")


@dataclass(frozen=True)
class Published:
    """An index with attestations (`index.images`: each platform, then each attestation manifest) and its referrers."""

    index: Index
    referrers: tuple[Image, ...]

    def attestation(self, architecture: str) -> Image:
        """The attestation manifest of that platform's image."""
        return self.index.images[len(_PLATFORMS) + _PLATFORMS.index(architecture)]

    def digests(self, architecture: str) -> set[str]:
        """Everything that a pull for one platform with its attestation brings: manifests and blobs."""
        parts = (self.index.image(architecture), self.attestation(architecture))
        return {self.index.digest} | {digest for part in parts for digest in (part.digest, *part.blobs)}

    def referrers_of(self, subject: str) -> tuple[Image, ...]:
        """Those whose subject is the manifest of that digest."""
        return tuple(one for one in self.referrers if _subject_of(one) == subject)

    def push(self, push: Push, repository: str, tag: str, *, fallback_tags: bool = False) -> None:
        """Publish all of it; `fallback_tags` lists the referrers under `sha256-<hex>` tags as well.

        These are what registries without the referrers API have (OCI distribution 1.1, referrers tag schema).
        """
        push(repository, tag, self.index)
        for referrer in self.referrers:
            push(repository, None, referrer)
        if fallback_tags:
            for subject in {_subject_of(referrer) for referrer in self.referrers}:
                push(repository, subject.replace(":", "-"), _list_referrers(self.referrers_of(subject)))


def build_published(seed: str, *, layer_sizes: tuple[int, ...] = (30_000, 5_000)) -> Published:
    """An image as `docker buildx build --push --provenance=true --sbom=true` makes it, then signed."""
    images = tuple(build_image(seed, architecture=platform, layer_sizes=layer_sizes) for platform in _PLATFORMS)
    attestations = tuple(_build_attestation(image) for image in images)
    entries = [_describe(image, platform={"architecture": image.architecture, "os": "linux"}) for image in images]
    for image, attestation in zip(images, attestations, strict=True):
        about = {"vnd.docker.reference.digest": image.digest, "vnd.docker.reference.type": "attestation-manifest"}
        unknown = {"architecture": "unknown", "os": "unknown"}
        entries.append(_describe(attestation, platform=unknown, annotations=about))
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    index = Index(OCI_INDEX, _to_json(document), (*images, *attestations))
    subjects: tuple[Index | Image, ...] = (index, *images, *attestations)
    referrers = tuple(
        build_artifact(
            subject=subject, artifact_type=kind, blob_type=kind, blobs=(f"{kind} of {subject.digest}".encode(),)
        )
        for subject in subjects
        for kind in (SBOM, BUNDLE)
    )
    return Published(index, referrers)


def build_chart(name: str, version: str) -> Image:
    """A Helm chart as `helm push` stores it."""
    chart = json.dumps({"apiVersion": "v2", "name": name, "version": version}).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(f"{name}/Chart.yaml")
        entry.size = len(chart)
        archive.addfile(entry, io.BytesIO(chart))
    config = Blob(chart, media_type="application/vnd.cncf.helm.config.v1+json")
    content = Blob(
        gzip.compress(packed.getvalue(), mtime=0), media_type="application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    )
    manifest = {"schemaVersion": 2, "config": _describe_blob(config), "layers": [_describe_blob(content)]}
    return Image(OCI_MANIFEST, _to_json({**manifest, "mediaType": OCI_MANIFEST}), config, (content,))


def _build_attestation(image: Image) -> Image:
    """The manifest that BuildKit adds for an image: its config lists the statements as if they were layers."""
    layers = []
    for predicate in _PREDICATES:
        subject = {"name": "pkg:docker/image", "digest": {"sha256": image.digest.removeprefix("sha256:")}}
        statement = {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": predicate, "subject": [subject]}
        layers.append(Blob(_to_json(statement), media_type=_IN_TOTO))
    diff_ids = [layer.digest for layer in layers]
    config = {
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    config_blob = Blob(_to_json(config), media_type=OCI.config)
    described = [
        {**_describe_blob(layer), "annotations": {"in-toto.io/predicate-type": predicate}}
        for layer, predicate in zip(layers, _PREDICATES, strict=True)
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _describe_blob(config_blob),
        "layers": described,
    }
    return Image(OCI_MANIFEST, _to_json(manifest), config_blob, tuple(layers), tuple(diff_ids), "unknown")


def _list_referrers(referrers: tuple[Image, ...]) -> Index:
    """The index under a fallback tag."""
    entries = [
        {**_describe(referrer), "artifactType": json.loads(referrer.manifest)["artifactType"]} for referrer in referrers
    ]
    return Index(OCI_INDEX, _to_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}), referrers)


def _subject_of(referrer: Image) -> str:
    return str(json.loads(referrer.manifest)["subject"]["digest"])


def _describe(image: Image | Index, **more: Any) -> dict[str, Any]:
    return {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest), **more}


def _describe_blob(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def _to_json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode()
