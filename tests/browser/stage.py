"""A gateway with something to see: images of a stand-in for Docker Hub, of which one was pulled through it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_artifact, build_index

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMANDS = (
    "/bin/sh -c #(nop) ADD file:6dc3f1a2c4f1a6f0b8d0 in /",
    "RUN /bin/sh -c set -x && groupadd --system nginx && apt-get update && apt-get install -y nginx # buildkit",
    "COPY docker-entrypoint.sh / # buildkit",
)
TAGS = ("latest", "1.29.3", "1.29.2", "1.29", "1.28.0", "1.28", "1.27.5", "1.27", "stable", "alpine", "1.29-alpine")


@dataclass(frozen=True)
class Stage:
    """A running gateway, and the registry behind it."""

    gateway: Gateway
    hub: Hub

    @property
    def url(self) -> str:
        return self.gateway.url


def pull(gateway: Gateway, repository: str, tag: str, architecture: str = "amd64") -> None:
    """Fetch what a client would fetch of an image for one platform."""
    root = f"{gateway.url}/v2/{repository}"
    index = fetch(f"{root}/manifests/{tag}").json()
    digest = next(one["digest"] for one in index["manifests"] if one["platform"]["architecture"] == architecture)
    manifest = fetch(f"{root}/manifests/{digest}").json()
    for blob in (manifest["config"], *manifest["layers"]):
        assert fetch(f"{root}/blobs/{blob['digest']}").status == 200


@contextmanager
def open_stage(folder: Path, tables: dict[str, Any] | None = None, *, is_pulled: bool = True) -> Iterator[Stage]:
    """Start it; leaving the block stops it. Somebody has pulled an image through it if `is_pulled`."""
    with Hub(strict=False) as hub:
        nginx = build_index(
            "nginx", architectures=("amd64", "arm64", "arm"), layer_sizes=(3_000_000, 700_000, 2_000), commands=COMMANDS
        )
        for tag in TAGS:
            hub.add("library/nginx", tag, nginx)
        signature = build_artifact(subject=nginx, artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json")
        hub.add("library/nginx", None, signature)
        for name in ("nginx/nginx-ingress", "nginxinc/nginx-unprivileged", "library/redis", "linuxserver/nginx"):
            hub.add(name, "latest", build_index(name))
        settings = {
            "upstreams": {
                "docker.io": upstream(hub.url, search_url=f"{hub.url}/v1/search"),
                "quay.io": {
                    "url": "https://quay.invalid",
                    "search_url": "https://quay.invalid/api/v1/find/repositories",
                },
            },
            "cache": {"dir": str(folder / "data")},
            "access": {"login": "open"},
            "pages": {"operators": ["127.0.0.1/32"]},
            **(tables or {}),
        }
        with Gateway.start(folder / "gateway", settings) as gateway:
            if is_pulled:
                pull(gateway, "library/nginx", "1.29.3")
            yield Stage(gateway, hub)
