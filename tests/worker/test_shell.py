"""The Worker alone: its variables, its cache, and what goes wrong around it."""

from __future__ import annotations

import base64
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.kept import events, wait_event
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import upstream
from tests.support.http import fetch
from tests.support.images import build_index
from tests.support.registry_client import RegistryClient
from tests.support.shell import settled_log
from tests.support.waiting import wait_until
from tests.support.worker import Deployment, Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Deploy
    from tests.support.hub import Hub


pytestmark = pytest.mark.worker_alone

SMALL = 200 * 1024  # less than the largest blob that is copied


def config(hub: Hub, *, cache: dict[str, Any] | None = None, login: str = "upstream", **more: Any) -> dict[str, Any]:
    docker = upstream(hub.url, default=True, library=True, **more)
    return {
        "access": {"login": login},
        "cache": cache or {},
        "upstreams": {"only": True, "docker.io": docker},
    }


def wait_until_kept(worker: Deployment, ask: Callable[[], object]) -> None:
    """Ask for something until the cache has it: no answer waits for what the platform does after it."""

    def is_kept() -> bool:
        ask()
        return outcomes(worker)[-1:] == ["hit"]

    wait_until(is_kept, "kept")


def outcomes(worker: Deployment) -> list[str]:
    """Those of what a test asked for: while a Worker starts, it is asked how it is."""
    requests = [record for record in settled_log(worker) if record["event"] == "request"]
    return [record["outcome"] for record in requests if record["path"] != "/healthz"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HUBFERRY_ACCESS__TOKEN_KEY": ""}, "uv run pywrangler secret put HUBFERRY_ACCESS__TOKEN_KEY"),
        ({"HUBFERRY_ACCESS__TOKEN_KEY": "too short"}, "access.token_key: the log of this Worker says why"),
        ({"HUBFERRY_ACCESS__LOGIN": "too short"}, "access.login: the log of this Worker says why"),
        ({"HUBFERRY_CACHE__ENABLED": False}, "HUBFERRY_CACHE__ENABLED: its value is no text"),
        ({"HUBFERRY_CACHE__DIR": "/data"}, "cache.dir: it has no meaning on Cloudflare Workers"),
        ({"HUBFERRY_CACHE__MAX_SIZE": "20"}, "cache.max_size: the log of this Worker says why"),
        ({"HUBFERRY_CACHE__MAX_COPIED": "65MiB"}, "cache.max_copied: 64MiB is the most"),
        ({"HUBFERRY_WARM__IMAGES": "nginx"}, "warm.images: it has no meaning on Cloudflare Workers"),
        ({"HUBFERRY_SERVER__PUBLIK_URL": "x"}, "server.publik_url: the log of this Worker says why"),
        ({"HUBFERRY_UPSTREAMS__DOCKER_IO__PROXY": "http://p:1"}, "proxy: it has no meaning"),
    ],
)
def test_variables_that_cannot_be_used_are_what_every_answer_says(
    deploy: Deploy, variables: dict[str, Any], words: str
) -> None:
    worker = deploy({}, env=variables)
    for path in ("/v2/", "/", "/healthz"):
        answer = fetch(worker.url + path)
        assert (answer.status, answer.error_code) == (500, "UNKNOWN")
        assert words in answer.json()["errors"][0]["message"]
        assert "too short" not in answer.body.decode()
    wait_event(worker, "misconfigured")
    assert len(events(worker, "misconfigured")) == 1


def test_variables_of_others_are_left_alone(deploy: Deploy) -> None:
    assert fetch(deploy({}, env={"OTHER": "1"}).url + "/healthz").status == 200


def test_what_was_pulled_once_is_kept(hub: Hub, deploy: Deploy) -> None:
    index = build_index("kept")
    digest = hub.add("library/nginx", "1", index)
    worker = deploy(config(hub))
    client = RegistryClient(worker.url)
    assert client.pull("nginx", "1") == digest
    layer = index.image("amd64").layers[0].digest

    wait_until_kept(worker, lambda: client.blob("nginx", layer))
    hub.clear()
    assert client.pull("nginx", "1") == digest
    assert hub.find() == []
    another = client.blob("nginx", layer)
    assert another.header("Content-Length") == str(len(another.body))
    assert another.header("Docker-Content-Digest") == layer


def test_off_by_a_variable(hub: Hub, deploy: Deploy) -> None:
    hub.add("library/nginx", "1", build_index("off"))
    worker = deploy(config(hub, cache={"enabled": False}))
    client = RegistryClient(worker.url)
    client.pull("nginx", "1")
    seen = hub.count("cdn")
    client.pull("nginx", "1")
    assert hub.count("cdn") == 2 * seen
    assert "hit" not in outcomes(worker)


def test_a_tag_is_asked_for_again_after_its_ttl(hub: Hub, deploy: Deploy) -> None:
    first = hub.add("library/nginx", "1", build_index("first"))
    client = RegistryClient(deploy(config(hub, cache={"tag_ttl": "1s"})).url)
    assert client.manifest("nginx", "1").header("Docker-Content-Digest") == first
    second = hub.add("library/nginx", "1", build_index("second"))
    assert second != first
    wait_until(lambda: client.manifest("nginx", "1").header("Docker-Content-Digest") == second, "the second image")


def test_a_kept_private_image_is_for_those_who_may_have_it(hub: Hub, deploy: Deploy) -> None:
    hub.state.users |= {"alice": "secret", "bob": "other"}
    index = build_index("private")
    hub.add("alice/app", "1", index, readers={"alice"})
    layer = index.image("amd64").layers[0].digest
    worker = deploy(config(hub))
    alice = RegistryClient(worker.url, credentials=("alice", "secret"))
    alice.pull("alice/app", "1")

    wait_until_kept(worker, lambda: alice.blob("alice/app", layer))
    for client in (RegistryClient(worker.url), RegistryClient(worker.url, credentials=("bob", "other"))):
        assert client.manifest("alice/app", "1").status in (401, 403, 404)
        assert client.manifest("alice/app", index.image("amd64").digest).status in (401, 403, 404)
        assert client.blob("alice/app", layer).status in (401, 403, 404)


def test_a_blob_that_is_wrong_is_not_kept(hub: Hub, deploy: Deploy) -> None:
    blob = Blob.generated(SMALL, seed=11)
    hub.add_blob("library/nginx", blob)
    worker = deploy(config(hub, login="open"))
    url = f"{worker.url}/v2/nginx/blobs/{blob.digest}"
    hub.script(faults.flip_byte(1000), role="cdn", path="/data")
    assert fetch(url).body != blob.data, "a client that pulls through sees it and refuses it"
    wait_event(worker, "content_wrong")
    assert fetch(url).body == blob.data
    assert outcomes(worker)[-1] == "miss"


def test_a_copy_that_is_gone_vouches_for_no_other(hub: Hub, deploy: Deploy) -> None:
    """A data centre drops what it likes, such as a body and not the marker beside it."""
    blob = Blob.generated(SMALL, seed=14)
    hub.add_blob("library/nginx", blob)
    worker = deploy(config(hub, login="open"))
    if not worker.evicts:
        pytest.skip("nothing makes the real runtime drop what it keeps: this one runs on Node only")
    url = f"{worker.url}/v2/nginx/blobs/{blob.digest}"

    wait_until_kept(worker, lambda: fetch(url))
    worker.process.signal(signal.SIGUSR2)
    wait_event(worker, "evicted")
    hub.script(faults.flip_byte(1000), role="cdn", path="/data")
    hits = outcomes(worker).count("hit")
    assert fetch(url).body != blob.data
    for _ in range(3):
        assert fetch(url).body == blob.data
    wait_event(worker, "content_wrong")
    assert fetch(url).body == blob.data
    assert outcomes(worker)[-5] == "miss"
    assert hits >= 1


@pytest.mark.parametrize("depth", [5_000, 200_000])
def test_what_is_nested_for_ever_harms_nobody_else(hub: Hub, deploy: Deploy, depth: int) -> None:
    """CPython ends that with RecursionError; the runtime's Python would be lost, and every request after it."""
    hub.add("library/nginx", "1", build_index("deep"))
    worker = deploy(config(hub, login="open"))
    nested = b"[" * depth + b"]" * depth
    hub.script(faults.other_bytes(nested), role="hub", path="/manifests/", times=None)
    assert fetch(f"{worker.url}/v2/nginx/manifests/1").status == 502
    hub.script(faults.other_bytes(nested), role="hub", path="/tags/list", times=None)
    assert fetch(f"{worker.url}/v2/nginx/tags/list").status == 502
    assert fetch(f"{worker.url}/healthz").status == 200


def test_a_token_that_is_nested_for_ever_is_refused(deploy: Deploy) -> None:
    worker = deploy({})
    header = base64.urlsafe_b64encode(b"[" * 6000).decode()
    answer = fetch(f"{worker.url}/v2/nginx/manifests/1", headers=[("Authorization", f"Bearer {header}..a.b.c")])
    assert answer.status == 401
    assert fetch(f"{worker.url}/healthz").status == 200


def test_a_blob_that_breaks_off_is_visibly_cut_and_not_kept(hub: Hub, deploy: Deploy) -> None:
    blob = Blob.generated(4 * MIB, seed=12)
    hub.add_blob("library/nginx", blob)
    worker = deploy(config(hub, login="open", cache={"max_copied": "8MiB"}))
    url = f"{worker.url}/v2/nginx/blobs/{blob.digest}"
    hub.script(faults.cut(MIB), role="cdn", path="/data")
    broken = fetch(url)
    assert broken.ended != "complete"
    assert blob.data.startswith(broken.body)
    whole = fetch(url)
    assert (whole.ended, whole.body) == ("complete", blob.data)
    wait_until(lambda: outcomes(worker) == ["miss", "miss"], "two lines, both a miss", seen=lambda: outcomes(worker))


@pytest.mark.parametrize(
    ("size_bytes", "cache"), [(256 * 1024 + 1, {}), (65 * MIB, {"max_copied": "64MiB"}), (1, {"max_copied": "0B"})]
)
def test_a_blob_larger_than_is_copied_passes_through(
    hub: Hub, deploy: Deploy, size_bytes: int, cache: dict[str, str]
) -> None:
    blob = Blob.generated(size_bytes, seed=13)
    hub.add_blob("library/nginx", blob)
    worker = deploy(config(hub, login="open", cache=cache))
    url = f"{worker.url}/v2/nginx/blobs/{blob.digest}"
    for _ in range(3):
        assert fetch(url).body == blob.data
        time.sleep(0.2)  # in which it would be copied
    assert hub.count("cdn") == 3


@pytest.mark.parametrize(("size_bytes", "cache"), [(256 * 1024, {}), (5 * MIB + 17, {"max_copied": "8MiB"})])
def test_a_blob_is_copied_once_it_was_read(hub: Hub, deploy: Deploy, size_bytes: int, cache: dict[str, str]) -> None:
    blob = Blob.generated(size_bytes, seed=15)
    hub.add_blob("library/nginx", blob)
    worker = deploy(config(hub, login="open", cache=cache))
    url = f"{worker.url}/v2/nginx/blobs/{blob.digest}"
    wait_until_kept(worker, lambda: fetch(url))
    assert fetch(url).body == blob.data


def test_a_runtime_without_large_reads_copies_as_well(hub: Hub, tmp_path: Path) -> None:
    blob = Blob.generated(SMALL, seed=16)
    hub.add_blob("library/nginx", blob)
    env = {"NODE_WITHOUT_READ_AT_LEAST": "1"}
    with Worker.start(tmp_path, config(hub, login="open"), env=env) as worker:
        running = Deployment(worker)
        url = f"{running.url}/v2/nginx/blobs/{blob.digest}"
        wait_until_kept(running, lambda: fetch(url))
        assert fetch(url).body == blob.data


def test_a_silent_upstream_is_a_503_in_time(hub: Hub, deploy: Deploy) -> None:
    hub.add("library/nginx", "1", build_index("silent"))
    worker = deploy(config(hub, login="open", response_timeout="500ms"))
    hub.script(faults.stall(), role="hub", path="/manifests/", times=None)
    answer = fetch(f"{worker.url}/v2/nginx/manifests/1")
    assert (answer.status, answer.error_code) == (503, "UNAVAILABLE")
    assert "timeout" in answer.json()["errors"][0]["message"]
    hub.release_stalls()


def test_pages(deploy: Deploy) -> None:
    worker = deploy({})
    home = fetch(worker.url + "/")
    assert home.header("Content-Type") == "text/html; charset=utf-8"
    assert home.header("X-Robots-Tag") == "noindex, nofollow"
    assert fetch(worker.url + "/robots.txt").body == b"User-agent: *\nDisallow: /\n"
    assert fetch(worker.url + "/nothing").status == 404
    assert fetch(worker.url + "/robots.txt", "POST").status == 405
    pasted = fetch(worker.url + "/", "POST", body=b"text=ghcr.io%2Fo%2Fapp%3A1")
    assert f"docker pull {worker.host}/ghcr.io/o/app:1" in pasted.body.decode()
    head = fetch(worker.url + "/", "HEAD")
    assert (head.status, head.body) == (200, b"")


def test_a_form_that_is_too_large_is_refused(deploy: Deploy) -> None:
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    answer = fetch(deploy({}).url + "/token", "POST", headers, body=b"a" * MIB)
    assert (answer.status, answer.error_code) == (413, "UNSUPPORTED")


def test_tokens_of_others_are_refused(deploy: Deploy) -> None:
    worker = deploy({})
    issued = fetch(f"{worker.url}/token?service={worker.host}&scope=repository:library/nginx:pull").json()["token"]
    header, key, iv, content, tag = issued.split(".")
    altered = ".".join((header, key, iv, ("A" if content[0] != "A" else "B") + content[1:], tag))
    for token in ("x", "a.b.c", altered, f"{header}.{key}.{iv}.{content}.", "é.a.b.c.d"):
        bearer = [("Authorization", f"Bearer {token}")]
        answer = fetch(f"{worker.url}/v2/nginx/manifests/1", headers=bearer)
        assert answer.status in (400, 401), token
