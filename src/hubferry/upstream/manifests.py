"""Reads a manifest whole, and delivers nothing that is not what its digest says."""

import hashlib

from hubferry.core.http import get
from hubferry.core.manifest import MAX_BYTES, SCHEMA1, ManifestProblem, decide_media_type
from hubferry.ports import Manifest, Upstream, UpstreamResponse


class CheckedManifests:
    """The `ManifestReader` port where bodies can be read."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def read(self, response: UpstreamResponse, expected_digest: str) -> Manifest:
        """See ports.ManifestReader."""
        body = await self._upstream.read(response, MAX_BYTES)
        media_type = decide_media_type(get(response.headers, "content-type"), body)
        algorithm = expected_digest.partition(":")[0] or "sha256"
        if algorithm not in ("sha256", "sha512"):
            raise ManifestProblem(f"its digest is of the unknown kind {algorithm[:32]!r}")
        digest = f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"
        if media_type in SCHEMA1 and expected_digest:
            # the digest of a signed schema 1 manifest is that of its payload, not of these bytes
            digest = expected_digest
        if expected_digest and digest != expected_digest:
            raise ManifestProblem(f"its bytes have the digest {digest}, not {expected_digest}")
        return Manifest(body, media_type, digest, len(body))
