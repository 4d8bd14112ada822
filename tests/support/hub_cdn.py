"""The CDN of the Docker Hub stand-in: blobs behind signed URLs that expire.

As the real one: 400 when an Authorization header comes along, 403 when the signature is wrong or too old,
single ranges with If-Range, 416 with the size.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.support.content import Blob
from tests.support.exchange import Reply

if TYPE_CHECKING:
    from tests.support.exchange import Received
    from tests.support.hub_state import HubState

__all__ = ["answer_cdn", "send_blob", "sign_blob_url"]

_KEY = b"only this run's CDN knows"
_PATH = re.compile(r"/registry-v2/docker/registry/v2/blobs/sha256/[0-9a-f]{2}/([0-9a-f]{64})/data")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def sign_blob_url(state: HubState, base_url: str, digest: str) -> str:
    hex_digest = digest.removeprefix("sha256:")
    path = f"/registry-v2/docker/registry/v2/blobs/sha256/{hex_digest[:2]}/{hex_digest}/data"
    expires = f"{state.now + state.signature_lifetime_s:.3f}"
    return f"{base_url}{path}?verify={quote(f'{expires}-{_signature(path, expires)}')}"


def answer_cdn(state: HubState, request: Received) -> Reply | None:
    """The answer, or None for a request that a CDN does not know."""
    match = _PATH.fullmatch(request.path)
    if match is None or request.method not in ("GET", "HEAD"):
        return None
    if request.header("authorization") is not None:
        return _xml(400, "InvalidArgument: only one auth mechanism allowed")
    expires, _, signature = request.first("verify").rpartition("-")
    if not hmac.compare_digest(signature, _signature(request.path, expires)):
        return _xml(403, "AccessDenied: wrong signature")
    if float(expires) < state.now:
        return _xml(403, "AccessDenied: request has expired")
    digest = "sha256:" + match[1]
    for repository in state.repositories.values():
        if digest in repository.blobs:
            return send_blob(request, repository.blobs[digest])
    return _xml(404, "NoSuchKey")


def send_blob(request: Received, blob: Blob) -> Reply:
    """200, 206 or 416, by Range and If-Range."""
    etag = f'"{blob.digest[7:39]}"'
    headers = (("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), ("ETag", etag))
    whole = Reply(200, headers, blob)
    match = _RANGE.fullmatch((request.header("range") or "").replace(" ", ""))
    if match is None or match[0] == "bytes=-" or request.header("if-range") not in (None, etag):
        return whole
    first, last = match[1], match[2]
    start = int(first) if first else max(0, blob.size - int(last))
    stop = min(int(last) + 1, blob.size) if first and last else blob.size
    if start >= stop:
        return Reply(416, (*headers, ("Content-Range", f"bytes */{blob.size}")))
    content_range = ("Content-Range", f"bytes {start}-{stop - 1}/{blob.size}")
    return replace(whole, status=206, headers=(*headers, content_range), start=start, stop=stop)


def _signature(path: str, expires: str) -> str:
    return hmac.new(_KEY, f"{path}|{expires}".encode(), hashlib.sha256).hexdigest()


def _xml(status: int, message: str) -> Reply:
    body = f"<?xml version='1.0'?><Error><Message>{message}</Message></Error>"
    return Reply(status, (("Content-Type", "application/xml"),), Blob(body.encode()))
