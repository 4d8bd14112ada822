"""The registry of the Docker Hub stand-in, as registry-1.docker.io and index.docker.io/v1/search.

Every /v2/ request needs a token whose grant names the repository. Manifest GETs count as pulls, HEADs do not.
Blobs are redirected to the CDN unless `state.redirect_blobs` is off.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.support.content import Blob
from tests.support.exchange import Header, Reply
from tests.support.hub_cdn import send_blob, sign_blob_url
from tests.support.hub_tokens import SERVICE

if TYPE_CHECKING:
    from tests.support.exchange import Received
    from tests.support.hub_state import HubState, Repository

__all__ = ["RegistryAnswers"]

_NAME = r"(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_DIGEST = r"(?P<digest>sha256:[0-9a-f]{64})"
_MANIFEST = re.compile(rf"/v2/{_NAME}/manifests/(?P<reference>[\w][\w.-]*|sha256:[0-9a-f]{{64}})")
_BLOB = re.compile(rf"/v2/{_NAME}/blobs/{_DIGEST}")
_TAGS = re.compile(rf"/v2/{_NAME}/tags/list")
_REFERRERS = re.compile(rf"/v2/{_NAME}/referrers/{_DIGEST}")
_VERSION: Header = ("Docker-Distribution-API-Version", "registry/2.0")
_WINDOW_S = 21_600


class RegistryAnswers:
    """Answers the registry's requests; `realm` is the token service's URL, `cdn_url` the CDN's base."""

    def __init__(self, state: HubState, realm: str, cdn_url: str) -> None:
        self._state = state
        self._realm = realm
        self._cdn_url = cdn_url

    def answer(self, request: Received) -> Reply | None:
        """The answer, or None for a request that Docker Hub does not know or a gateway must not send."""
        if request.method not in ("GET", "HEAD"):
            return None
        if request.path == "/v1/search":
            return self._search(request)
        if request.path == "/v1/_ping":
            return _json(200, {})
        if request.path == "/v2/":
            return self._refuse(request, None) or _json(200, {})
        for pattern, respond in (
            (_MANIFEST, self._manifest),
            (_BLOB, self._blob),
            (_TAGS, self._tags),
            (_REFERRERS, self._referrers),
        ):
            if match := pattern.fullmatch(request.path):
                name = match["name"]
                # Past this check the repository exists: no grant names one that does not.
                return self._refuse(request, name) or respond(request, self._state.repositories[name], match)
        return None

    def _refuse(self, request: Received, name: str | None) -> Reply | None:
        """401 with a challenge, or None when the token covers the repository."""
        token = (request.header("authorization") or "").removeprefix("Bearer ")
        grant = self._state.grants.get(token)
        error = None
        if grant is not None and grant.expires > self._state.now:
            if name is None or name in grant.repositories:
                return None
            error = "insufficient_scope"
        elif token:
            error = "invalid_token"
        value = f'Bearer realm="{self._realm}",service="{SERVICE}"'
        if name is not None:
            value += f',scope="repository:{name}:pull"'
        if error is not None:
            value += f',error="{error}"'
        detail = [{"Type": "repository", "Class": "", "Name": name, "Action": "pull"}] if name else None
        return _error(401, "UNAUTHORIZED", "authentication required", detail, ("WWW-Authenticate", value))

    def _manifest(self, request: Received, repository: Repository, match: re.Match[str]) -> Reply:
        limits = self._count_pull(request)
        if isinstance(limits, Reply):
            return limits
        reference = match["reference"]
        digest = repository.tags.get(reference, reference)
        if digest not in repository.manifests:
            detail = {"Tag": reference}
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown", detail, *limits)
        media_type, body = repository.manifests[digest]
        headers = (_VERSION, ("Docker-Content-Digest", digest), ("ETag", f'"{digest}"'), *limits)
        if (request.header("if-none-match") or "").strip('"') == digest:
            return Reply(304, headers)
        return Reply(200, (("Content-Type", media_type), *headers), Blob(body))

    def _count_pull(self, request: Received) -> tuple[Header, ...] | Reply:
        """The rate-limit headers of this answer, or the 429."""
        limit = self._state.pull_limit
        if limit is None:
            return ()
        account = self._account(request)
        source = account or "127.0.0.1"
        if request.method == "GET":
            self._state.pulls[source] += 1
        remaining = max(0, limit - self._state.pulls[source])
        headers = (
            ("RateLimit-Limit", f"{limit};w={_WINDOW_S}"),
            ("RateLimit-Remaining", f"{remaining};w={_WINDOW_S}"),
            ("Docker-RateLimit-Source", source),
        )
        if request.method == "GET" and self._state.pulls[source] > limit:
            message = (
                "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
            )
            retry = ("Retry-After", str(self._state.retry_after_s))
            return _error(429, "TOOMANYREQUESTS", message, None, *headers, retry)
        return headers

    def _account(self, request: Received) -> str:
        token = (request.header("authorization") or "").removeprefix("Bearer ")
        return self._state.grants[token].account

    def _blob(self, request: Received, repository: Repository, match: re.Match[str]) -> Reply:
        digest = match["digest"]
        if digest not in repository.blobs:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry", {"digest": digest})
        if not self._state.redirect_blobs:
            return send_blob(request, repository.blobs[digest]).with_header("Docker-Content-Digest", digest)
        url = sign_blob_url(self._state, self._cdn_url, digest)
        return Reply(307, (_VERSION, ("Location", url), ("Docker-Content-Digest", digest)))

    def _tags(self, request: Received, repository: Repository, match: re.Match[str]) -> Reply:
        name = match["name"]
        tags = [tag for tag in sorted(repository.tags) if tag > request.first("last")]
        count = int(request.first("n", "0")) or len(tags)
        page = tags[:count]
        link: tuple[Header, ...] = ()
        if len(page) < len(tags):
            query = urlencode({"last": page[-1], "n": count})
            link = (("Link", f'</v2/{name}/tags/list?{query}>; rel="next"'),)
        return _json(200, {"name": name, "tags": page}, *link)

    def _referrers(self, request: Received, repository: Repository, match: re.Match[str]) -> Reply:
        kind = request.first("artifactType") or None
        filters: tuple[Header, ...] = (("OCI-Filters-Applied", "artifactType"),) if kind else ()
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": repository.referrers(match["digest"], kind),
        }
        return _json(200, document, *filters).with_header("Content-Type", str(document["mediaType"]))

    def _search(self, request: Received) -> Reply:
        wanted = request.first("q")
        count = int(request.first("n", "25"))
        names = [
            name.removeprefix("library/")
            for name, repository in sorted(self._state.repositories.items())
            if repository.readers is None and wanted in name
        ]
        results = [
            {
                "name": name,
                "description": f"About {name}",
                "star_count": 1,
                "is_official": "/" not in name,
                "is_automated": False,
            }
            for name in names[:count]
        ]
        document = {"num_results": len(names), "query": wanted, "results": results}
        return _json(200, {**document, "num_pages": 1, "page": 1, "page_size": count})


def _json(status: int, document: object, *headers: Header) -> Reply:
    content = ("Content-Type", "application/json")
    return Reply(status, (content, _VERSION, *headers), Blob(json.dumps(document).encode()))


def _error(status: int, code: str, message: str, detail: object, *headers: Header) -> Reply:
    return _json(status, {"errors": [{"code": code, "message": message, "detail": detail}]}, *headers)
