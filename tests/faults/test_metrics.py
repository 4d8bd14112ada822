"""`/metrics` of the real process: what is counted, who may read it, and that workers add up."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.conftest import REPOSITORY, config
from tests.faults.kept import events, wait_event
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import Image, build_image
from tests.support.waiting import wait_until

HERE = ["127.0.0.1/32"]
HIT = 'hubferry_requests_total{outcome="hit",status="200",upstream="docker.io"}'
MISS = 'hubferry_requests_total{outcome="miss",status="200",upstream="docker.io"}'


def counted(state: Path, hub: Hub, cache: Mapping[str, Any] = {}, **server: Any) -> dict[str, Any]:
    settings = config(state, hub)
    settings["cache"] |= {"prefetch": False, **cache}
    settings["server"] = {"metrics_from": HERE, **server}
    return settings


def counts(gateway: Gateway) -> dict[str, float]:
    answer = fetch(gateway.url + "/metrics")
    assert answer.status == 200
    assert (answer.header("content-type") or "").startswith("text/plain; version=0.0.4")
    lines = [line.rpartition(" ") for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def reach(gateway: Gateway, expected: Mapping[str, float]) -> dict[str, float]:
    """The counts once these are among them: a request is counted after its answer has left."""
    found: dict[str, float] = {}

    def is_there() -> bool:
        found.clear()
        found.update(counts(gateway))
        return all(found.get(name, 0) == value for name, value in expected.items())

    try:
        wait_until(is_there, "these counts")
    except AssertionError:
        assert {name: found.get(name, 0) for name in expected} == expected
    return found


@pytest.fixture
def image(hub: Hub) -> Image:
    image = build_image("counted")
    hub.add(REPOSITORY, "latest", image)
    return image


def add(hub: Hub, size_bytes: int, seed: int) -> Blob:
    blob = Blob.generated(size_bytes, seed=seed)
    hub.add_blob(REPOSITORY, blob)
    return blob


def url_of(gateway: Gateway, blob: Blob) -> str:
    return f"{gateway.url}/v2/app/blobs/{blob.digest}"


def test_hits_and_misses_and_what_they_cost(tmp_path: Path, hub: Hub, image: Image) -> None:
    blob = add(hub, 2 * MIB, 1)
    with Gateway.start(tmp_path / "gateway", counted(tmp_path, hub)) as gateway:
        tag = f"{gateway.url}/v2/app/manifests/latest"
        for url in (tag, tag, tag, url_of(gateway, blob)):
            assert fetch(url).status == 200
        kept = 'hubferry_fills_total{result="kept",upstream="docker.io"}'
        reach(gateway, {kept: 1})
        assert fetch(url_of(gateway, blob)).status == 200
        assert fetch(f"{gateway.url}/v2/app/manifests/none").status == 404
        found = reach(
            gateway,
            {
                HIT: 3,
                MISS: 2,
                'hubferry_requests_total{outcome="error",status="404",upstream="docker.io"}': 1,
                'hubferry_sent_bytes_total{outcome="hit",upstream="docker.io"}': 2 * len(image.manifest) + blob.size,
                'hubferry_sent_bytes_total{outcome="miss",upstream="docker.io"}': len(image.manifest) + blob.size,
            },
        )
        for name in ('wrong_content_total{upstream="docker.io"}', "store_failures_total", "index_failures_total"):
            assert found[f"hubferry_{name}"] == 0
        asked = sum(count for name, count in found.items() if name.startswith("hubferry_upstream_requests_total"))
        assert asked == len(hub.find()), "tokens and the CDN belong to the upstream"
        assert found['hubferry_upstream_requests_total{method="GET",status="307",upstream="docker.io"}'] == 1
        assert found['hubferry_upstream_bytes_total{upstream="docker.io"}'] >= blob.size + len(image.manifest)
        assert not any(secret in name for name in found for secret in ("library", "app", "127.0.0.1", "sha256"))


def test_challenges_are_counted_apart_from_refusals(tmp_path: Path, hub: Hub) -> None:
    settings = counted(tmp_path, hub)
    settings["access"] = {"login": "upstream"}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        for _ in range(2):
            assert fetch(f"{gateway.url}/v2/").status == 401
            assert fetch(f"{gateway.url}/v2/app/manifests/latest").status == 401
        wrong = [("Authorization", "Bearer made-up")]
        assert fetch(f"{gateway.url}/v2/app/manifests/latest", headers=wrong).status == 401
        reach(
            gateway,
            {
                'hubferry_requests_total{outcome="challenge",status="401",upstream=""}': 2,
                'hubferry_requests_total{outcome="challenge",status="401",upstream="docker.io"}': 2,
                'hubferry_requests_total{outcome="error",status="401",upstream="docker.io"}': 1,
            },
        )


def test_a_wrong_blob_is_counted_and_logged_with_both_digests(tmp_path: Path, hub: Hub) -> None:
    blob = add(hub, MIB, 2)
    hub.script(faults.flip_byte(0), role="cdn", times=None)
    with Gateway.start(tmp_path / "gateway", counted(tmp_path, hub)) as gateway:
        assert fetch(url_of(gateway, blob)).body != blob.data
        # a fill that fails before its first reader has come is tried again
        wait_event(gateway, "fill_wrong")
        wrong = events(gateway, "fill_wrong")
        reach(
            gateway,
            {
                'hubferry_fills_total{result="wrong",upstream="docker.io"}': len(wrong),
                'hubferry_wrong_content_total{upstream="docker.io"}': len(wrong),
            },
        )
        for record in wrong:
            assert (record["upstream"], record["digest"]) == ("docker.io", blob.digest)
            assert "sha256:" in record["problem"]
            assert blob.digest not in record["problem"]


def test_a_wrong_manifest_is_counted(tmp_path: Path, hub: Hub, image: Image) -> None:
    hub.script(faults.other_bytes(image.manifest.replace(b"{", b"{ ", 1)), method="GET", path="/manifests/", times=None)
    with Gateway.start(tmp_path / "gateway", counted(tmp_path, hub)) as gateway:
        assert fetch(f"{gateway.url}/v2/app/manifests/latest").status == 502
        reach(gateway, {'hubferry_wrong_content_total{upstream="docker.io"}': 1})


def test_what_cannot_be_kept_is_counted_once_each(tmp_path: Path, hub: Hub, image: Image) -> None:
    blob = add(hub, MIB, 3)
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("blobs", "partial"):
        (folder / name).write_text("a file where the folder should be")
    with Gateway.start(tmp_path / "gateway", counted(tmp_path, hub)) as gateway:
        assert fetch(f"{gateway.url}/v2/app/manifests/latest").body == image.manifest
        reach(gateway, {"hubferry_store_failures_total": 1})
        for failures in (2, 3):  # the second time nothing is tried, because the disk has just failed
            assert fetch(url_of(gateway, blob)).body == blob.data
            reach(gateway, {"hubferry_store_failures_total": failures})


def test_what_has_to_go_is_counted_and_logged(tmp_path: Path, hub: Hub) -> None:
    first, second = add(hub, 4 * MIB, 4), add(hub, 4 * MIB, 5)
    with Gateway.start(tmp_path / "gateway", counted(tmp_path, hub, {"max_size": "6MiB"})) as gateway:
        for number, blob in enumerate((first, second), 1):
            assert fetch(url_of(gateway, blob)).body == blob.data
            reach(gateway, {'hubferry_fills_total{result="kept",upstream="docker.io"}': number})
        reach(gateway, {"hubferry_evicted_files_total": 1, "hubferry_evicted_bytes_total": first.size})
        record = wait_event(gateway, "evicted")
        assert (record["files"], record["bytes"]) == (1, first.size)


def test_an_index_that_fails_is_counted(tmp_path: Path, hub: Hub) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "index.sqlite3").write_bytes(b"this is no database, it only looks long enough" * 100)
    with Gateway.start(tmp_path / "gateway", counted(tmp_path, hub)) as gateway:
        wait_until(lambda: counts(gateway)["hubferry_index_failures_total"] >= 1, "a failure is counted")


READERS: dict[str, tuple[dict[str, Any], list[tuple[str, str]], int]] = {
    # name: settings of the server, headers of a request from 127.0.0.1, status
    "nobody by default": ({"metrics_from": []}, [], 404),
    "somebody else": ({"metrics_from": ["192.0.2.0/24"]}, [], 404),
    "this machine": ({}, [], 200),
    "whoever says to be somebody else": ({"metrics_from": ["192.0.2.0/24"]}, [("X-Forwarded-For", "192.0.2.1")], 404),
    "whoever comes through an unknown proxy": ({}, [("X-Forwarded-For", "127.0.0.1")], 404),
    "whoever comes through one of another kind": ({}, [("Forwarded", "for=127.0.0.1")], 404),
    "a client of the trusted proxy": (
        {"metrics_from": ["192.0.2.0/24"], "trusted_proxies": HERE},
        [("X-Forwarded-For", "192.0.2.1")],
        200,
    ),
    "another client of the trusted proxy": ({"trusted_proxies": HERE}, [("X-Forwarded-For", "192.0.2.1")], 404),
}


@pytest.mark.parametrize(("server", "headers", "status"), READERS.values(), ids=READERS.keys())
def test_who_may_read_it(
    tmp_path: Path, hub: Hub, server: dict[str, Any], headers: list[tuple[str, str]], status: int
) -> None:
    with Gateway.start(tmp_path / "gateway", counted(tmp_path, hub, **server)) as gateway:
        answer = fetch(gateway.url + "/metrics", headers=headers)
        assert answer.status == status
        if status == 404:
            unknown = fetch(gateway.url + "/metricz", headers=headers)
            assert (unknown.status, unknown.body) == (404, answer.body.replace(b"/metrics", b"/metricz"))
            assert [name for name, _ in unknown.headers] == [name for name, _ in answer.headers]


def test_two_workers_add_up_also_after_one_has_died(tmp_path: Path, hub: Hub) -> None:
    unknown = 'hubferry_requests_total{outcome="local",status="404",upstream=""}'
    with Gateway.start(tmp_path / "gateway", counted(tmp_path, hub, workers=2)) as gateway:
        workers = [worker.pid for worker in psutil.Process(gateway.pid).children()]
        assert len(workers) == 2
        for number, stopped in enumerate(workers * 2, 1):
            os.kill(stopped, signal.SIGSTOP)  # the other one has to answer
            try:
                assert fetch(gateway.url + "/nothing").status == 404
                reach(gateway, {unknown: number})  # it counts after it has answered
            finally:
                os.kill(stopped, signal.SIGCONT)
        reach(gateway, {unknown: 4})
        os.kill(workers[0], signal.SIGKILL)
        wait_until(
            lambda: len({w.pid for w in psutil.Process(gateway.pid).children()} - set(workers)) == 1, "a new worker"
        )
        reach(gateway, {unknown: 4})


@pytest.mark.parametrize("workers", [1, 2])
def test_no_file_of_counts_is_left(tmp_path: Path, hub: Hub, workers: int) -> None:
    stray = tmp_path / "stray"
    stray.mkdir()
    env = {"PROMETHEUS_MULTIPROC_DIR": str(stray)}
    with Gateway.start(tmp_path / "gateway", counted(tmp_path, hub, workers=workers), env=env) as gateway:
        counts(gateway)
        assert len(folders(gateway)) == workers - 1
    assert folders(gateway) == []
    assert not list(stray.iterdir()), "somebody else's folder was written to"


def folders(gateway: Gateway) -> list[Path]:
    return list(Path("/dev/shm").glob(f"hubferry-counts-{gateway.pid}-*"))
