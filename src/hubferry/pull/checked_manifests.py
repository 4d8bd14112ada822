"""The `ManifestReader` port over any `Upstream`: a manifest is read whole and is what its digest says, or an error.

Its digest is compared before anything in it is parsed, but for schema 1, whose digest is that of a part of it.
The orchestrator does not import it: shells choose it, so that one that cannot read bodies may do without.
"""

import hashlib
from functools import partial

from hubferry.core.headers import media_type
from hubferry.core.http import get
from hubferry.core.manifest import (
    MAX_BYTES,
    SCHEMA1_SIGNED,
    ManifestProblem,
    WrongDigest,
    decide_media_type,
    signed_payload,
)
from hubferry.ports import Manifest, Upstream, UpstreamResponse
from hubferry.pull.parsing import parsed


class CheckedManifests:
    """Reads through the upstream that the response came from."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def read(self, response: UpstreamResponse, expected_digest: str) -> Manifest:
        """See ports.ManifestReader."""
        body = await self._upstream.read(response, MAX_BYTES)
        content_type = get(response.headers, "content-type")
        return await parsed(body, partial(_check, content_type=content_type, expected_digest=expected_digest))


def _check(body: bytes, *, content_type: str | None, expected_digest: str) -> Manifest:
    """Raises ManifestProblem, WrongDigest."""
    algorithm = expected_digest.partition(":")[0] or "sha256"
    if algorithm not in ("sha256", "sha512"):
        raise ManifestProblem(f"its digest is of the unknown kind {algorithm[:32]!r}")
    hashed = signed_payload(body) if media_type(content_type) == SCHEMA1_SIGNED else body
    digest = f"{algorithm}:{hashlib.new(algorithm, hashed).hexdigest()}"
    if expected_digest and digest != expected_digest:
        raise WrongDigest(f"its bytes have the digest {digest}, not {expected_digest}")
    return Manifest(body, decide_media_type(content_type, body), digest, len(body))
