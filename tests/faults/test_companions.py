"""What is kept with an image so that any client can pull it next: after a pull of one platform, and after a warm-up.

The image is as BuildKit publishes it, with attestations, and with an SBOM and a signature for each part of it.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY
from tests.faults.test_kept_manifests import kept, tag
from tests.faults.test_prefetch import blob, hex_of, kept_blobs
from tests.support import faults
from tests.support.buildkit_images import Published, build_published
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.preloaded import run_hubferry
from tests.support.waiting import wait_until

AMD64 = "linux/amd64"


@pytest.fixture
def published(hub: Hub) -> Published:
    published = build_published("companions")
    published.push(hub.add, REPOSITORY, "latest")
    return published


@pytest.fixture
def settings(tmp_path: Path, hub: Hub) -> dict[str, Any]:
    settings = kept(tmp_path, hub)
    settings["cache"]["complete"] = True
    return settings


def pull(gateway: Gateway, published: Published) -> None:
    """What docker 20.10 asks for: no attestation, no referrers."""
    image = published.index.image("amd64")
    assert tag(gateway).body == published.index.manifest
    assert tag(gateway, image.digest).body == image.manifest
    for digest, content in image.blobs.items():
        assert blob(gateway, digest).body == content.data


def warm(settings: dict[str, Any], gateway: Gateway, *more: str) -> dict[str, Any]:
    command: list[str | Path] = [
        "warm",
        "app:latest",
        "--platform",
        AMD64,
        "--config",
        gateway.config_file,
        "--json",
        *more,
    ]
    env = {"PATH": os.environ["PATH"], "HOME": str(gateway.state)}
    ended = run_hubferry(*command, env=env)
    said: dict[str, Any] = json.loads(ended.stdout)
    return said["images"][0]  # type: ignore[no-any-return]


def expected(published: Published) -> set[str]:
    """The digests of everything that any client may ask for that pulls for amd64, or reads all of the index."""
    index = published.index
    digests = published.digests("amd64") | {one.digest for one in index.images}
    digests |= {one.config.digest for one in index.images}
    for subject in (index.digest, index.image("amd64").digest, published.attestation("amd64").digest):
        for referrer in published.referrers_of(subject):
            digests |= {referrer.digest, *referrer.blobs}
    return digests


@pytest.fixture(params=["pull", "warm"])
def bring(request: pytest.FixtureRequest) -> Callable[[dict[str, Any], Gateway, Published], None]:
    def bring(settings: dict[str, Any], gateway: Gateway, published: Published) -> None:
        if request.param == "pull":
            pull(gateway, published)
        else:
            result = warm(settings, gateway)
            assert result["warm"], result

    return bring


def ask_all(gateway: Gateway, published: Published, name: str = "latest") -> Iterator[tuple[str, Answer]]:
    """What the clients ask for that ask for most."""
    index = published.index
    for reference in (name, index.digest, *(one.digest for one in index.images)):
        yield f"manifests/{reference}", tag(gateway, reference)
    attested = published.attestation("amd64")
    for digest in [*index.image("amd64").blobs, *attested.blobs, *(one.config.digest for one in index.images)]:
        yield f"blobs/{digest}", blob(gateway, digest)
    for subject in (index.digest, index.image("amd64").digest, attested.digest):
        answer = fetch(f"{gateway.url}/v2/app/referrers/{subject}")
        yield f"referrers/{subject}", answer
        listed = {entry["digest"] for entry in answer.json()["manifests"]}
        assert listed == {one.digest for one in published.referrers_of(subject)}
        for referrer in published.referrers_of(subject):
            yield f"manifests/{referrer.digest}", tag(gateway, referrer.digest)
            for digest in referrer.blobs:
                yield f"blobs/{digest}", blob(gateway, digest)


def test_every_client_can_pull_it_next_without_the_upstream(
    tmp_path: Path,
    hub: Hub,
    settings: dict[str, Any],
    published: Published,
    bring: Callable[[dict[str, Any], Gateway, Published], None],
) -> None:
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        bring(settings, gateway, published)
        wait_until(lambda: hex_of(expected(published)) <= kept_blobs(tmp_path), "all of it is kept")
        hub.clear()
        for asked, answer in ask_all(gateway, published):
            assert answer.status == 200, asked
            assert hub.count() == 0, f"{asked}: {hub.recorder.transcript()}"
        fetched_layers = {layer.digest for layer in published.index.image("arm64").layers}
        assert not hex_of(fetched_layers) & kept_blobs(tmp_path), "the layers of other platforms are not wanted"
    settings["cache"]["tag_ttl"] = "0s"
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        hub.script(faults.answer(503), role="hub", times=None)
        for asked, answer in ask_all(gateway, published):
            assert answer.status == 200, asked


def test_a_registry_with_tags_in_the_place_of_referrers(
    tmp_path: Path, hub: Hub, settings: dict[str, Any], published: Published
) -> None:
    published.push(hub.add, REPOSITORY, "latest", fallback_tags=True)
    hub.script(faults.answer(404), role="hub", path="/referrers/", times=None)
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        pull(gateway, published)
        wait_until(lambda: hex_of(expected(published)) <= kept_blobs(tmp_path), "all of it is kept")
        subject = published.index.digest
        wait_until(lambda: not open_requests(hub), "the end of every request")
        hub.clear()
        for answer in (fetch(f"{gateway.url}/v2/app/referrers/{subject}"), tag(gateway, subject.replace(":", "-"))):
            listed = {entry["digest"] for entry in answer.json()["manifests"]}
            assert listed == {one.digest for one in published.referrers_of(subject)}
        assert hub.count() == 0


def open_requests(hub: Hub) -> bool:
    return any(exchange.state == "open" for exchange in hub.find())


def test_it_is_fetched_once_for_many_pulls(
    tmp_path: Path, hub: Hub, settings: dict[str, Any], published: Published
) -> None:
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        pull(gateway, published)
        wait_until(lambda: hex_of(expected(published)) <= kept_blobs(tmp_path), "all of it is kept")
        asked = [exchange.request.target for exchange in hub.find("hub", "GET") if exchange.status == 200]
        assert len(asked) == len(set(asked)), "each part once"
        hub.recorder.clear()
        for _ in range(3):
            pull(gateway, published)
        assert hub.count() == 0


def test_when_little_is_left_of_the_limit_other_platforms_are_left_out(
    tmp_path: Path, hub: Hub, settings: dict[str, Any], published: Published
) -> None:
    hub.state.pull_limit = 3  # index and image take two, which leaves a third: that is for the attestation
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        pull(gateway, published)
        wait_until(lambda: hex_of(published.attestation("amd64").blobs) <= kept_blobs(tmp_path), "all of it is kept")
        wait_until(lambda: hub.count("hub", path="/referrers/") == 3, "three lists of referrers are asked for")
        assert hub.count("hub", "GET", "/manifests/sha256:") == 2, hub.recorder.transcript()
        assert hub.state.pulls["127.0.0.1"] == 3


def test_what_refers_to_it_is_bounded(tmp_path: Path, hub: Hub, settings: dict[str, Any], published: Published) -> None:
    settings["warm"] = {"referrers": "0B"}
    settings["cache"]["complete"] = False
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        result = warm(settings, gateway)
        assert result["warm"], result
        assert hub.count("hub", path="/referrers/") == 0
        assert hex_of(published.attestation("amd64").blobs) <= kept_blobs(tmp_path)
    settings["warm"] = {"referrers": "1KiB"}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        result = warm(settings, gateway)
        assert result["warm"], result
        assert any("warm.referrers" in text for text in result["skipped"])


def test_a_companion_that_the_upstream_does_not_have_is_named_and_no_failure(
    tmp_path: Path, hub: Hub, settings: dict[str, Any], published: Published
) -> None:
    gone = published.index.image("arm64").digest
    del hub.state.repositories[REPOSITORY].manifests[gone]
    settings["cache"]["complete"] = False
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        result = warm(settings, gateway)
        assert result["warm"], result
        assert any(text.startswith(gone) for text in result["skipped"])


def test_a_companion_that_cannot_be_had_now_is_a_failure_after_the_layers(
    tmp_path: Path, hub: Hub, settings: dict[str, Any], published: Published
) -> None:
    settings["cache"]["complete"] = False
    hub.script(faults.answer(503), role="hub", path="/referrers/", times=None)
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        result = warm(settings, gateway)
        assert not result["warm"]
        assert "503" in result["problems"][0]
        assert hex_of(published.index.image("amd64").blobs) <= kept_blobs(tmp_path)


def test_it_can_be_switched_off(tmp_path: Path, hub: Hub, settings: dict[str, Any], published: Published) -> None:
    settings["cache"]["complete"] = False
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        pull(gateway, published)
    image = published.index.image("amd64")
    asked = {exchange.request.path.rpartition("/")[2] for exchange in hub.find("hub", "GET")}
    assert asked == {"latest", image.digest, *image.blobs}
