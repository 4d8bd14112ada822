"""What refers to an image: signatures, SBOMs, attestations, and the tags that stand for their list.

Pure. OCI distribution specification, "Listing Referrers" and "Referrers Tag Schema": a client whose registry has no
referrers API asks for the tag `sha256-HEX` of the repository. cosign's tags are the same with `.sig`, `.att` or `.sbom`
behind it. Not here: reading a list, which is an index like any other (descriptors.py).
"""

import re

from hubferry.core.errors import Code, OciError

MAX_ARTIFACT_TYPE = 255  # a media type, which has two names of at most 127 characters (RFC 6838, section 4.2)
_TAG = re.compile(r"sha256-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?")


def subject_of(tag: str) -> str:
    """The digest that a tag of the referrers tag schema is about; empty for any other tag."""
    match = _TAG.fullmatch(tag)
    return f"sha256:{match[1]}" if match else ""


def referrers_tag(digest: str) -> str:
    """The tag that stands for the list of what refers to a digest, in registries without a referrers API."""
    return digest.replace(":", "-", 1)[:128]


def check_artifact_type(text: str) -> str:
    """The filter of a list of referrers as it was asked for. Raises OciError 400 for one that is too long."""
    if len(text) > MAX_ARTIFACT_TYPE:
        message = f"invalid `artifactType`: it has at most {MAX_ARTIFACT_TYPE} characters"
        raise OciError(400, Code.UNSUPPORTED, message)
    return text
