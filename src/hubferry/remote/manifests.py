"""Manifests of one repository, asked of its upstream.

`describe` is a HEAD (free of Docker Hub's limit), `get` a GET whose bytes were verified. The digest is compared before
anything in a manifest is parsed, but for schema 1, whose digest is that of a part of it.
Not here: what is kept of manifests (pull/manifests.py).
"""

import hashlib
from contextlib import AbstractAsyncContextManager
from functools import partial

from hubferry.core.errors import Asked
from hubferry.core.headers import media_type
from hubferry.core.http import Headers, get
from hubferry.core.manifest import (
    MAX_BYTES,
    SCHEMA1_SIGNED,
    ManifestProblem,
    WrongDigest,
    decide_media_type,
    signed_payload,
)
from hubferry.core.reference import is_digest
from hubferry.ports.index import ManifestInfo
from hubferry.ports.shell import UNCOUNTED, Metrics
from hubferry.ports.upstream import TooLarge, Transport, UpstreamFailure
from hubferry.remote.exchanges import Obtained
from hubferry.remote.fetch import Fetcher
from hubferry.remote.parsing import MAX_LENGTH_DIGITS, Documents
from hubferry.remote.refusals import refusal_of, unreachable, unusable
from hubferry.remote.target import Question, Target

MAX_CUTS = 1  # a manifest that broke off is asked for again: that costs a pull


class RemoteManifests:
    """Asks upstreams for manifests, and verifies what they give."""

    def __init__(self, fetcher: Fetcher, transport: Transport, metrics: Metrics = UNCOUNTED) -> None:
        self._fetcher = fetcher
        self._documents = Documents(transport)
        self._metrics = metrics

    def quota_left(self, target: Target) -> float:
        """What is left of the upstream's limit for this caller, from 0 to 1."""
        return self._fetcher.quota_left(target)

    def limit_wait(self, target: Target, *, is_covered: bool) -> AbstractAsyncContextManager[None]:
        """Limit how long the block may wait for the upstream, as Fetcher.limit_wait does."""
        return self._fetcher.limit_wait(target, is_covered=is_covered)

    async def describe(self, target: Target, reference: str, accept: str) -> ManifestInfo | None:
        """What a HEAD says; None when the upstream knows no HEAD or does not tell a manifest's length and digest.

        Clients need both and the type: go-containerregistry and oras fail without them. The type is what was said, so
        it may be none of a manifest's. Raises OciError.
        """
        asked = Asked(target.upstream.name, target.repository, reference)
        obtained = await self._obtain(target, asked, "HEAD", accept)
        response = obtained.response
        await response.body.close()
        if response.status == 405:
            return None
        if response.status != 200:
            raise refusal_of(obtained.response, asked, is_elsewhere=bool(obtained.direct_url))
        size = get(response.headers, "content-length") or ""
        digest = get(response.headers, "docker-content-digest") or ""
        said_type = media_type(get(response.headers, "content-type"))
        if not (size.isdecimal() and len(size) < MAX_LENGTH_DIGITS and is_digest(digest)) or int(size) > MAX_BYTES:
            return None
        if is_digest(reference) and digest != reference:
            raise unusable(asked, f"it names {digest} for it")
        return ManifestInfo(digest, said_type, int(size), by_mirror=obtained.answered_by == "mirror")

    async def get(self, target: Target, reference: str, accept: str) -> tuple[ManifestInfo, bytes]:
        """A verified manifest and its content. Raises OciError, 502 for one that is not what it should be."""
        asked = Asked(target.upstream.name, target.repository, reference)
        cuts = 0
        while True:
            obtained = await self._obtain(target, asked, "GET", accept)
            try:
                return await self._read(asked, obtained)
            except WrongDigest as error:
                self._metrics.wrong_content(asked.upstream)
                if not self._fetcher.distrust(target.upstream, obtained.base):  # then another base is asked
                    raise unusable(asked, str(error)) from None
            except UpstreamFailure as error:
                cuts += 1
                if cuts > MAX_CUTS:
                    raise unreachable(asked.upstream, error) from error

    async def _obtain(self, target: Target, asked: Asked, method: str, accept: str) -> Obtained:
        headers: Headers = (("accept", accept), ("accept-encoding", "identity"))
        path = f"/v2/{asked.repository}/manifests/{asked.reference}"
        return await self._fetcher.obtain(Question(target, asked, method, path, headers))

    async def _read(self, asked: Asked, obtained: Obtained) -> tuple[ManifestInfo, bytes]:
        """Read and verify an answer's manifest. Raises OciError, WrongDigest, UpstreamFailure."""
        response = obtained.response
        if response.status != 200:
            await response.body.close()
            raise refusal_of(obtained.response, asked, is_elsewhere=bool(obtained.direct_url))
        said = get(response.headers, "docker-content-digest") or ""
        expected_digest = asked.reference if is_digest(asked.reference) else said
        content_type = get(response.headers, "content-type")
        check = partial(check_manifest, content_type=content_type, expected_digest=expected_digest)
        try:
            content, (digest, decided_type) = await self._documents.read(asked.upstream, response, MAX_BYTES, check)
        except TooLarge:
            raise unusable(asked, f"it is larger than {MAX_BYTES} bytes") from None
        except WrongDigest:
            raise
        except ManifestProblem as error:
            raise unusable(asked, str(error)) from None
        by_mirror = obtained.answered_by == "mirror"
        return ManifestInfo(digest, decided_type, len(content), by_mirror=by_mirror), content


def check_manifest(content: bytes, *, content_type: str | None, expected_digest: str) -> tuple[str, str]:
    """The digest and the media type of a manifest's bytes; `expected_digest` is empty when nobody said it.

    Raises WrongDigest, and ManifestProblem for what is no manifest or has a digest of an unknown kind.
    """
    algorithm = expected_digest.partition(":")[0] or "sha256"
    if algorithm not in ("sha256", "sha512"):
        raise ManifestProblem(f"its digest is of the unknown kind {algorithm[:32]!r}")
    hashed = signed_payload(content) if media_type(content_type) == SCHEMA1_SIGNED else content
    digest = f"{algorithm}:{hashlib.new(algorithm, hashed).hexdigest()}"
    if expected_digest and digest != expected_digest:
        raise WrongDigest(f"its bytes have the digest {digest}, not {expected_digest}")
    return digest, decide_media_type(content_type, content)
