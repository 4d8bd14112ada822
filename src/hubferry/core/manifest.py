"""Decide whether bytes that an upstream gave as a manifest are one, and which media type they have.

Pure. CVE-2021-41190: a document that is an index to one reader and an image to another is refused, and so is one
whose own `mediaType` contradicts its Content-Type. Schema 1 is passed on without looking into the document. Nothing is
served under a type that is not one of a manifest: a browser would show `text/html` as a page of the gateway itself.
"""

import base64
import hashlib
import re

from hubferry.core.documents import parse_json
from hubferry.core.headers import MANIFEST_TYPES, media_type
from hubferry.core.reference import is_digest

MAX_BYTES = 4 * 2**20  # docker, containerd and podman read no larger manifest
# digests noted for one manifest: docker and containerd accept images of at most 127 layers. That an index is in use is
# noted for the parts of its parts as well: for each of so many, so many
MAX_PARTS = 400
GENERIC = frozenset({"", "text/plain", "application/json", "application/octet-stream", "binary/octet-stream"})
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA1_PLAIN = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1 = frozenset({SCHEMA1_PLAIN, SCHEMA1_SIGNED})
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEXES = frozenset({OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"})
IMAGES = frozenset({OCI_IMAGE, "application/vnd.docker.distribution.manifest.v2+json"})
KNOWN = MANIFEST_TYPES | {
    # the types of ORAS and OCI for artifacts before OCI 1.1; some registries still hold such manifests
    "application/vnd.cncf.oras.artifact.manifest.v1+json",
    "application/vnd.oci.artifact.manifest.v1+json",
}
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+;= -]*")


class ManifestProblem(ValueError):
    """Bytes are not a manifest that may be served; the message says why."""


class WrongDigest(ManifestProblem):
    """Bytes do not have the digest that was asked for."""


def decide_media_type(content_type: str | None, body: bytes) -> str:
    """Return the media type to serve these bytes under, one of KNOWN.

    `content_type` is what the upstream said. If that is one of GENERIC (such as `text/plain`, or nothing at all), the
    document decides. Raises ManifestProblem when the bytes are not a manifest, or when document and type contradict
    each other.
    """
    said = media_type(content_type)
    if said in SCHEMA1:
        return said
    try:
        document = parse_json(body, unique=True)
    except ValueError:
        raise ManifestProblem("it is not JSON, or repeats a name") from None
    if not isinstance(document, dict):
        raise ManifestProblem("it is not a JSON object")
    names = {name.lower() for name in document}  # docker's JSON reader takes names in any case
    if "manifests" in names and names & {"layers", "config", "fslayers"}:
        raise ManifestProblem("it claims to be an index and an image at once")
    own = document.get("mediaType", "")
    if not isinstance(own, str) or (own and not _MEDIA_TYPE.fullmatch(own)):
        raise ManifestProblem("its mediaType is no media type")
    if own and said not in GENERIC and media_type(own) != said:
        raise ManifestProblem(f"its mediaType is {own[:100]}, but it came as {said[:100]}")
    if said in GENERIC and not own and not names & {"manifests", "layers", "config", "fslayers"}:
        raise ManifestProblem("it says nowhere that it is a manifest")  # such as an error page with status 200
    if (said in INDEXES and names & {"layers", "config", "fslayers"}) or (said in IMAGES and "manifests" in names):
        raise ManifestProblem(f"it is not what it came as, {said}")
    decided = (media_type(own) if said in GENERIC else said) or _natural(names)
    if decided not in KNOWN:
        raise ManifestProblem(f"its type {decided[:100]} is no manifest's")
    return decided


def decide_kept_media_type(said: str, body: bytes) -> str:
    """Return the media type to serve kept, verified bytes under.

    `said` is the type that an upstream's HEAD answer or the index has for them, without having seen the bytes. It is
    used only where the bytes do not contradict it. Raises ManifestProblem for bytes that are not a manifest.
    """
    if said in SCHEMA1:  # `decide_media_type` would believe it without looking at the bytes
        return decide_media_type("", body)
    try:
        return decide_media_type(said, body)
    except ManifestProblem:
        return decide_media_type("", body)


def _natural(names: set[str]) -> str:
    """Return the media type of a document that does not state it, judging by its (lower-case) member names."""
    if "manifests" in names:
        return OCI_INDEX
    if "fslayers" in names:
        return SCHEMA1_SIGNED if "signatures" in names else SCHEMA1_PLAIN
    return OCI_IMAGE


def parts_of(body: bytes) -> tuple[str, ...]:
    """Return the digests that a manifest or index refers to, each once, at most MAX_PARTS.

    For bytes that are neither, the result is empty.
    """
    try:
        document = parse_json(body)
        named = [document.get("config"), *document.get("layers", ()), *document.get("manifests", ())]
        digests = [descriptor.get("digest") for descriptor in named if isinstance(descriptor, dict)]
        digests += [layer.get("blobSum") for layer in document.get("fsLayers", ())]
    except (ValueError, AttributeError, TypeError):
        return ()
    named_once = dict.fromkeys(digest for digest in digests if isinstance(digest, str) and is_digest(digest))
    return tuple(named_once)[:MAX_PARTS]


def has_digest(content: bytes, digest: str) -> bool:
    """Return whether bytes have a digest of a known kind (sha256 or sha512)."""
    algorithm, _, encoded = digest.partition(":")
    return algorithm in ("sha256", "sha512") and hashlib.new(algorithm, content).hexdigest() == encoded


def signed_payload(body: bytes) -> bytes:
    """Return the bytes that the digest of a signed schema 1 manifest is computed over: those without the signatures.

    Docker's JSON web signature says how long the payload is and how it ended before it was signed
    (docker/libtrust, `ParsePrettySignature`). Raises ManifestProblem when the signature cannot be read.
    """
    try:
        protected = parse_json(body)["signatures"][0]["protected"]
        said = parse_json(base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))
        tail = said["formatTail"]
        return body[: int(said["formatLength"])] + base64.urlsafe_b64decode(tail + "=" * (-len(tail) % 4))
    except (ValueError, KeyError, IndexError, TypeError, OverflowError):
        raise ManifestProblem("its signature cannot be read") from None
