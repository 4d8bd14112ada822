"""Mirrors against the real process: who is asked while the upstream is silent, broken or honest, and liars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY
from tests.faults.kept import check_folder, is_whole, wait_event
from tests.faults.test_kept_manifests import kept, tag
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import Index, build_index
from tests.support.registry_client import basic
from tests.support.waiting import wait_until

BLOB = Blob.generated(4 * MIB, 77)


@pytest.fixture
def mirror() -> Iterator[Hub]:
    with Hub() as mirror:
        mirror.add_blob(REPOSITORY, BLOB)
        yield mirror


@pytest.fixture
def image(hub: Hub, mirror: Hub) -> Index:
    index = build_index("mirrored")
    for each in (hub, mirror):
        each.add(REPOSITORY, "latest", index)
    hub.add_blob(REPOSITORY, BLOB)
    return index


def mirrored(tmp_path: Path, hub: Hub, mirror: Hub, **more: Any) -> dict[str, Any]:
    settings = kept(tmp_path, hub, mirrors=[mirror.url], **more)
    settings["cache"]["prefetch"] = False
    return settings


def blob_url(gateway: Gateway) -> str:
    return f"{gateway.url}/v2/app/blobs/{BLOB.digest}"


def test_a_hung_upstream_is_waited_for_once(tmp_path: Path, hub: Hub, mirror: Hub, image: Index) -> None:
    hub.script(faults.stall(), role="hub", times=None)
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror, response_timeout="25s")) as gateway:
        assert tag(gateway).body == image.manifest
        for platform in ("amd64", "arm64"):
            child = image.image(platform)
            assert tag(gateway, child.digest).body == child.manifest
            for digest, blob in child.blobs.items():
                assert is_whole(fetch(f"{gateway.url}/v2/app/blobs/{digest}"), blob)
        assert hub.count("hub") <= 3, "those after the first one are asked beside it, when its pause is over"
    hub.release_stalls()


def test_while_the_upstream_answers_a_tag_means_what_it_says(
    tmp_path: Path, hub: Hub, mirror: Hub, image: Index
) -> None:
    mirror.add(REPOSITORY, "latest", build_index("an older one"))
    hub.script(faults.slow_first_byte(0.5), role="hub", times=None)
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        assert tag(gateway).body == image.manifest
        assert mirror.count() == 0


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_the_upstream_cannot_give_a_mirror_does(
    tmp_path: Path, hub: Hub, mirror: Hub, image: Index, status: int
) -> None:
    hub.script(faults.answer(status), role="hub", times=None)
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        assert tag(gateway).body == image.manifest
        assert is_whole(fetch(blob_url(gateway)), BLOB)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_upstream_refuses_no_mirror_gives(
    tmp_path: Path, hub: Hub, mirror: Hub, image: Index, status: int
) -> None:
    assert image.digest
    hub.script(faults.answer(status), role="hub", times=None)
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        assert tag(gateway).status == status
        assert fetch(blob_url(gateway)).status == status
        assert mirror.count() == 0


def test_a_download_goes_on_at_a_mirror_where_the_upstream_left_off(
    tmp_path: Path, hub: Hub, mirror: Hub, image: Index
) -> None:
    assert image.digest
    hub.script(faults.cut(MIB, "rst"), role="cdn")
    hub.script(faults.hang_up(), role="cdn", times=None)
    hub.script(faults.answer(503), role="hub", path="/blobs/", skip=2, times=None)
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        assert is_whole(fetch(blob_url(gateway)), BLOB)
        (resumed,) = mirror.find("cdn", "GET")
        asked_for = resumed.request.header("range") or ""
        assert asked_for.startswith("bytes=")
        assert 0 < int(asked_for[6:].partition("-")[0]) <= MIB
    check_folder(tmp_path / "data")


def test_a_mirror_that_gives_wrong_bytes_is_left_out(tmp_path: Path, hub: Hub, mirror: Hub, image: Index) -> None:
    assert image.digest
    mirror.script(faults.flip_byte(3 * MIB), role="cdn", times=None)
    hub.script(faults.answer(503), role="hub", path="/blobs/")
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        assert not is_whole(fetch(blob_url(gateway)), BLOB)
        event = wait_event(gateway, "mirror_distrusted", upstream="docker.io")
        assert event["mirror"] == mirror.url
        asked = mirror.count("hub")
        assert is_whole(fetch(blob_url(gateway)), BLOB)
        assert mirror.count("hub") == asked
    check_folder(tmp_path / "data")


def test_a_manifest_that_a_mirror_made_up_is_asked_for_elsewhere(
    tmp_path: Path, hub: Hub, mirror: Hub, image: Index
) -> None:
    child = image.image("amd64")
    mirror.script(faults.other_bytes(image.image("arm64").manifest), role="hub", path=child.digest, times=None)
    hub.script(faults.answer(503), role="hub", path=child.digest)
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        assert tag(gateway, child.digest).body == child.manifest
        assert wait_event(gateway, "mirror_distrusted")["mirror"] == mirror.url


def test_a_manifest_that_breaks_off_is_asked_for_again(tmp_path: Path, hub: Hub, mirror: Hub, image: Index) -> None:
    hub.script(faults.cut(100, "rst"), role="hub", method="GET", path="/manifests/latest")
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        assert tag(gateway).body == image.manifest
        assert mirror.count() == 0


ALICE = [basic("alice", "a-secret")]


@pytest.fixture
def private(hub: Hub) -> Index:
    """Alice's, on the upstream; the mirror may hold something else under its name."""
    hub.state.users["alice"] = "a-secret"
    index = build_index("alice's")
    hub.add(REPOSITORY, "latest", index, readers={"alice"})
    return index


def test_a_mirror_opens_nothing_that_was_fetched_behind_a_login(
    tmp_path: Path, hub: Hub, mirror: Hub, private: Index
) -> None:
    elsewhere = build_index("public, under the same name")
    mirror.add(REPOSITORY, "other", elsewhere)
    child = private.image("amd64")
    paths = ["manifests/latest", f"manifests/{child.digest}", *(f"blobs/{digest}" for digest in child.blobs)]
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        urls = [f"{gateway.url}/v2/app/{path}" for path in paths]
        assert {fetch(url, headers=ALICE).status for url in urls} == {200}
        assert {fetch(url).status for url in urls} == {401}
        hub.script(faults.answer(503), role="hub", times=None)
        assert fetch(f"{gateway.url}/v2/app/manifests/other").status == 503
        assert 200 not in {fetch(url).status for url in urls}
        hub.clear()
        assert {fetch(url).status for url in urls} == {401}
        assert mirror.count() == 0


def test_nobodys_private_image_is_asked_of_a_mirror(tmp_path: Path, hub: Hub, mirror: Hub, private: Index) -> None:
    mirror.add(REPOSITORY, "latest", build_index("somebody else's"))
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        hub.script(faults.answer(429, b"", (("Retry-After", "1"),)), role="hub", path="/manifests/")
        assert tag(gateway, headers=ALICE).status == 429
        hub.clear()
        wait_until(lambda: tag(gateway, headers=ALICE).status == 200, "that the limit ends")
        assert tag(gateway, headers=ALICE).body == private.manifest
        assert mirror.count() == 0


def test_what_only_a_mirror_showed_is_kept_for_everybody_until_somebody_logs_in(
    tmp_path: Path, hub: Hub, mirror: Hub, image: Index
) -> None:
    hub.state.users["alice"] = "a-secret"
    hub.script(faults.hang_up(), role="hub", times=None)
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        assert tag(gateway).body == image.manifest
        asked = mirror.count()
        assert tag(gateway).body == image.manifest
        assert mirror.count() == asked, "it is kept, and open"
        hub.clear()
        other = build_index("other")
        hub.add(REPOSITORY, "other", other)
        wait_until(lambda: tag(gateway, "other", headers=ALICE).body == other.manifest, "that the upstream is back")
        asked = mirror.count()
        # whether it is open to everybody is for the upstream to say from now on, and it does
        assert tag(gateway).body == image.manifest
        assert mirror.count() == asked


def test_an_upstream_that_was_slow_once_is_asked_again(tmp_path: Path, hub: Hub, mirror: Hub, image: Index) -> None:
    mirror.add(REPOSITORY, "latest", build_index("an older one"))
    settings = mirrored(tmp_path, hub, mirror, response_timeout="20s")
    settings["cache"]["tag_ttl"] = "50ms"
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        assert tag(gateway).body == image.manifest
        hub.script(faults.slow_first_byte(3), role="hub")
        wait_until(lambda: tag(gateway).body != image.manifest, "that the mirror is asked")
        wait_until(lambda: tag(gateway).body == image.manifest, "that the upstream is asked again")


def test_a_mirror_that_is_only_a_page_any_more_is_passed_over(
    tmp_path: Path, hub: Hub, mirror: Hub, image: Index
) -> None:
    page = faults.answer(200, b"<html>gone</html>", (("Content-Type", "text/html; charset=utf-8"),))
    hub.script(faults.answer(503), role="hub", times=None)
    with Hub() as gone:
        gone.script(page, role="hub", times=None)
        settings = mirrored(tmp_path, hub, mirror)
        settings["upstreams"]["docker.io"]["mirrors"] = [gone.url, mirror.url]
        with Gateway.start(tmp_path / "gateway", settings) as gateway:
            assert tag(gateway).body == image.manifest
            assert is_whole(fetch(blob_url(gateway)), BLOB)


def test_what_the_upstream_closed_no_mirror_opens_again(tmp_path: Path, hub: Hub, mirror: Hub) -> None:
    other = Blob.generated(100_000, 5)
    for each in (hub, mirror):
        each.add_blob(REPOSITORY, other)
    hub.add_blob(REPOSITORY, BLOB)
    with Gateway.start(tmp_path / "gateway", mirrored(tmp_path, hub, mirror)) as gateway:
        other_url = f"{gateway.url}/v2/app/blobs/{other.digest}"
        assert is_whole(fetch(blob_url(gateway)), BLOB)
        hub.clear()
        hub.script(faults.answer(401), role="hub", times=None)
        assert {fetch(other_url).status, fetch(blob_url(gateway)).status} == {401}
        hub.clear()
        hub.script(faults.answer(503), role="hub", times=None)
        assert fetch(other_url).status == 503
        hub.clear()
        hub.script(faults.answer(401), role="hub", times=None)
        assert fetch(blob_url(gateway)).status == 401
        assert mirror.count() == 0
