"""Read what a manifest or index refers to, as descriptors with everything that is needed to fetch them.

Pure. OCI image specification, "Content Descriptors"; Docker's schema 1 and 2. Not here: whether a document is a
manifest at all (manifest.py).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hubferry.core.documents import parse_json
from hubferry.core.manifest import ManifestProblem
from hubferry.core.platforms import Platform, normal_platform
from hubferry.core.reference import is_digest

_WORD = re.compile(r"[A-Za-z0-9._+-]{0,64}")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")  # RFC 6838, section 4.2
_FOREIGN = (".foreign.", ".nondistributable.")
_REFERENCE_TYPE = "vnd.docker.reference.type"
_REFERENCE_DIGEST = "vnd.docker.reference.digest"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content by digest.

    `size_bytes` and `platform` are None when the document does not say them. `is_foreign`: the registry need not hold
    the content, because it may not be allowed to distribute it; the manifest then gives clients URLs of the content's
    maker. `is_attestation`: this is not an image but a statement about one; `about` is the digest of that image, or
    empty when the document does not say it. `media_type` is empty when it is none; what is an artifact says as what
    in `artifactType`, which counts then.
    """

    digest: str
    size_bytes: int | None = None
    platform: Platform | None = None
    is_foreign: bool = False
    is_attestation: bool = False
    about: str = ""
    media_type: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a document refers to: the `manifests` of an index, or the `blobs` of an image, each once.

    The blobs of an image are its config, which comes first, and its layers. `config` is None for an index and for
    schema 1, which has no config. `subject` is the digest that an artifact refers to, such as the image that it signs;
    it is empty when there is none.
    """

    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    config: Descriptor | None = None
    subject: str = ""


def parse_contents(body: bytes) -> Contents:
    """Return everything that a manifest or index refers to. Raises ManifestProblem when the document cannot be read."""
    try:
        document = parse_json(body)
        if "manifests" in document:
            return Contents(_each_once(descriptor_of(entry) for entry in document["manifests"]), ())
        if "fsLayers" in document:  # schema 1
            return Contents((), _each_once(Descriptor(_digest(entry["blobSum"])) for entry in document["fsLayers"]))
        parts = [document["config"], *document.get("layers", ())]
        blobs = _each_once(descriptor_of(part) for part in parts)
        return Contents((), blobs, blobs[0], _digest_or_nothing((document.get("subject") or {}).get("digest")))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ManifestProblem("it does not say in any known way what it consists of") from None


def descriptor_of(entry: Any) -> Descriptor:
    """Return a descriptor of parsed JSON. Raises ValueError, KeyError, TypeError, AttributeError for what is none."""
    size, platform, annotations = entry.get("size"), entry.get("platform"), entry.get("annotations") or {}
    is_known = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    return Descriptor(
        _digest(entry["digest"]),
        size if is_known else None,
        _platform(platform) if platform else None,
        is_foreign=bool(entry.get("urls")) and any(mark in entry.get("mediaType", "") for mark in _FOREIGN),
        # BuildKit puts attestations into the index beside their images, as if they were for another platform
        is_attestation=_REFERENCE_TYPE in annotations or _is_nobodys(platform),
        about=_digest_or_nothing(annotations.get(_REFERENCE_DIGEST)),
        media_type=_media_type(entry.get("artifactType")) or _media_type(entry.get("mediaType")),
    )


def _media_type(said: Any) -> str:
    return said if isinstance(said, str) and _MEDIA_TYPE.fullmatch(said) else ""


def _platform(said: Any) -> Platform | None:
    words = (said["os"], said["architecture"], said.get("variant") or "")
    if not all(_WORD.fullmatch(word) for word in words):
        return None  # no machine has such a platform, and the text must not reach a terminal
    return normal_platform(said["os"], said["architecture"], said.get("variant") or "")


def _is_nobodys(said: Any) -> bool:
    return bool(said) and said["os"] == said["architecture"] == "unknown"


def _digest(text: Any) -> str:
    if not isinstance(text, str) or not is_digest(text):
        raise ValueError("no digest")
    return text


def _digest_or_nothing(text: Any) -> str:
    return text if isinstance(text, str) and is_digest(text) else ""


def _each_once(descriptors: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    return tuple({descriptor.digest: descriptor for descriptor in descriptors}.values())
