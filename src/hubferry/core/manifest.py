"""Whether bytes that came as a manifest are one, and under which media type.

Pure. CVE-2021-41190: a document that is an index to one reader and an image to another is refused, and so is one
whose own `mediaType` contradicts its Content-Type. Schema 1 is relayed untouched.
"""

import json

from hubferry.core.headers import media_type

MAX_BYTES = 4 * 2**20  # docker, containerd and podman read no larger manifest
GENERIC = frozenset({"", "text/plain", "application/json", "application/octet-stream", "binary/octet-stream"})
SCHEMA1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)


class ManifestProblem(ValueError):
    """Why bytes are no manifest that may be served."""


def decide_media_type(content_type: str | None, body: bytes) -> str:
    """The media type to serve these bytes under. Raises ManifestProblem when they contradict themselves.

    An upstream that says nothing useful (`text/plain`, nothing) is overruled by the document.
    """
    said = media_type(content_type)
    if said in SCHEMA1:
        return said
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ManifestProblem("it is not JSON") from None
    if not isinstance(document, dict):
        raise ManifestProblem("it is not a JSON object")
    if "manifests" in document and ("layers" in document or "config" in document or "fsLayers" in document):
        raise ManifestProblem("it claims to be an index and an image at once")
    own = document.get("mediaType", "")
    if not isinstance(own, str):
        raise ManifestProblem("its mediaType is not a text")
    if own and said not in GENERIC and media_type(own) != said:
        raise ManifestProblem(f"its mediaType is {own[:100]}, but it came as {said[:100]}")
    return (media_type(own) if said in GENERIC else said) or "application/vnd.oci.image.manifest.v1+json"
