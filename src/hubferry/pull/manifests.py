"""Manifests of one repository, straight from its upstream.

`describe` is a HEAD (free of Docker Hub's limit), `get` a verified GET. Clients' conditions are answered here, not by
the upstream. Not here: what is kept of them (kept_manifests.py).
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hubferry.core import headers as head
from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.core.http import Headers, Request, get
from hubferry.core.manifest import MAX_BYTES, ManifestProblem, WrongDigest
from hubferry.core.reference import is_digest
from hubferry.ports import (
    Body,
    Described,
    Manifest,
    ManifestReader,
    Metrics,
    TooLarge,
    Uncounted,
    UpstreamFailure,
    UpstreamResponse,
)
from hubferry.pull.answer import Answer, Trail
from hubferry.pull.fetch import Fetcher, unreachable
from hubferry.pull.target import Question, Target, Witness

MAX_CUTS = 1  # a manifest that broke off is asked for again: that costs a pull


class ManifestSource(Protocol):
    """Answers a request for a manifest."""

    async def answer(self, request: Request, target: Target, reference: str, trail: Trail) -> Answer:
        """GET or HEAD of a tag or digest. Raises OciError."""


class UpstreamManifests:
    """Asks the upstream for everything."""

    def __init__(self, fetcher: Fetcher, reader: ManifestReader, metrics: Metrics | None = None) -> None:
        self._fetcher = fetcher
        self._reader = reader
        self._metrics = metrics or Uncounted()

    async def answer(self, request: Request, target: Target, reference: str, trail: Trail) -> Answer:
        """See ManifestSource."""
        trail.outcome = "bypass"
        accept = head.accept(request.headers)
        if request.method == "HEAD":
            described = await self.describe(target, reference, accept)
            if described is not None:
                return manifest_answer(request, described, None)
        manifest, _ = await self.get(target, reference, accept)
        return manifest_answer(request, manifest, manifest.body)

    def share(self, target: Target) -> float:
        """What is left of the upstream's limit for this caller, from 0 to 1."""
        return self._fetcher.share(target)

    def patience(self, target: Target, *, is_covered: bool) -> AbstractAsyncContextManager[None]:
        """See Fetcher.patience."""
        return self._fetcher.patience(target, is_covered=is_covered)

    async def describe(self, target: Target, reference: str, accept: str) -> Described | None:
        """What a HEAD says; None when the upstream knows no HEAD or does not tell type, length and digest.

        Clients need all three: go-containerregistry and oras fail without them. Raises OciError.
        """
        asked = Asked(target.origin.name, target.repository, reference)
        obtained = await self._fetcher.obtain(Question(target, asked, "HEAD", _path(asked), _headers(accept)))
        response = obtained.response
        await response.body.close()
        if response.status == 405:
            return None
        if response.status != 200:
            raise relay_error(response.status, response.headers, asked)
        size = get(response.headers, "content-length") or ""
        digest = get(response.headers, "docker-content-digest") or ""
        media_type = head.media_type(get(response.headers, "content-type"))
        if not (size.isdecimal() and len(size) <= 18 and is_digest(digest) and media_type):
            return None
        if is_digest(reference) and digest != reference:
            raise unusable(asked, f"it names {digest} for it")
        return Described(digest, media_type, int(size), by_mirror=obtained.witness == "mirror")

    async def get(self, target: Target, reference: str, accept: str) -> tuple[Manifest, Witness]:
        """A verified manifest, and whose it is.

        Raises OciError, 502 for one that is not what it should be.
        """
        asked = Asked(target.origin.name, target.repository, reference)
        cuts = 0
        while True:
            obtained = await self._fetcher.obtain(Question(target, asked, "GET", _path(asked), _headers(accept)))
            try:
                return await self._read(asked, obtained.response), obtained.witness
            except WrongDigest as error:
                self._metrics.wrong_content(asked.upstream)
                if not self._fetcher.distrust(target.origin, obtained.base):  # then another base is asked
                    raise unusable(asked, str(error)) from None
            except UpstreamFailure as error:
                cuts += 1
                if cuts > MAX_CUTS:
                    raise unreachable(asked.upstream, error) from error

    async def _read(self, asked: Asked, response: UpstreamResponse) -> Manifest:
        """Raises OciError, WrongDigest, UpstreamFailure."""
        if response.status != 200:
            await response.body.close()
            raise relay_error(response.status, response.headers, asked)
        said = get(response.headers, "docker-content-digest") or ""
        try:
            return await self._reader.read(response, asked.reference if is_digest(asked.reference) else said)
        except TooLarge:
            raise unusable(asked, f"it is larger than {MAX_BYTES} bytes") from None
        except WrongDigest:
            raise
        except ManifestProblem as error:
            raise unusable(asked, str(error)) from None


def _path(asked: Asked) -> str:
    return f"/v2/{asked.repository}/manifests/{asked.reference}"


def _headers(accept: str) -> Headers:
    return (("accept", accept), ("accept-encoding", "identity"))


def manifest_answer(
    request: Request, manifest: Manifest | Described, body: bytes | Body | None, extra: Headers = ()
) -> Answer:
    """The answer to a GET or HEAD; 304 when the client already has these bytes."""
    identity = (("docker-content-digest", manifest.digest), ("etag", f'"{manifest.digest}"'))
    if head.etag_matches(request.header("if-none-match"), manifest.digest):
        return Answer(304, identity + extra)
    size = manifest.size_bytes
    length = () if size is None else (("content-length", str(size)),)
    lines = (("content-type", manifest.media_type), *length, *identity, *extra)
    return Answer(200, lines, body if request.method == "GET" else None)


def unusable(asked: Asked, problem: str) -> OciError:
    """The 502 for something that an upstream gave and that nobody may have."""
    return OciError(
        502,
        Code.UNKNOWN,
        f"{asked.upstream} gave something for {asked} that cannot be delivered: {problem}",
        detail={"upstream": asked.upstream, "problem": problem},
    )
