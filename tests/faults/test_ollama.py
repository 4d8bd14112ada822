"""What ollama asks for (server/download.go and server/auth.go of 0.17): its newer client sends a token of its own to
every registry, and either asks for ranges of a blob without the token that it was given.

The real client does not build from its Go module (scripts/clients.list).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.faults.conftest import REPOSITORY
from tests.faults.test_kept_manifests import kept
from tests.support import faults
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.images import Image, build_image
from tests.support.processes import free_port
from tests.support.registry_client import basic

if TYPE_CHECKING:
    from tests.support.hub import Hub

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
NAME = "library/app"


@pytest.fixture
def model(hub: Hub) -> Image:
    model = build_image("model", layer_sizes=(200_000, 5_000))
    hub.add(REPOSITORY, "latest", model)
    hub.script(faults.header("Content-Type", "text/plain; charset=utf-8"), role="hub", path="/manifests/", times=None)
    return model


def start(tmp_path: Path, hub: Hub, *, login: str, way: str) -> tuple[Gateway, str]:
    """A gateway, and the base of what is asked of the model's repository."""
    port = free_port()
    settings = kept(tmp_path, hub, login=login)
    upstream = settings["upstreams"].pop("docker.io")
    settings["upstreams"] |= {"registry.ollama.ai": {**upstream, "library": False}}
    if way == "host":
        settings["upstreams"]["registry.ollama.ai"]["hosts"] = [f"localhost:{port}"]
    gateway = Gateway.start(tmp_path / "gateway", settings, port=port)
    prefix = "" if way == "host" else "registry.ollama.ai/"
    base = f"http://localhost:{port}" if way == "host" else gateway.url
    return gateway, f"{base}/v2/{prefix}{NAME}"


def ask(url: str, token: str = "", *, method: str = "GET", more: list[tuple[str, str]] | None = None) -> Answer:
    headers = [("Accept", DOCKER_MANIFEST), *(more or [])]
    if token:
        headers.append(("Authorization", token))
    return fetch(url, method=method, headers=headers)


def token_for(challenge: str) -> str:
    said: dict[str, str] = dict(part.strip().split("=", 1) for part in challenge.partition(" ")[2].split(","))
    realm, service, scope = (said[name].strip('"') for name in ("realm", "service", "scope"))
    query = f"?service={service}&scope={scope}&ts=1764400000&nonce=bm9uY2U"
    signature = "c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSU.:c2lnbmF0dXJl"  # its key, a signature
    answer = fetch(realm + query, headers=[("Authorization", signature)])
    assert answer.status == 200, answer.body
    return "Bearer " + str(json.loads(answer.body)["token"])


@pytest.mark.parametrize("way", ["name", "host"])
def test_ranges_of_what_everybody_may_pull_need_no_token(tmp_path: Path, hub: Hub, model: Image, way: str) -> None:
    gateway, base = start(tmp_path, hub, login="upstream", way=way)
    with gateway:
        refused = ask(f"{base}/manifests/latest")
        assert refused.status == 401
        token = token_for(refused.header("www-authenticate") or "")
        answer = ask(f"{base}/manifests/latest", token)
        assert (answer.status, answer.body, answer.header("content-type")) == (200, model.manifest, model.media_type)
        for digest, blob in model.blobs.items():
            url = f"{base}/blobs/{digest}"
            head = ask(url, token, method="HEAD")
            assert (head.status, head.header("content-length")) == (200, str(blob.size))
            assert ask(url, token).status == 200  # where is it? it would follow a redirect from here
            half = blob.size // 2
            parts = [ask(url, more=[("Range", f"bytes={a}-{b - 1}")]) for a, b in ((0, half), (half, blob.size))]
            assert [part.status for part in parts] == [206, 206]
            assert b"".join(part.body for part in parts) == blob.data
        # a manifest still needs its token: clients with a login would not send it otherwise
        assert ask(f"{base}/manifests/latest").status == 401


@pytest.mark.parametrize("way", ["name", "host"])
def test_where_no_login_is_asked_for_a_token_of_its_own_is_ignored(
    tmp_path: Path, hub: Hub, model: Image, way: str
) -> None:
    gateway, base = start(tmp_path, hub, login="open", way=way)
    own = "Bearer c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSU:c2lnbmF0dXJl"
    with gateway:
        parts = urlsplit(base)
        assert ask(f"{parts.scheme}://{parts.netloc}/v2/", own).status == 200
        assert ask(f"{base}/manifests/latest", own).body == model.manifest
        for digest, blob in model.blobs.items():
            answer = ask(f"{base}/blobs/{digest}", own, more=[("Range", f"bytes=0-{blob.size - 1}")])
            assert (answer.status, answer.body) == (206, blob.data)
    assert not [e for e in hub.find() if "c3NoLW" in (e.request.header("authorization") or "")], "nor is it handed on"


def test_a_private_blob_still_needs_its_token(tmp_path: Path, hub: Hub) -> None:
    private = build_image("private")
    hub.state.users["alice"] = "secret"
    hub.add(REPOSITORY, "latest", private, readers={"alice"})
    gateway, base = start(tmp_path, hub, login="upstream", way="name")
    alice: Any = [basic("alice", "secret")]
    with gateway:
        assert fetch(f"{base}/manifests/latest", headers=alice).status == 200
        digest = private.layers[0].digest
        assert fetch(f"{base}/blobs/{digest}", headers=alice).status == 200
        refused = ask(f"{base}/blobs/{digest}")
        assert (refused.status, refused.error_code) == (401, "UNAUTHORIZED")


def test_what_became_private_needs_its_token_again(tmp_path: Path, hub: Hub, model: Image) -> None:
    gateway, base = start(tmp_path, hub, login="upstream", way="name")
    with gateway:
        token = token_for(ask(f"{base}/manifests/latest").header("www-authenticate") or "")
        assert ask(f"{base}/manifests/latest", token).status == 200
        url = f"{base}/blobs/{model.layers[0].digest}"
        assert ask(url).status == 200
        hub.state.grants.clear()
        hub.state.repositories[REPOSITORY].readers = frozenset({"nobody"})
        assert ask(f"{base}/manifests/another", token).status == 401
        assert ask(url).status == 401
