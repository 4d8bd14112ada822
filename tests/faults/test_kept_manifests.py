"""Kept manifests against the real process: what is asked upstream and what is not, who gets what, and what survives."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY, config
from tests.faults.kept import wait_event
from tests.support import faults
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import DOCKER, Index, build_index
from tests.support.processes import free_port
from tests.support.registry_client import basic
from tests.support.waiting import wait_until

MANIFESTS = "/manifests/"
SHORT = "100ms"


@pytest.fixture
def image(hub: Hub) -> Index:
    index = build_index("kept")
    hub.add(REPOSITORY, "latest", index)
    return index


def kept(state: Path, hub: Hub, ttl: str = "60s", **more: Any) -> dict[str, Any]:
    settings = config(state, hub, **more)
    settings["cache"]["tag_ttl"] = ttl
    return settings


def tag(gateway: Gateway, name: str = "latest", **more: Any) -> Answer:
    return fetch(f"{gateway.url}/v2/app/manifests/{name}", **more)


def asked(hub: Hub) -> list[str]:
    return [f"{e.request.method} {e.request.path.rpartition('/')[2][:6]}" for e in hub.find("hub", path=MANIFESTS)]


def outcomes(gateway: Gateway, count: int) -> list[str]:
    """Those of the first requests for the tag; a line is written after its answer has left."""
    found: list[str] = []

    def are_all_there() -> bool:
        found[:] = [str(r["outcome"]) for r in gateway.log_records() if r.get("reference") == "latest"]
        return len(found) >= count

    wait_until(are_all_there, f"{count} lines of the tag", seen=lambda: found)
    return found


@pytest.fixture
def gateway(tmp_path: Path, hub: Hub, image: Index) -> Iterator[Gateway]:
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway).body == image.manifest
        hub.recorder.clear()
        yield gateway


def test_within_the_ttl_no_upstream_is_asked_not_even_for_a_digest(hub: Hub, gateway: Gateway, image: Index) -> None:
    for _ in range(3):
        answer = tag(gateway)
        assert (answer.status, answer.body) == (200, image.manifest)
        assert answer.header("docker-content-digest") == image.digest
        assert tag(gateway, method="HEAD").header("content-length") == str(len(image.manifest))
        assert tag(gateway, image.digest).body == image.manifest
        assert tag(gateway, headers=[("If-None-Match", image.digest)]).status == 304
    assert hub.find() == []
    assert set(outcomes(gateway, 10)) == {"miss", "hit"}


def test_a_child_of_an_index_is_fetched_once(hub: Hub, gateway: Gateway, image: Index) -> None:
    child = image.image("arm64")
    for _ in range(3):
        assert tag(gateway, child.digest).body == child.manifest
    assert asked(hub) == ["GET sha256"]


def test_after_the_ttl_a_head_is_enough_unless_the_tag_means_something_new(
    tmp_path: Path, hub: Hub, image: Index
) -> None:
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, SHORT)) as gateway:
        assert tag(gateway).body == image.manifest
        time.sleep(0.2)  # the TTL passes
        hub.recorder.clear()
        assert tag(gateway).body == image.manifest
        assert asked(hub) == ["HEAD latest"]
        newer = build_index("newer")
        hub.add(REPOSITORY, "latest", newer)
        time.sleep(0.2)  # the TTL passes
        hub.recorder.clear()
        assert tag(gateway).body == newer.manifest
        assert asked(hub) == ["HEAD latest", "GET sha256"]
    assert outcomes(gateway, 3) == ["miss", "revalidated", "miss"]


def test_a_pattern_gives_a_tag_a_ttl_of_its_own(tmp_path: Path, hub: Hub, image: Index) -> None:
    hub.add(REPOSITORY, "stable", image)
    settings = kept(tmp_path, hub)
    settings["cache"]["tag_ttls"] = {"docker.io/library/app:latest": "0s", "*": "1h"}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        assert tag(gateway).status == tag(gateway, "stable").status == 200
        hub.recorder.clear()
        for _ in range(3):
            assert tag(gateway).body == tag(gateway, "stable").body == image.manifest
        assert asked(hub) == ["HEAD latest"] * 3


def test_many_who_ask_at_once_are_one_request(tmp_path: Path, hub: Hub, image: Index) -> None:
    hub.script(faults.slow_first_byte(0.3), role="hub", path=MANIFESTS, times=None)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        bodies: list[bytes] = []
        threads = [threading.Thread(target=lambda: bodies.append(tag(gateway).body)) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert bodies == [image.manifest] * 30
    # the first one meets the challenge, the second one has the token; nothing is kept, so that no HEAD could save it
    assert asked(hub) == ["GET latest", "GET latest"]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_kept_tag_covers_a_failure_and_says_so(tmp_path: Path, hub: Hub, image: Index, status: int) -> None:
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, SHORT)) as gateway:
        assert tag(gateway).status == 200
        time.sleep(0.2)  # the TTL passes
        hub.recorder.clear()
        hub.script(faults.answer(status), role="hub", times=None)
        answer = tag(gateway)
        assert (answer.status, answer.body) == (200, image.manifest)
        assert answer.header("age") is not None
        assert [said[:3] for said in answer.header_list("warning")] == ["110", "299"]
        # a refused HEAD is not followed by a GET, which would cost what the upstream has just denied
        assert "GET latest" not in asked(hub)
        assert outcomes(gateway, 2) == ["miss", "stale"]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_kept_tag_never_covers_a_refusal(tmp_path: Path, hub: Hub, image: Index, status: int) -> None:
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, SHORT)) as gateway:
        assert tag(gateway).body == image.manifest
        time.sleep(0.2)  # the TTL passes
        hub.script(faults.answer(status), role="hub", times=None)
        assert tag(gateway).status == status
        if status != 404:  # what was kept is closed to the caller until the upstream says otherwise
            assert tag(gateway, image.digest).status == status


def test_a_missing_tag_is_asked_for_once_in_a_few_seconds(hub: Hub, gateway: Gateway) -> None:
    for _ in range(5):
        answer = tag(gateway, "none")
        assert (answer.status, answer.error_code) == (404, "MANIFEST_UNKNOWN")
    assert len(asked(hub)) == 1


def test_a_private_image_is_kept_for_those_who_may_have_it(tmp_path: Path, hub: Hub) -> None:
    private = build_index("private")
    hub.state.users.update(alice="a", bob="b")
    hub.add("me/secret", "latest", private, readers={"alice"})
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, login="upstream")) as gateway:

        def pull(*credentials: str) -> Answer:
            scope = f"{gateway.url}/token?scope=repository:me/secret:pull"
            token = fetch(scope, headers=[basic(*credentials)] if credentials else []).json()["token"]
            bearer = [("Authorization", f"Bearer {token}")]
            return fetch(f"{gateway.url}/v2/me/secret/manifests/{private.digest}", headers=bearer)

        assert pull("alice", "a").body == private.manifest
        for others in ((), ("bob", "b")):
            assert pull(*others).status == 401
        hub.recorder.clear()
        assert pull("alice", "a").body == private.manifest
        assert asked(hub) == []


def test_what_is_kept_survives_a_restart_and_the_upstream(tmp_path: Path, image: Index) -> None:
    port = free_port()
    with Hub() as hub:
        hub.add(REPOSITORY, "latest", image)
        settings = kept(tmp_path, hub, SHORT)
        with Gateway.start(tmp_path / "gateway", settings, port=port) as gateway:
            for digest in ("latest", image.digest, *(child.digest for child in image.images)):
                assert tag(gateway, digest).status == 200
    with Gateway.start(tmp_path / "gateway", settings, port=port) as gateway:
        answer = tag(gateway)
        assert (answer.status, answer.body) == (200, image.manifest)
        assert [said[:3] for said in answer.header_list("warning")] == ["110", "299"]
        for child in image.images:
            assert tag(gateway, child.digest).body == child.manifest
        assert tag(gateway, "other").status == 503


def test_an_old_client_gets_what_the_upstream_has_for_it(tmp_path: Path, hub: Hub, image: Index) -> None:
    old = [("Accept", DOCKER.manifest)]
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway, headers=old).body == image.manifest  # the stand-in does not convert
        assert tag(gateway).header("content-type") == image.media_type
    asked_for = [e.request.header("accept") for e in hub.find("hub", "GET", MANIFESTS)]
    assert DOCKER.manifest in asked_for, "the old client's own Accept never reached the upstream"


def test_what_the_upstream_has_for_an_old_client_is_asked_once(tmp_path: Path, hub: Hub, image: Index) -> None:
    converted = image.image("amd64")
    script = hub.script(
        faults.answer(200, converted.manifest, (("Content-Type", converted.media_type),)),
        role="hub",
        method="GET",
        path="/manifests/latest",
        skip=2,  # the challenge, and what the tag means
        times=1,
    )
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway).body == image.manifest
        old = [("Accept", f"{converted.media_type}, application/vnd.nobody.knows+json")]
        for more in ("", ", x/y", ", */x"):  # what else it says makes no difference
            answer = tag(gateway, headers=[(old[0][0], old[0][1] + more)])
            assert (answer.status, answer.body) == (200, converted.manifest)
            assert answer.header("docker-content-digest") == converted.digest
        assert tag(gateway, method="HEAD", headers=old).header("docker-content-digest") == converted.digest
        assert script.used == 1
        assert tag(gateway).body == image.manifest, "the tag still means what it means"


def test_a_client_that_reads_no_manifest_is_told_so_and_costs_nothing(hub: Hub, gateway: Gateway, image: Index) -> None:
    for number in range(5):
        answer = tag(gateway, headers=[("Accept", f"a/b{number}")])
        assert (answer.status, answer.error_code) == (404, "MANIFEST_UNKNOWN")
        assert image.media_type in answer.json()["errors"][0]["message"]
    assert hub.find() == []


def test_what_the_upstream_has_not_for_an_old_client_is_asked_once(hub: Hub, gateway: Gateway) -> None:
    script = hub.script(faults.answer(404), role="hub", method="GET", path="/manifests/latest", times=None)
    for _ in range(3):
        assert tag(gateway, headers=[("Accept", DOCKER.manifest)]).status == 404
    assert script.used == 1
    assert tag(gateway).status == 200


def test_a_broken_index_is_set_aside_and_pulls_go_on(tmp_path: Path, hub: Hub, image: Index) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "index.sqlite3").write_bytes(b"this is no database, it only looks long enough" * 100)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        for _ in range(3):
            assert tag(gateway).body == image.manifest
        hub.recorder.clear()
        assert tag(gateway).body == image.manifest
        assert asked(hub) == []
    assert (folder / "index.broken").exists()


def test_a_folder_that_takes_nothing_costs_the_cache_and_not_the_pull(tmp_path: Path, hub: Hub, image: Index) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "blobs").write_text("a file where the folder of the content should be")
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        for _ in range(3):
            assert tag(gateway).body == image.manifest
        wait_event(gateway, "store_failed")


def test_a_kept_file_that_was_altered_is_not_served(tmp_path: Path, hub: Hub, image: Index) -> None:
    settings = kept(tmp_path, hub)
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        assert tag(gateway).body == image.manifest
    digest = image.digest.removeprefix("sha256:")
    file = tmp_path / "data" / "blobs" / "sha256" / digest[:2] / digest
    assert file.read_bytes() == image.manifest
    file.write_bytes(image.manifest.replace(b"amd64", b"arm64"))
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        assert tag(gateway).body == image.manifest
