"""Whether bytes that came as a manifest are one, and under which media type.

Pure. CVE-2021-41190: a document that is an index to one reader and an image to another is refused, and so is one
whose own `mediaType` contradicts its Content-Type. Schema 1 is relayed untouched.
"""

import base64
import re

from hubferry.core.documents import parse_json
from hubferry.core.headers import media_type
from hubferry.core.reference import is_digest

MAX_BYTES = 4 * 2**20  # docker, containerd and podman read no larger manifest
MAX_PARTS = 2000  # noted of one manifest; docker and containerd take images of at most 127 layers
GENERIC = frozenset({"", "text/plain", "application/json", "application/octet-stream", "binary/octet-stream"})
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA1 = frozenset({"application/vnd.docker.distribution.manifest.v1+json", SCHEMA1_SIGNED})
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+;= -]*")


class ManifestProblem(ValueError):
    """Why bytes are no manifest that may be served."""


class WrongDigest(ManifestProblem):
    """Bytes are not what was asked for."""


def decide_media_type(content_type: str | None, body: bytes) -> str:
    """The media type to serve these bytes under. Raises ManifestProblem when they contradict themselves.

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
    natural = OCI_INDEX if "manifests" in names else OCI_IMAGE
    return (media_type(own) if said in GENERIC else said) or natural


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
