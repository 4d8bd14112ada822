"""Debian's docker-registry (distribution 2.8.2) as a real upstream, and pushing images to any registry.

Each one has its own port and state folder. Not here: what Docker Hub does beyond it (hub.py).
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from tests.support.processes import Process, find_program, free_port, url_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.content import Blob
    from tests.support.images import Image, Index
    from tests.support.tls import Authority

    Push = Callable[[str, str | None, Image | Index], str]  # repository, tag or None, what; returns its digest

__all__ = ["PASSWORD", "USER", "Push", "Registry", "push"]

USER = "tester"
PASSWORD = "correct horse"
# bcrypt, cost 4, of PASSWORD: hashing it here would need one more dependency.
_HTPASSWD = f"{USER}:$2b$04$cV0ipOO7JAz86rTqKnixpO3gIVhK0e/JZJlnUGEHfr92b/lVIwEaa\n"


class Registry:
    """A running docker-registry. `url` is its base URL, `host` the host:port that clients write."""

    def __init__(
        self,
        state: Path,
        *,
        auth: bool = False,
        authority: Authority | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """`extra` replaces top-level keys of its configuration, e.g. {"proxy": {"remoteurl": ...}}."""
        state.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if authority else 'http'}://{self.host}"
        self._authority = authority
        self._credentials = (USER, PASSWORD) if auth else None
        http: dict[str, Any] = {"addr": self.host, "secret": "shared by nobody"}
        if authority:
            certificate = authority.issue()
            http["tls"] = {"certificate": str(certificate.cert_file), "key": str(certificate.key_file)}
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(state / "content")},
                "delete": {"enabled": True},
                "cache": {"blobdescriptor": "inmemory"},
            },
            "http": http,
        }
        if auth:
            (state / "htpasswd").write_text(_HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "registry", "path": str(state / "htpasswd")}}
        # JSON is YAML.
        (state / "config.yml").write_text(json.dumps(config | (extra or {})))
        self.process = Process(
            [find_program("docker-registry"), "serve", state / "config.yml"],
            log=state / "registry.log",
            env={"HOME": str(state), "OTEL_TRACES_EXPORTER": "none"},
        )
        self.process.wait_ready(self._ready, what=self.url)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def push(self, repository: str, tag: str | None, image: Image | Index) -> str:
        """Push and return the digest; without a tag it can be had by digest only."""
        return push(self.url, repository, tag, image, credentials=self._credentials, context=self._context())

    def stop(self) -> None:
        self.process.stop()

    def _context(self) -> ssl.SSLContext | None:
        return self._authority.client_context() if self._authority else None

    def _ready(self) -> bool:
        if self._authority:
            try:
                _request("GET", self.url + "/", context=self._context())
            except OSError:
                return False
            return True
        return url_answers(self.url + "/")


def push(
    registry_url: str,
    repository: str,
    tag: str | None,
    image: Image | Index,
    *,
    credentials: tuple[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> str:
    """Upload an image's blobs and manifests over the distribution API; returns its digest."""
    base = f"{registry_url}/v2/{repository}"
    headers = {}
    if credentials:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
    for blob in image.blobs.values():
        _push_blob(base, blob, headers, context)
    for digest, (media_type, body) in image.manifests.items():
        reference = tag if tag and digest == image.digest else digest
        sent = {**headers, "Content-Type": media_type}
        _request("PUT", f"{base}/manifests/{reference}", sent, body, context)
    return image.digest


def _push_blob(base: str, blob: Blob, headers: dict[str, str], context: ssl.SSLContext | None) -> None:
    started = _request("POST", f"{base}/blobs/uploads/", headers, b"", context)
    location = urljoin(base, started["Location"])
    location += ("&" if "?" in location else "?") + f"digest={blob.digest}"
    sent = {**headers, "Content-Type": "application/octet-stream"}
    _request("PUT", location, sent, blob.data, context)


def _request(
    method: str,
    url: str,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    context: ssl.SSLContext | None = None,
) -> dict[str, str]:
    """The headers of a 2xx answer; anything else raises AssertionError with the registry's message."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with opener.open(request, timeout=30) as answer:
            return dict(answer.headers.items())
    except urllib.error.HTTPError as error:
        with error:
            raise AssertionError(f"{method} {url}: {error.code} {error.read()[:300]!r}") from error
