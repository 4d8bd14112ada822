"""Container images as pure data: no docker build, no network, the same digests in every run.

Docker v2 schema 2 and OCI media types; single images, multi-arch indexes, artifacts with a subject.
Not here: sending them to a real registry (registry.py) or to the Docker Hub stand-in (hub.py).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.support.content import Blob, digest_of

__all__ = [
    "DOCKER",
    "OCI",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "Flavour",
    "Image",
    "Index",
    "build_artifact",
    "build_image",
    "build_index",
]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Flavour:
    """The media types that one family of images uses."""

    manifest: str
    index: str
    config: str
    layer: str


DOCKER = Flavour(
    manifest="application/vnd.docker.distribution.manifest.v2+json",
    index="application/vnd.docker.distribution.manifest.list.v2+json",
    config="application/vnd.docker.container.image.v1+json",
    layer="application/vnd.docker.image.rootfs.diff.tar.gzip",
)
OCI = Flavour(
    manifest=OCI_MANIFEST,
    index=OCI_INDEX,
    config="application/vnd.oci.image.config.v1+json",
    layer="application/vnd.oci.image.layer.v1.tar+gzip",
)


@dataclass(frozen=True)
class Image:
    """One manifest with its config and layers; `diff_ids` are the digests of the layers' tars."""

    media_type: str
    manifest: bytes = field(repr=False)
    config: Blob
    layers: tuple[Blob, ...]
    diff_ids: tuple[str, ...] = ()
    architecture: str = "amd64"

    @cached_property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def blobs(self) -> dict[str, Blob]:
        return {blob.digest: blob for blob in (self.config, *self.layers)}

    @property
    def manifests(self) -> dict[str, tuple[str, bytes]]:
        """Digest to (media type, bytes)."""
        return {self.digest: (self.media_type, self.manifest)}


@dataclass(frozen=True)
class Index:
    """A multi-arch index; `manifests` and `blobs` include those of every image, children first."""

    media_type: str
    manifest: bytes = field(repr=False)
    images: tuple[Image, ...]

    @cached_property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def blobs(self) -> dict[str, Blob]:
        return {digest: blob for image in self.images for digest, blob in image.blobs.items()}

    @property
    def manifests(self) -> dict[str, tuple[str, bytes]]:
        children = {image.digest: (image.media_type, image.manifest) for image in self.images}
        return {**children, self.digest: (self.media_type, self.manifest)}

    def image(self, architecture: str) -> Image:
        return next(image for image in self.images if image.architecture == architecture)


def build_image(
    seed: str = "image",
    *,
    flavour: Flavour = OCI,
    architecture: str = "amd64",
    layer_sizes: tuple[int, ...] = (30_000, 5_000),
    annotations: dict[str, str] | None = None,
    base: Image | None = None,
    commands: tuple[str, ...] = (),
) -> Image:
    """An image that real clients unpack; a layer is a tar of one random file, and about as large as asked.

    The layers of `base` come first, as those of the image that a Dockerfile begins from. `commands` made the layers.
    """
    layers, diff_ids = (list(base.layers), list(base.diff_ids)) if base else ([], [])
    for number, size in enumerate(layer_sizes):
        layer, diff_id = _build_layer(f"{seed}/{architecture}/{number}", size, flavour.layer)
        layers.append(layer)
        diff_ids.append(diff_id)
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/file-0"], "Labels": {"seed": seed}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [
            {"created": "2024-01-01T00:00:00Z", "created_by": commands[number] if number < len(commands) else seed}
            for number in range(len(layers))
        ],
    }
    config_blob = Blob(_to_json(config), media_type=flavour.config)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": flavour.manifest,
        "config": _describe(config_blob),
        "layers": [_describe(layer) for layer in layers],
    }
    if annotations:
        manifest["annotations"] = annotations
    return Image(flavour.manifest, _to_json(manifest), config_blob, tuple(layers), tuple(diff_ids), architecture)


def build_index(
    seed: str = "index",
    *,
    flavour: Flavour = OCI,
    architectures: tuple[str, ...] = ("amd64", "arm64"),
    layer_sizes: tuple[int, ...] = (30_000, 5_000),
    commands: tuple[str, ...] = (),
) -> Index:
    images = tuple(
        build_image(seed, flavour=flavour, architecture=architecture, layer_sizes=layer_sizes, commands=commands)
        for architecture in architectures
    )
    entries = [
        {
            "mediaType": image.media_type,
            "digest": image.digest,
            "size": len(image.manifest),
            "platform": {"architecture": image.architecture, "os": "linux"},
        }
        for image in images
    ]
    document = {"schemaVersion": 2, "mediaType": flavour.index, "manifests": entries}
    return Index(flavour.index, _to_json(document), images)


def build_artifact(
    *,
    subject: Image | Index | None = None,
    artifact_type: str = "application/vnd.example.signature",
    blobs: tuple[bytes, ...] = (b"signature",),
    blob_type: str = "application/vnd.example.data",
) -> Image:
    """An OCI 1.1 artifact with opaque layers (`b""` for a zero-byte blob) and, if wanted, a subject."""
    config = Blob(b"{}", media_type="application/vnd.oci.empty.v1+json")
    layers = tuple(Blob(data, media_type=blob_type) for data in blobs)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": _describe(config),
        "layers": [_describe(layer) for layer in layers],
    }
    if subject is not None:
        manifest["subject"] = {
            "mediaType": subject.media_type,
            "digest": subject.digest,
            "size": len(subject.manifest),
        }
    return Image(OCI_MANIFEST, _to_json(manifest), config, layers)


def _build_layer(seed: str, size: int, media_type: str) -> tuple[Blob, str]:
    """A gzipped tar with one file of random bytes, and the digest of the tar.

    Random bytes do not compress, so level 0 gives the same size and costs a copy instead of a second.
    """
    content = random.Random(seed).randbytes(size)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(f"file-{seed.rpartition('/')[2]}")
        entry.size = size
        archive.addfile(entry, io.BytesIO(content))
    diff_id = "sha256:" + hashlib.sha256(tar.getbuffer()).hexdigest()
    packed = gzip.compress(tar.getbuffer(), compresslevel=0, mtime=0)
    return Blob(packed, media_type=media_type), diff_id


def _describe(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def _to_json(document: dict[str, Any]) -> bytes:
    # Indented, as docker writes it: a gateway that re-serialises manifests changes their digest.
    return json.dumps(document, indent=3).encode()
