"""A small pull as a client makes it: manifest, config, first layer, each compared with its digest.

Raises what goes wrong: UpstreamFailure, OciError, PullProblem. Not here: judging that (upstreams.py, gateway.py).
"""

import asyncio
import hashlib
import platform
from dataclasses import dataclass
from urllib.parse import urlsplit

from hubferry.core.descriptors import Contents, Descriptor, parse_contents
from hubferry.core.documents import parse_json
from hubferry.core.headers import ACCEPT_MANIFESTS, UNENCODED
from hubferry.core.http import Headers, get
from hubferry.core.logged import logged
from hubferry.core.manifest import MAX_BYTES, ManifestProblem, decide_media_type, has_digest
from hubferry.core.platforms import choose, normal_platform
from hubferry.core.reference import is_digest
from hubferry.doctor.probe import Probe
from hubferry.ports.upstream import TooLarge, UpstreamFailure
from hubferry.remote.exchanges import Obtained
from hubferry.remote.target import Target
from hubferry.transport.client import StreamedBody

MAX_BLOB = 64 * 2**20  # a larger layer is left out: the rest of the pull has shown the way
PULL_S = 120.0
MAX_ERROR = 16 * 1024  # bytes of an error that is read for its message
MAX_SAID = 300  # characters of that message
ACCEPT: Headers = (*UNENCODED, ("accept", ", ".join(ACCEPT_MANIFESTS[:-1])))


class PullProblem(Exception):
    """What was given is not what was asked for; the message says what and how."""


class PullRefused(PullProblem):
    """The answer is an error of this HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was pulled: how much of it, and the host that a redirect led to for the config (empty: none)."""

    parts: tuple[str, ...]
    size_bytes: int
    direct_host: str


async def head_manifest(probe: Probe, target: Target, base: str, reference: str) -> Obtained:
    """Return the answer to the HEAD of a manifest, which no registry counts as a pull."""
    return await probe.exchanges.run(target, base, "HEAD", f"/v2/{target.repository}/manifests/{reference}", ACCEPT)


async def pull(probe: Probe, target: Target, base: str, reference: str, *, layers: bool) -> Pulled:
    """Pull the manifest for this machine, the config and, with `layers`, the first layer of up to 64 MiB."""
    try:
        async with asyncio.timeout(PULL_S):
            return await _pull(probe, target, base, reference, layers=layers)
    except TimeoutError:
        raise PullProblem(f"it was not done after {PULL_S:.0f} s: see whether the line is slow") from None


async def _pull(probe: Probe, target: Target, base: str, reference: str, *, layers: bool) -> Pulled:
    contents, size_bytes = await _image(probe, target, base, reference)
    if contents.config is None:
        raise PullProblem(f"{target.repository}:{reference} has no config: name another image with --image")
    config_bytes, direct_host = await _blob(probe, target, base, contents.config)
    size_bytes += config_bytes
    parts = ["manifest", "config"]
    first = next((one for one in contents.blobs if one != contents.config and not one.is_foreign), None)
    if layers and first is not None and (first.size_bytes or 0) <= MAX_BLOB:
        layer_bytes, _ = await _blob(probe, target, base, first)
        size_bytes += layer_bytes
        parts.append("first layer")
    return Pulled(tuple(parts), size_bytes, direct_host)


async def _image(probe: Probe, target: Target, base: str, reference: str) -> tuple[Contents, int]:
    """Return what the manifest for this machine refers to, and the bytes of all manifests that were read."""
    body = await _manifest(probe, target, base, reference)
    contents = _parsed(body)
    if not contents.manifests:
        return contents, len(body)
    here = normal_platform("linux", platform.machine())
    chosen, _ = choose(contents.manifests, (here,))
    images = [one for one in contents.manifests if not one.is_attestation]
    if not images:
        raise PullProblem(f"{target.repository}:{reference} has no image in it: name another one with --image")
    child = await _manifest(probe, target, base, (chosen or images)[0].digest)
    return _parsed(child), len(body) + len(child)


def _parsed(body: bytes) -> Contents:
    try:
        return parse_contents(body)
    except ManifestProblem as error:
        raise PullProblem(f"its manifest cannot be read: {error}") from None


async def _manifest(probe: Probe, target: Target, base: str, reference: str) -> bytes:
    path = f"/v2/{target.repository}/manifests/{reference}"
    obtained = await probe.exchanges.run(target, base, "GET", path, ACCEPT)
    await _check_status(probe, obtained, target, reference)
    headers = obtained.response.headers
    try:
        body = await probe.transport.read(obtained.response, MAX_BYTES)
        decide_media_type(get(headers, "content-type"), body)
    except TooLarge as error:
        raise PullProblem(f"its manifest has {error}") from None
    except ManifestProblem as error:
        raise PullProblem(f"what came as its manifest is none: {error}") from None
    said = get(headers, "docker-content-digest") or ""
    for digest in (said, reference):
        if is_digest(digest) and not has_digest(body, digest):
            raise PullProblem(f"its manifest does not have the digest {digest}: it was changed on its way")
    return body


async def _blob(probe: Probe, target: Target, base: str, blob: Descriptor) -> tuple[int, str]:
    """Return the size of a blob that has the right digest, and the host that a redirect led to."""
    path = f"/v2/{target.repository}/blobs/{blob.digest}"
    obtained = await probe.exchanges.run(target, base, "GET", path, UNENCODED)
    await _check_status(probe, obtained, target, blob.digest)
    algorithm, _, encoded = blob.digest.partition(":")
    hashed, size_bytes = hashlib.new(algorithm), 0
    body = obtained.response.body
    if not isinstance(body, StreamedBody):
        raise TypeError("a body of another transport")
    try:
        while (piece := await body.read()) is not None:
            hashed.update(piece)
            size_bytes += len(piece)
            if size_bytes > MAX_BLOB:
                raise PullProblem(f"{blob.digest} has more bytes than its manifest says")
    finally:
        await body.close()
    if hashed.hexdigest() != encoded:
        raise PullProblem(f"{size_bytes} bytes came for {blob.digest}, which do not have this digest")
    return size_bytes, urlsplit(obtained.direct_url).hostname or ""


async def _check_status(probe: Probe, obtained: Obtained, target: Target, reference: str) -> None:
    """Raise PullRefused, with what the answer says in its body, for an answer that is not what was asked for."""
    response = obtained.response
    if response.status == 200:
        return
    said = ""
    try:
        document = parse_json(await probe.transport.read(response, MAX_ERROR))
        said = f": {logged(str(document['errors'][0]['message']), MAX_SAID)}"
    except (TooLarge, UpstreamFailure, ValueError, TypeError, KeyError, IndexError):
        pass
    raise PullRefused(response.status, f"{response.status} for {target.repository} {reference}{said}")
