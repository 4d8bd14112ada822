"""What the home page tells to type gives the right image, on every kind of host name: asked of a real gateway."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING

import pytest

from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import OCI_MANIFEST, build_image

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = ("gw.example.com", "hub.example.com", "ghcr.example.com", "127.0.0.1:{port}")
IMAGES = {"docker.io": ("library/nginx", "latest"), "ghcr.io": ("home-assistant/home-assistant", "stable")}


@dataclass(frozen=True)
class Stage:
    """A gateway in front of two registries; `digests` are those of the image that each of them has, by its name."""

    gateway: Gateway
    digests: dict[str, str]

    def page(self, host: str) -> dict[str, str]:
        """The texts of the page by the file that they belong into; commands are under an empty name."""
        html = fetch(f"{self.gateway.url}/", host=host).body.decode()
        found = re.findall(
            r'(?:<p class="file">([^<]*)</p>)?<div class="command"><pre[^>]*><code>(.*?)</code>', html, re.DOTALL
        )
        texts: dict[str, str] = {}
        for file, text in found:
            texts[file] = f"{texts.get(file, '')}\n{unescape(text)}".strip()
        return texts

    def digest(self, host: str, name: str, tag: str, namespace: str = "") -> str | None:
        """The digest of what the gateway gives for a name that is asked for at a host name."""
        query = f"?ns={namespace}" if namespace else ""
        url = f"{self.gateway.url}/v2/{name}/manifests/{tag}{query}"
        answer = fetch(url, headers=[("Accept", OCI_MANIFEST)], host=host)
        return answer.header("Docker-Content-Digest") if answer.status == 200 else None


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("printed")
    with ExitStack() as stack:
        hubs = {name: stack.enter_context(Hub()) for name in IMAGES}
        digests = {name: hubs[name].add(*image, build_image(name)) for name, image in IMAGES.items()}
        settings = {
            "server": {"public_url": "https://gw.example.com"},
            "upstreams": {
                "only": True,
                "docker.io": upstream(hubs["docker.io"].url, default=True, library=True, hosts=["hub.example.com"]),
                "ghcr.io": upstream(hubs["ghcr.io"].url, hosts=["ghcr.example.com"]),
            },
            "cache": {"dir": str(folder / "data"), "complete": False},
            "access": {"login": "open"},
        }
        yield Stage(stack.enter_context(Gateway.start(folder / "gateway", settings)), digests)


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, stage: Stage) -> str:
    return str(request.param).format(port=stage.gateway.port)


def shown_name(host: str) -> str:
    """What the page calls the gateway: the public name, unless the host name belongs to an upstream."""
    return host if host in ("hub.example.com", "ghcr.example.com") else "gw.example.com"


def test_every_image_that_is_named_is_given(stage: Stage, host: str) -> None:
    expected = stage.digests["ghcr.io" if host == "ghcr.example.com" else "docker.io"]
    texts = "\n".join(stage.page(host).values())
    pattern = rf"(?:docker pull |image: ){re.escape(shown_name(host))}/(\S+):(\S+)"
    names = re.findall(pattern, texts)
    assert len(names) >= 3
    for name, tag in names:
        assert stage.digest(host, name, tag) == expected, name


def test_mirrors_of_docker_are_docker_hubs(stage: Stage, host: str) -> None:
    """dockerd asks its mirrors for images of Docker Hub only: another registry's would be another image, silently."""
    for file, text in stage.page(host).items():
        if file.endswith("daemon.json") and "registry-mirrors" in text:
            assert json.loads(text)["registry-mirrors"] == [f"https://{shown_name(host)}"]
            assert stage.digest(host, "library/nginx", "latest") == stage.digests["docker.io"]
            break
    else:
        assert host == "ghcr.example.com"


def test_files_of_mirrors_lead_to_the_registry_that_they_are_for(stage: Stage, host: str) -> None:
    texts = stage.page(host)
    folders = {re.search(r"certs\.d/([^/]+)/", file)[1] for file in texts if "certs.d" in file}  # type: ignore[index]
    served = list(IMAGES) if folders == {"_default"} else sorted(folders)
    for registry in served:
        name, tag = IMAGES[registry]
        assert stage.digest(host, name, tag, namespace=registry) == stage.digests[registry], registry
    for table in tomllib.loads(texts["/etc/containers/registries.conf.d/hubferry.conf"])["registry"]:
        name, tag = IMAGES[table["location"]]
        path = table["mirror"][0]["location"].partition("/")[2]
        assert stage.digest(host, f"{path}/{name}".strip("/"), tag) == stage.digests[table["location"]]
    for registry in tomllib.loads(texts["buildkitd.toml"])["registry"]:
        name, tag = IMAGES[registry]
        assert stage.digest(host, name, tag, namespace=registry) == stage.digests[registry]
