"""What is fetched ahead of a client that was given a manifest, and what is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hubferry.core.manifest import OCI_IMAGE
from tests.faults.conftest import REPOSITORY
from tests.faults.test_kept_manifests import kept, tag
from tests.support import faults
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import Index, build_image, build_index
from tests.support.waiting import wait_until


@pytest.fixture
def image(hub: Hub) -> Index:
    index = build_index("ahead")
    hub.add(REPOSITORY, "latest", index)
    return index


def blobs_fetched(hub: Hub) -> list[str]:
    return sorted(exchange.request.path.rpartition("/")[2] for exchange in hub.find("hub", "GET", "/blobs/"))


def kept_blobs(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file()}


def blob(gateway: Gateway, digest: str, **more: Any) -> Answer:
    return fetch(f"{gateway.url}/v2/app/blobs/{digest}", **more)


def hex_of(digests: Iterable[str]) -> set[str]:
    return {digest.partition(":")[2] for digest in digests}


def test_layers_follow_the_config_and_nothing_an_index_or_a_manifest(tmp_path: Path, hub: Hub, image: Index) -> None:
    child, other = image.image("amd64"), image.image("arm64")
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway).body == image.manifest
        assert tag(gateway, child.digest).body == child.manifest
        assert blob(gateway, child.config.digest, method="HEAD").status == 200
        assert blobs_fetched(hub) == []
        for _ in range(3):
            assert blob(gateway, child.config.digest).body == child.config.data
        wait_until(lambda: hex_of(child.blobs) <= kept_blobs(tmp_path), "all of it is kept")
        assert blobs_fetched(hub) == sorted(child.blobs)
        hub.recorder.clear()
        for digest, content in child.blobs.items():
            assert blob(gateway, digest).body == content.data
        assert hub.count("hub") == 0
        assert not hex_of(set(other.blobs) - set(child.blobs)) & kept_blobs(tmp_path)


def test_whoever_reads_every_platform_has_the_layers_fetched_of_the_one_it_pulls(
    tmp_path: Path, hub: Hub, image: Index
) -> None:
    child, other = image.image("amd64"), image.image("arm64")
    assert len(child.layers) > 1
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway).body == image.manifest
        for one in (child, other):
            assert tag(gateway, one.digest).body == one.manifest
        for one in (child, other):
            assert blob(gateway, one.config.digest).body == one.config.data
        assert blob(gateway, child.layers[0].digest).body == child.layers[0].data
        wait_until(lambda: hex_of(child.blobs) <= kept_blobs(tmp_path), "all of it is kept")
        assert blobs_fetched(hub) == sorted([*child.blobs, other.config.digest])


def test_another_client_that_reads_another_platform_does_not_matter(tmp_path: Path, hub: Hub, image: Index) -> None:
    child, other = image.image("amd64"), image.image("arm64")
    settings = kept(tmp_path, hub)
    settings["server"] = {"trusted_proxies": ["127.0.0.1/32"]}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        for peer, one in (("192.0.2.1", child), ("192.0.2.2", other)):
            comes_from = [("x-forwarded-for", peer)]
            assert tag(gateway, headers=comes_from).body == image.manifest
            assert tag(gateway, one.digest, headers=comes_from).body == one.manifest
            assert blob(gateway, one.config.digest, headers=comes_from).body == one.config.data
            wait_until(lambda one=one: hex_of(one.blobs) <= kept_blobs(tmp_path), "all of it is kept")  # type: ignore[misc]


def test_an_image_that_is_in_no_index_is_fetched_at_once(tmp_path: Path, hub: Hub) -> None:
    single = build_image("single")
    hub.add(REPOSITORY, "single", single)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway, "single").body == single.manifest
        wait_until(lambda: hex_of(single.blobs) <= kept_blobs(tmp_path), "all of it is kept")


def test_after_a_restart_an_index_is_still_known(tmp_path: Path, hub: Hub, image: Index) -> None:
    child = image.image("amd64")
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway).body == image.manifest
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        for one in ("amd64", "arm64"):
            assert tag(gateway, image.image(one).digest).status == 200
        assert blob(gateway, child.config.digest).status == 200
        assert blobs_fetched(hub) == [child.config.digest], "both were read"
        assert blob(gateway, child.layers[0].digest).status == 200
        wait_until(lambda: hex_of(child.blobs) <= kept_blobs(tmp_path), "all of it is kept")


def test_a_manifest_of_thousands_of_layers_is_looked_into_once_and_not_followed(tmp_path: Path, hub: Hub) -> None:
    digests = [f"sha256:{number:064x}" for number in range(5000)]
    layers = [{"mediaType": "a/b", "digest": digest, "size": 1} for digest in digests]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": layers[0], "layers": layers}).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    hub.add(REPOSITORY, "latest", build_image("small"))
    hub.state.repositories[REPOSITORY].manifests[digest] = (OCI_IMAGE, body)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        for _ in range(3):
            assert tag(gateway, digest).body == body
        assert tag(gateway).status == 200
        wait_until(lambda: len(kept_blobs(tmp_path)) > 2, "more is kept than was asked for")
        assert not hex_of(digests) & hex_of(blobs_fetched(hub))


def test_it_can_be_switched_off(tmp_path: Path, hub: Hub, image: Index) -> None:
    settings = kept(tmp_path, hub)
    settings["cache"]["prefetch"] = False
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        child = image.image("amd64")
        assert tag(gateway, child.digest).status == 200
        assert blob(gateway, child.config.digest).body == child.config.data
        assert blob(gateway, child.layers[0].digest).body == child.layers[0].data
        assert blobs_fetched(hub) == sorted([child.config.digest, child.layers[0].digest])


def test_what_cannot_be_fetched_ahead_is_fetched_when_it_is_asked_for(tmp_path: Path, hub: Hub, image: Index) -> None:
    child = image.image("amd64")
    script = hub.script(faults.answer(404), role="hub", path="/blobs/", times=len(child.blobs))
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway, child.digest).body == child.manifest
        wait_until(lambda: script.used == len(child.blobs), "every blob is refused")
        for digest, content in child.blobs.items():
            # whoever asks while the refusal is on its way shares it
            wait_until(lambda: blob(gateway, digest).body == content.data, "it is fetched")  # noqa: B023


def test_what_is_being_fetched_ahead_ends_with_the_server(tmp_path: Path, hub: Hub, image: Index) -> None:
    child = image.image("amd64")
    hub.script(faults.stall(), role="hub", path="/blobs/", times=None)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, response_timeout="60s")) as gateway:
        assert tag(gateway, child.digest).body == child.manifest
        wait_until(lambda: hub.count("hub", path="/blobs/") > 0, "a blob is asked for")
        gateway.stop()
    hub.release_stalls()
