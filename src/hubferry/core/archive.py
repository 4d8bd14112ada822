"""Decide what is in a file of images: one that `docker load` reads, and everybody who reads OCI image layouts.

Pure. It is an OCI image layout (image specification, "Image Layout") with the `manifest.json` of `docker save` beside
its `index.json`; both name the same files below `blobs/`. Docker 25 and newer write the same. Layers stay compressed,
as the registry has them: so digests stay what they are, and nothing has to be unpacked to know the length.

    oci-layout, index.json     one entry for each image, with its name; an index stays whole, also where only some of
                               its platforms are there, so that an image keeps the digest by which it is pinned
    manifest.json              for those who load one platform of an image (dockerd without containerd's store): the
                               first one that was asked for; artifacts that no machine runs are not in it
    blobs/ALGORITHM/HEX        manifests, then configs, then layers, each once

Not here: the bytes of tar files (tar.py), which manifests of an index are wanted (platforms.py).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from hubferry.core.artifact_kinds import IMAGE_CONFIGS
from hubferry.core.descriptors import Descriptor, descriptor_of
from hubferry.core.documents import parse_json
from hubferry.core.manifest import OCI_INDEX
from hubferry.core.tar import Content, Member, Tar

MAX_IMAGES = 16  # in one file
MAX_PLATFORMS = 16  # of each image
MAX_LAYERS = 1000  # of one image; docker and containerd accept 127
MAX_BLOBS = 2500  # in one file: 16 images of as many layers as docker accepts
MAX_MANIFEST_BYTES = 4 * 2**20  # of all manifests in one file together: they are held in memory
MAX_CONTENT_BYTES = 2**40  # of one blob


class ArchiveProblem(ValueError):
    """An image cannot be in a file; the message says why, and begins in the middle of a sentence."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index as it was pushed."""

    digest: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ImageParts:
    """What the manifest of an image consists of; its layers in their order, in which one may be there twice.

    `is_image` is false for an artifact that no machine runs, such as a Helm chart or a signature.
    """

    config: Content
    layers: tuple[Content, ...]
    is_image: bool


@dataclass(frozen=True, slots=True)
class PackedImage:
    """An image as it is in a file.

    `name` is its name with registry host and tag, empty when only its digest is known. `repository` is that name
    without the tag. `manifests` are the root, which comes first, and the wanted ones below it. `parts` are of each that
    is no index, in the order of the platforms that were asked for.
    """

    repository: str
    tag: str
    manifests: tuple[Manifest, ...]
    parts: tuple[ImageParts, ...]

    @property
    def root(self) -> Manifest:
        """Return the manifest or index that the tag names."""
        return self.manifests[0]

    @property
    def name(self) -> str:
        """Return `HOST/REPOSITORY:TAG`; with the digest for an image without a tag."""
        return f"{self.repository}:{self.tag}" if self.tag else f"{self.repository}@{self.root.digest}"


def parse_image_parts(body: bytes) -> ImageParts:
    """Return what the manifest of an image consists of.

    Raises ArchiveProblem for one whose parts have no known size, or are not in the registry.
    """
    try:
        document = parse_json(body)
        if "fsLayers" in document:
            raise ArchiveProblem("its manifest is of Docker's schema 1, which says no sizes: push it again")
        config, layers = descriptor_of(document["config"]), document.get("layers") or []
        if len(layers) > MAX_LAYERS:
            raise ArchiveProblem(f"it has more than {MAX_LAYERS} layers")
        found = [descriptor_of(layer) for layer in layers]
        if any(layer.is_foreign for layer in found):
            raise ArchiveProblem("it has layers that only their maker distributes (Windows): no registry has all of it")
        return ImageParts(_content(config), tuple(map(_content, found)), config.media_type in IMAGE_CONFIGS)
    except ArchiveProblem:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ArchiveProblem("its manifest does not say in any known way what it consists of") from None


def pack(images: Sequence[PackedImage]) -> Tar:
    """Return the file of these images. Raises ArchiveProblem when there are too many parts for one file."""
    manifests = {one.digest: one for image in images for one in image.manifests}
    parts = [one for image in images for one in image.parts]
    configs = {one.config.digest: one.config for one in parts}
    blobs = configs | {layer.digest: layer for one in parts for layer in one.layers}
    if len(blobs) > MAX_BLOBS or sum(len(one.content) for one in manifests.values()) > MAX_MANIFEST_BYTES:
        raise ArchiveProblem(f"more than {MAX_BLOBS} layers, or than 4 MiB of manifests: ask for fewer images at once")
    members: list[Member] = [("oci-layout", _json({"imageLayoutVersion": "1.0.0"})), ("index.json", _index(images))]
    if loaded := _loaded(images):
        members.append(("manifest.json", _json(loaded)))
    members += [(_path(digest), one.content) for digest, one in manifests.items()]
    members += [(_path(digest), one) for digest, one in blobs.items() if digest not in manifests]
    return Tar(members)


def file_name(images: Sequence[PackedImage], platforms: Sequence[str] = ()) -> str:
    """Return a name for the file, such as `nginx_1.27_linux-amd64.tar`: letters, digits and `. _ -` only."""
    first = images[0]
    repository = first.repository.partition("/")[2].removeprefix("library/").replace("/", "-")
    words = [repository, first.tag or first.root.digest.partition(":")[2][:12]]
    words += [f"and-{len(images) - 1}-more"] if len(images) > 1 else []
    words += [platform.replace("/", "-") for platform in platforms[:2]]
    return "_".join(word[-60:].lstrip("-._") for word in words) + ".tar"


def _index(images: Sequence[PackedImage]) -> bytes:
    """Return `index.json`. docker, containerd and podman take names from one annotation, skopeo from the other."""
    entries = [
        {
            "mediaType": image.root.media_type,
            "digest": image.root.digest,
            "size": len(image.root.content),
            "annotations": {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name},
        }
        for image in images
    ]
    return _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def _loaded(images: Sequence[PackedImage]) -> list[dict[str, object]]:
    """Return what `manifest.json` lists: one platform of each image, once, with all names that it has here."""
    found: dict[ImageParts, list[str]] = {}
    for image in images:
        if image.parts and image.parts[0].is_image:
            names = found.setdefault(image.parts[0], [])
            names += [image.name] if image.tag and image.name not in names else []
    return [
        {
            "Config": _path(parts.config.digest),
            "RepoTags": names or None,
            "Layers": [_path(layer.digest) for layer in parts.layers],
        }
        for parts, names in found.items()
    ]


def _content(descriptor: Descriptor) -> Content:
    if descriptor.size_bytes is None or descriptor.size_bytes > MAX_CONTENT_BYTES:
        raise ValueError("no size")
    return Content(descriptor.digest, descriptor.size_bytes)


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
