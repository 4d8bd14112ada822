"""Whether bytes that came as a manifest are one, and under which media type.

Pure. CVE-2021-41190: a document that is an index to one reader and an image to another is refused, and so is one
whose own `mediaType` contradicts its Content-Type. Schema 1 is relayed untouched. Nothing is served under a type that
is not one of a manifest's: a browser would show `text/html` as a page of the gateway's own.
"""

import base64
import re

from hubferry.core.documents import parse_json
from hubferry.core.headers import MANIFEST_TYPES, media_type
from hubferry.core.reference import is_digest

MAX_BYTES = 4 * 2**20  # docker, containerd and podman read no larger manifest
MAX_PARTS = 2000  # noted of one manifest; docker and containerd take images of at most 127 layers
GENERIC = frozenset({"", "text/plain", "application/json", "application/octet-stream", "binary/octet-stream"})
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA1_PLAIN = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1 = frozenset({SCHEMA1_PLAIN, SCHEMA1_SIGNED})
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEXES = frozenset({OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"})
IMAGES = frozenset({OCI_IMAGE, "application/vnd.docker.distribution.manifest.v2+json"})
KNOWN = MANIFEST_TYPES | {
    # what ORAS and OCI had for artifacts before OCI 1.1; some registries still hold them
    "application/vnd.cncf.oras.artifact.manifest.v1+json",
    "application/vnd.oci.artifact.manifest.v1+json",
}
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+;= -]*")


class ManifestProblem(ValueError):
    """Why bytes are no manifest that may be served."""


class WrongDigest(ManifestProblem):
    """Bytes are not what was asked for."""


def decide_media_type(content_type: str | None, body: bytes) -> str:
    """The media type to serve these bytes under, one of KNOWN. Raises ManifestProblem when they contradict themselves.

    An upstream that says nothing useful (`text/plain`, nothing) is overruled by the document.
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
        raise ManifestProblem("it says nowhere that it is a manifest")  # such as an error that came with 200
    if (said in INDEXES and names & {"layers", "config", "fslayers"}) or (said in IMAGES and "manifests" in names):
        raise ManifestProblem(f"it is not what it came as, {said}")
    decided = (media_type(own) if said in GENERIC else said) or _natural(names)
    if decided not in KNOWN:
        raise ManifestProblem(f"its type {decided[:100]} is no manifest's")
    return decided


def decide_kept_media_type(said: str, body: bytes) -> str:
    """The media type to serve verified bytes under, of which an upstream's HEAD or the index only says `said`.

    The bytes decide where they say what they are; `said` counts as far as it agrees with them. Raises ManifestProblem
    for what is no manifest.
    """
    if said in SCHEMA1:  # which is believed without a look at the bytes when these come along
        return decide_media_type("", body)
    try:
        return decide_media_type(said, body)
    except ManifestProblem:
        return decide_media_type("", body)


def _natural(names: set[str]) -> str:
    """The type of a document that does not say it, by the names in it."""
    if "manifests" in names:
        return OCI_INDEX
    if "fslayers" in names:
        return SCHEMA1_SIGNED if "signatures" in names else SCHEMA1_PLAIN
    return OCI_IMAGE


def parts_of(body: bytes) -> tuple[str, ...]:
    """The digests that a manifest or index refers to, each once, MAX_PARTS at most; none for anything else."""
    try:
        document = parse_json(body)
        named = [document.get("config"), *document.get("layers", ()), *document.get("manifests", ())]
        digests = [descriptor.get("digest") for descriptor in named if isinstance(descriptor, dict)]
        digests += [layer.get("blobSum") for layer in document.get("fsLayers", ())]
    except (ValueError, AttributeError, TypeError):
        return ()
    named_once = dict.fromkeys(digest for digest in digests if isinstance(digest, str) and is_digest(digest))
    return tuple(named_once)[:MAX_PARTS]


def signed_payload(body: bytes) -> bytes:
    """What the digest of a signed schema 1 manifest is made of: its bytes without the signatures.

    Docker's JSON web signature says how long the payload is and how it ended before it was signed
    (docker/libtrust, `ParsePrettySignature`). Raises ManifestProblem when it does not.
    """
    try:
        protected = parse_json(body)["signatures"][0]["protected"]
        said = parse_json(base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))
        tail = said["formatTail"]
        return body[: int(said["formatLength"])] + base64.urlsafe_b64decode(tail + "=" * (-len(tail) % 4))
    except (ValueError, KeyError, IndexError, TypeError, OverflowError):
        raise ManifestProblem("its signature cannot be read") from None
