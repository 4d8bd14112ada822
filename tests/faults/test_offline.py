"""An upstream that is gone or silent: what is kept is served at once, the server starts, and it recovers by itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY
from tests.faults.test_kept_manifests import asked, kept, tag
from tests.support import faults
from tests.support.content import Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import Index, build_index
from tests.support.registry_client import RegistryClient
from tests.support.waiting import wait_until

TAGS = 40
SLOW: dict[str, Any] = {"response_timeout": "25s", "connect_timeout": "25s"}


@pytest.fixture
def images(hub: Hub) -> dict[str, Index]:
    found = {f"v{number}": build_index(f"offline {number}") for number in range(TAGS)}
    for name, index in found.items():
        hub.add(REPOSITORY, name, index)
    return found


def test_a_silent_upstream_costs_one_moment_and_not_one_for_each_tag(
    tmp_path: Path, hub: Hub, images: dict[str, Index]
) -> None:
    blob = Blob.generated(100_000, 3)
    hub.add_blob(REPOSITORY, blob)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, "500ms", **SLOW)) as gateway:
        for name, index in images.items():
            assert tag(gateway, name).body == index.manifest
        assert fetch(f"{gateway.url}/v2/app/blobs/{blob.digest}").body == blob.data
        time.sleep(0.6)  # the TTL passes
        hub.recorder.clear()
        hub.script(faults.stall(), role="hub", times=None)
        begun = time.monotonic()
        for name, index in images.items():
            answer = tag(gateway, name, timeout_s=20)
            assert answer.body == index.manifest
            assert [said[:3] for said in answer.header_list("warning")] == ["110", "299"]
        taken_s = time.monotonic() - begun
        assert fetch(f"{gateway.url}/v2/app/blobs/{blob.digest}").body == blob.data
        # one waited, and a few more tried while the others were answered; each alone would have waited for all
        assert len(asked(hub)) <= 4
        assert taken_s < TAGS
        hub.clear()
        hub.release_stalls()
        newer = build_index("newer")
        hub.add(REPOSITORY, "v0", newer)
        wait_until(lambda: tag(gateway, "v0").body == newer.manifest, "that it recovers by itself")


def test_it_starts_and_serves_without_its_upstream_and_recovers(tmp_path: Path) -> None:
    index = build_index("kept")
    with Hub() as first:
        first.add(REPOSITORY, "latest", index)
        settings = kept(tmp_path, first, "100ms")
        port = first.servers[0].port
        with Gateway.start(tmp_path / "one", settings) as gateway:
            assert tag(gateway).body == index.manifest
            child = index.image("amd64")
            assert tag(gateway, child.digest).body == child.manifest
            for digest, blob in child.blobs.items():
                assert fetch(f"{gateway.url}/v2/app/blobs/{digest}").body == blob.data
    assert port
    with Gateway.start(tmp_path / "two", settings) as gateway:
        for _ in range(3):
            answer = tag(gateway)
            assert answer.body == index.manifest
            assert [said[:3] for said in answer.header_list("warning")] == ["110", "299"]
        assert tag(gateway, child.digest).body == child.manifest
        for digest, blob in child.blobs.items():
            assert fetch(f"{gateway.url}/v2/app/blobs/{digest}").body == blob.data
        # what is not kept says why, and so does everybody's next attempt
        for _ in range(2):
            answer = tag(gateway, "unknown")
            assert answer.status == 503
            assert "cannot be reached from this gateway" in answer.json()["errors"][0]["message"]


def test_a_head_leaves_nothing_that_a_get_would_not_wait_for(tmp_path: Path, hub: Hub) -> None:
    """What a HEAD said is kept without the content: it covers no failure, so that a slow upstream is waited for."""
    index = build_index("only its head")
    hub.add(REPOSITORY, "latest", index)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, **SLOW)) as gateway:
        assert tag(gateway, method="HEAD").status == 200
        hub.script(faults.slow_first_byte(2.5), role="hub", times=None)
        assert tag(gateway).body == index.manifest


def test_a_login_is_not_waited_for_while_the_upstream_is_silent(tmp_path: Path, hub: Hub) -> None:
    """Whoever logs in has what is open to everybody meanwhile."""
    index = build_index("public")
    hub.state.users["alice"] = "a-secret"
    hub.add(REPOSITORY, "latest", index)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, "100ms", login="upstream", **SLOW)) as gateway:
        assert RegistryClient(gateway.url).get("/v2/app/manifests/latest").body == index.manifest
        time.sleep(0.2)  # the TTL passes
        hub.script(faults.stall(), times=None)
        begun = time.monotonic()
        for _ in range(3):
            client = RegistryClient(gateway.url, credentials=("alice", "a-secret"))
            assert client.get("/v2/app/manifests/latest").body == index.manifest
        assert time.monotonic() - begun < 20, "less than one time-out of the upstream for all of it"
    hub.release_stalls()
