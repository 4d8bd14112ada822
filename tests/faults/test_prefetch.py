"""What is fetched ahead of a client that was given a manifest, and what is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import REPOSITORY
from tests.faults.test_kept_manifests import kept, tag
from tests.support import faults
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import Index, build_index


@pytest.fixture
def image(hub: Hub) -> Index:
    index = build_index("ahead")
    hub.add(REPOSITORY, "latest", index)
    return index


def blobs_asked(hub: Hub) -> list[str]:
    return sorted(exchange.request.path.rpartition("/")[2] for exchange in hub.find("hub", path="/blobs/"))


def until(is_met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_met():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def kept_blobs(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file()}


def test_config_and_layers_follow_a_manifest_and_nothing_an_index(tmp_path: Path, hub: Hub, image: Index) -> None:
    child, other = image.image("amd64"), image.image("arm64")
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway).body == image.manifest
        assert tag(gateway, child.digest, method="HEAD").status == 200
        time.sleep(0.3)
        assert blobs_asked(hub) == [], "neither an index nor a HEAD is followed"
        for _ in range(3):
            assert tag(gateway, child.digest).body == child.manifest
        wanted = {digest.partition(":")[2] for digest in child.blobs}
        until(lambda: wanted <= kept_blobs(tmp_path))
        assert blobs_asked(hub) == sorted(child.blobs)
        hub.recorder.clear()
        for digest, blob in child.blobs.items():
            assert fetch(f"{gateway.url}/v2/app/blobs/{digest}").body == blob.data
        assert hub.count("hub") == 0
        assert not {digest.partition(":")[2] for digest in set(other.blobs) - set(child.blobs)} & kept_blobs(tmp_path)


def test_it_can_be_switched_off(tmp_path: Path, hub: Hub, image: Index) -> None:
    settings = kept(tmp_path, hub)
    settings["cache"]["prefetch"] = False
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        assert tag(gateway, image.image("amd64").digest).status == 200
        time.sleep(0.3)
        assert blobs_asked(hub) == []


def test_what_cannot_be_fetched_ahead_is_fetched_when_it_is_asked_for(tmp_path: Path, hub: Hub, image: Index) -> None:
    child = image.image("amd64")
    script = hub.script(faults.answer(404), role="hub", path="/blobs/", times=len(child.blobs))
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway, child.digest).body == child.manifest
        until(lambda: script.used == len(child.blobs))
        for digest, blob in child.blobs.items():
            assert fetch(f"{gateway.url}/v2/app/blobs/{digest}").body == blob.data


def test_what_is_being_fetched_ahead_ends_with_the_server(tmp_path: Path, hub: Hub, image: Index) -> None:
    child = image.image("amd64")
    hub.script(faults.stall(), role="hub", path="/blobs/", times=None)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, response_timeout="60s")) as gateway:
        assert tag(gateway, child.digest).body == child.manifest
        until(lambda: hub.count("hub", path="/blobs/") > 0)
        gateway.stop()
    hub.release_stalls()
