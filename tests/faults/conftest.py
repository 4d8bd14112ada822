"""A stage for faults: the stand-in hub as docker.io, a second upstream, and the real gateway in front."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import Image, build_image

if TYPE_CHECKING:
    from tests.conftest import StartGateway

REPOSITORY = "library/app"


@dataclass
class Stage:
    """What a fault test plays with. `image` is `app:latest` on the hub; `big` is a 4 MiB blob beside it.

    `folder` is the gateway's cache.dir.
    """

    hub: Hub
    gateway: Gateway
    image: Image
    big: Blob
    folder: Path

    @property
    def manifest_url(self) -> str:
        return f"{self.gateway.url}/v2/app/manifests/latest"

    @property
    def big_url(self) -> str:
        return self.blob_url(self.big)

    def blob_url(self, blob: Blob) -> str:
        return f"{self.gateway.url}/v2/app/blobs/{blob.digest}"


def config(state: Path, hub: Hub, *, login: str = "open", **more: Any) -> dict[str, Any]:
    """One upstream, the hub, as docker.io; `more` are further keys of that upstream."""
    settings = {"default": True, "library": True, "read_timeout": "2s", "response_timeout": "2s", **more}
    return {
        "upstreams": {"only": True, "docker.io": upstream(hub.url, **settings)},
        # what others may need of an image (companions) is not fetched: requests are counted here
        "cache": {"dir": str(state / "data"), "complete": False},
        "access": {"login": login},
    }


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def stage(tmp_path: Path, hub: Hub, start_gateway: StartGateway) -> Stage:
    """Login is open: a fault is asked for with one plain request. In front of it is the shell that the test is for."""
    settings = config(tmp_path, hub)
    image, big = _add_images(hub)
    return Stage(hub, start_gateway(settings), image, big, Path(settings["cache"]["dir"]))


@contextmanager
def open_stage(
    tmp_path: Path,
    hub: Hub,
    cache: Mapping[str, Any],
    *,
    server: Mapping[str, Any] | None = None,
    access: Mapping[str, Any] | None = None,
    port: int | None = None,
    **more: Any,
) -> Iterator[Stage]:
    """A stage with further settings; `more` are those of its one upstream. A second one goes on in the same folder."""
    image, big = _add_images(hub)
    settings = config(tmp_path, hub, **more)
    for section, further in (("cache", cache), ("server", server), ("access", access)):
        settings[section] = {**settings.get(section, {}), **(further or {})}
    with Gateway.start(tmp_path / "gateway", settings, port=port) as gateway:
        yield Stage(hub, gateway, image, big, Path(settings["cache"]["dir"]))


def _add_images(hub: Hub) -> tuple[Image, Blob]:
    image = build_image("faults")
    big = Blob.generated(4 * MIB, seed=7)
    hub.add(REPOSITORY, "latest", image)
    hub.add_blob(REPOSITORY, big)
    return image, big


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which a server that has ended kept `image` and `big`: to be copied, not to be served."""
    place = tmp_path_factory.mktemp("filled")
    with Hub() as hub, open_stage(place, hub, {"prefetch": False}) as stage:
        for url in (stage.manifest_url, stage.big_url):
            assert fetch(url).ended == "complete"
        folder = stage.folder
    assert len([path for path in (folder / "blobs").rglob("*") if path.is_file()]) == 2
    return folder
