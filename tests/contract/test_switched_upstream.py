"""The upstream of the matrix does in each of its states what it says, and lists referrers as is specified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.buildkit_images import BUNDLE, SBOM, build_published
from tests.support.http import fetch
from tests.support.registry_client import RegistryClient
from tests.support.switched_upstream import UPSTREAM_STATES, SwitchedUpstream, UpstreamState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.buildkit_images import Published

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def published() -> Published:
    return build_published("switched")


@pytest.fixture(scope="module")
def switched(state_dir: Path, published: Published) -> Iterator[SwitchedUpstream]:
    with SwitchedUpstream(state_dir / "switched") as upstream:
        published.push(upstream.push, "team/app", "1", fallback_tags=True)
        yield upstream


def test_everything_that_is_published_can_be_had(switched: SwitchedUpstream, published: Published) -> None:
    client = RegistryClient(switched.url)
    assert client.pull("team/app", "1") == published.index.digest
    for image in (*published.index.images, *published.referrers):
        assert client.manifest("team/app", image.digest).body == image.manifest
        for digest, blob in image.blobs.items():
            assert client.blob("team/app", digest).body == blob.data


def test_referrers_are_listed_by_the_api_and_by_fallback_tags(switched: SwitchedUpstream, published: Published) -> None:
    client = RegistryClient(switched.url)
    for subject in (published.index.digest, published.attestation("amd64").digest):
        wanted = {(one.digest, kind) for one, kind in zip(published.referrers_of(subject), (SBOM, BUNDLE), strict=True)}
        for path in (f"referrers/{subject}", f"manifests/{subject.replace(':', '-')}"):
            answer = client.get(f"/v2/team/app/{path}")
            listed = answer.json()["manifests"]
            assert answer.header("Content-Type") == "application/vnd.oci.image.index.v1+json"
            assert {(entry["digest"], entry["artifactType"]) for entry in listed} == wanted
    nobody = published.referrers[0].digest
    assert client.get(f"/v2/team/app/referrers/{nobody}").json()["manifests"] == []
    assert client.get(f"/v2/team/app/manifests/{nobody.replace(':', '-')}").status == 404


@pytest.mark.parametrize("state", UPSTREAM_STATES)
def test_each_state_is_entered_and_left(switched: SwitchedUpstream, published: Published, state: UpstreamState) -> None:
    paths = (f"/v2/team/app/manifests/{published.index.digest}", f"/v2/team/app/referrers/{published.index.digest}")
    switched.switch(state)
    try:
        switched.forget()
        before = switched.connections
        seen = [_status(switched.url + path) for path in paths]
    finally:
        switched.switch("up")
    expected = {
        "up": [200, 200],
        "down": ["refused", "refused"],
        "silent": ["silent", "silent"],
        "429": [429, 429],
        "503": [503, 503],
        "no referrers API": [200, 404],
    }
    assert seen == expected[state]
    assert len(switched.asked) == (0 if state in ("down", "silent") else 2)
    assert switched.connections - before == (0 if state == "down" else 2)
    assert [_status(switched.url + path) for path in paths] == [200, 200]


def _status(url: str) -> int | str:
    try:
        return fetch(url, timeout_s=0.3).status
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
