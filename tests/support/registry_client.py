"""A registry client of a few lines that shows every answer: challenge, token, manifest, blobs.

It does what all real clients have in common and hides nothing; quirks of real ones are tested with them
(clients.py). It never follows a redirect.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from tests.support.content import digest_of
from tests.support.http import Answer, fetch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.exchange import Header

__all__ = ["ACCEPT_MANIFESTS", "RegistryClient", "basic", "parse_bearer"]

_MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT_MANIFESTS: Header = ("Accept", ", ".join(_MANIFEST_TYPES))


def parse_bearer(value: str) -> dict[str, str]:
    """The parameters of a Bearer challenge."""
    assert value.startswith("Bearer "), value
    return dict(re.findall(r'(\w+)="([^"]*)"', value))


def basic(user: str, password: str) -> Header:
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class RegistryClient:
    """Talks to `base_url` as if it were `host`; answers challenges, with credentials if it has some.

    `answers` keeps every answer in order.
    """

    def __init__(
        self,
        base_url: str,
        *,
        host: str | None = None,
        credentials: tuple[str, str] | None = None,
        namespace: str | None = None,
        foreign_realm: bool = False,
    ) -> None:
        """`foreign_realm` allows a realm on another host, as Docker Hub's is; a gateway's must not be."""
        self.base_url = base_url
        self.host = host or urlsplit(base_url).netloc
        self.credentials = credentials
        self.namespace = namespace
        self.answers: list[Answer] = []
        self._foreign_realm = foreign_realm
        self._tokens: dict[str, str] = {}

    def get(self, path: str, headers: Iterable[Header] = (), *, method: str = "GET") -> Answer:
        """One request; a Bearer challenge is answered once, for the scope it names."""
        headers = list(headers)
        url = self.base_url + path
        if self.namespace:
            url += ("&" if "?" in path else "?") + f"ns={self.namespace}"
        match = re.match(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/", path)
        key = match[1] if match else ""
        held = [("Authorization", f"Bearer {self._tokens[key]}")] if key in self._tokens else []
        answer = self._keep(fetch(url, method, [*headers, *held], host=self.host))
        if answer.status != 401 or held:
            return answer
        token = self.token_for(answer)
        if token.status != 200:
            return token
        self._tokens[key] = str(token.json()["token"])
        return self._keep(
            fetch(url, method, [*headers, ("Authorization", f"Bearer {self._tokens[key]}")], host=self.host)
        )

    def token_for(self, refused: Answer) -> Answer:
        """Ask the realm of a 401 for a token."""
        challenge = parse_bearer(refused.header("WWW-Authenticate") or "")
        realm = urlsplit(challenge["realm"])
        service, scope = challenge.get("service", ""), challenge.get("scope")
        if self._foreign_realm:
            return self._ask_token(challenge["realm"], realm.netloc, service, scope)
        assert realm.netloc == self.host, f"the realm {challenge['realm']} is not on {self.host}"
        return self.token(realm.path, service, scope)

    def token(self, path: str, service: str, scope: str | None) -> Answer:
        """Ask for a token at a path of the same host."""
        return self._ask_token(self.base_url + path, self.host, service, scope)

    def _ask_token(self, realm: str, host: str, service: str, scope: str | None) -> Answer:
        query = {"service": service} | ({"scope": scope} if scope else {})
        headers = [basic(*self.credentials)] if self.credentials else []
        return self._keep(fetch(f"{realm}?{urlencode(query)}", headers=headers, host=host))

    def manifest(self, repository: str, reference: str, *, method: str = "GET") -> Answer:
        return self.get(f"/v2/{repository}/manifests/{quote(reference, safe=':')}", [ACCEPT_MANIFESTS], method=method)

    def blob(self, repository: str, digest: str, headers: Iterable[Header] = ()) -> Answer:
        return self.get(f"/v2/{repository}/blobs/{digest}", headers)

    def pull(self, repository: str, reference: str, architecture: str = "amd64") -> str:
        """Pull everything, checking every length, digest and media type; returns the digest."""
        answer = self._whole(self.manifest(repository, reference))
        digest = digest_of(answer.body)
        assert answer.header("Docker-Content-Digest") == digest
        document = answer.json()
        assert answer.header("Content-Type") == document["mediaType"]
        if "manifests" in document:
            child = next(entry for entry in document["manifests"] if entry["platform"]["architecture"] == architecture)
            answer = self._whole(self.manifest(repository, child["digest"]))
            assert digest_of(answer.body) == child["digest"]
            document = answer.json()
        for descriptor in (document["config"], *document["layers"]):
            self._check_blob(repository, descriptor)
        return digest

    def _check_blob(self, repository: str, descriptor: dict[str, Any]) -> None:
        body = self._whole(self.blob(repository, descriptor["digest"])).body
        assert len(body) == descriptor["size"], json.dumps(descriptor)
        assert digest_of(body) == descriptor["digest"]

    def _whole(self, answer: Answer) -> Answer:
        assert (answer.status, answer.ended) == (200, "complete"), f"{answer} {answer.body[:500]!r}"
        return answer

    def _keep(self, answer: Answer) -> Answer:
        self.answers.append(answer)
        return answer
