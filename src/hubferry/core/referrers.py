"""The tags and filters with which clients ask what refers to an image: its signatures, SBOMs and attestations.

Pure. OCI distribution specification, "Listing Referrers" and "Referrers Tag Schema": when a registry has no referrers
API, a client asks for the tag `sha256-HEX` in the repository instead. cosign uses the same tags with `.sig`, `.att` or
`.sbom` at the end. Not here: reading a list of referrers, which is an index like any other (descriptors.py).
"""

import re

from hubferry.core.errors import Code, OciError

MAX_ARTIFACT_TYPE = 255  # characters: a media type is two names of at most 127 characters (RFC 6838, section 4.2)
_TAG = re.compile(r"sha256-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?")


def subject_of(tag: str) -> str:
    """Return the digest that a tag of the referrers tag schema (or of cosign) is about; empty for any other tag."""
    match = _TAG.fullmatch(tag)
    return f"sha256:{match[1]}" if match else ""


def referrers_tag(digest: str) -> str:
    """Return the tag for the list of what refers to a digest, in registries without a referrers API."""
    return digest.replace(":", "-", 1)[:128]


def check_artifact_type(text: str) -> str:
    """Return the `artifactType` filter of a request for referrers unchanged. Raises OciError 400 if it is too long."""
    if len(text) > MAX_ARTIFACT_TYPE:
        message = f"invalid `artifactType`: it has at most {MAX_ARTIFACT_TYPE} characters"
        raise OciError(400, Code.UNSUPPORTED, message)
    return text
