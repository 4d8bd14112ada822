"""What refers to an image, its fallback tags and tag lists, against the real process: asked once, kept, and answered
for an upstream that cannot. What is asked for here is what Docker 29 asks for after the layers of an image.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY
from tests.faults.kept import events
from tests.faults.test_kept_manifests import kept
from tests.support import faults
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import Image, build_artifact, build_image
from tests.support.registry_client import basic
from tests.support.waiting import wait_until

FAILURES = {
    "429": faults.answer(429),
    "500": faults.answer(500),
    "503": faults.answer(503),
    "silence": faults.stall(),
    "hung up": faults.hang_up("rst"),
}
KIND = "application/vnd.example.signature"


@pytest.fixture
def image(hub: Hub) -> Image:
    image = build_image("kept")
    hub.add(REPOSITORY, "latest", image)
    return image


@pytest.fixture
def signature(hub: Hub, image: Image) -> Image:
    signature = build_artifact(subject=image, blobs=(b"signed",), artifact_type=KIND)
    hub.add(REPOSITORY, None, signature)
    return signature


@pytest.fixture
def start(tmp_path: Path, hub: Hub, image: Image) -> Iterator[Callable[..., Gateway]]:
    started: list[Gateway] = []

    def begin(ttl: str = "60s", **cache: Any) -> Gateway:
        for running in started:
            if not running.stopped:
                running.stop()
        settings = kept(tmp_path, hub, ttl)
        settings["cache"] |= {"prefetch": False, **cache}
        gateway = Gateway.start(tmp_path / f"gateway-{len(started)}", settings)
        started.append(gateway)
        assert fetch(f"{gateway.url}/v2/app/manifests/latest").body == image.manifest
        hub.recorder.clear()
        return gateway

    yield begin
    for gateway in started:
        if not gateway.stopped:
            gateway.stop()


def referrers(gateway: Gateway, digest: str, query: str = "", **more: Any) -> Answer:
    return fetch(f"{gateway.url}/v2/app/referrers/{digest}{query}", **more)


def fallback(gateway: Gateway, digest: str, end: str = "", **more: Any) -> Answer:
    return fetch(f"{gateway.url}/v2/app/manifests/{digest.replace(':', '-')}{end}", **more)


def break_down(hub: Hub, how: faults.Action) -> None:
    hub.clear()
    hub.script(how, times=None)


def listed(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [entry["digest"] for entry in answer.json()["manifests"]]


def test_within_the_ttl_nothing_is_asked_again(hub: Hub, start: Callable[..., Gateway], signature: Image) -> None:
    gateway = start()
    subject = signature.digest  # of which nothing is said, and whose absence is news as well
    assert fetch(f"{gateway.url}/v2/app/manifests/{subject}").status == 200
    hub.recorder.clear()
    image_digest = hub.state.repositories[REPOSITORY].tags["latest"]
    for _ in range(3):
        assert listed(referrers(gateway, image_digest)) == [signature.digest]
        assert listed(referrers(gateway, subject)) == []
        assert fallback(gateway, image_digest).status == 404
        assert fallback(gateway, image_digest, method="HEAD").status == 404
        assert fetch(f"{gateway.url}/v2/app/tags/list").json() == {"name": "app", "tags": ["latest"]}
    assert hub.count("hub") == 4, hub.recorder.transcript()


def test_a_registry_without_the_endpoint_is_asked_once(hub: Hub, start: Callable[..., Gateway], image: Image) -> None:
    gateway = start()
    script = hub.script(faults.answer(404), role="hub", path="/referrers/", times=None)
    for query in ("", "?artifactType=a/b", "", "?artifactType=c/d"):
        assert listed(referrers(gateway, image.digest, query)) == []
    assert script.seen == 1, "what holds for every type holds for each"
    assert hub.count("hub", path="/manifests/sha256-") == 1
    # of what is not kept the registry speaks for itself
    assert referrers(gateway, "sha256:" + "0" * 64).status == 404


def test_a_list_of_every_type_answers_for_each(hub: Hub, start: Callable[..., Gateway], signature: Image) -> None:
    gateway = start()
    digest = hub.state.repositories[REPOSITORY].tags["latest"]
    filtered = referrers(gateway, digest, f"?artifactType={KIND}")
    assert filtered.header("oci-filters-applied") == "artifactType"
    assert listed(filtered) == [signature.digest]
    assert listed(referrers(gateway, digest)) == [signature.digest]
    hub.recorder.clear()
    answer = referrers(gateway, digest, "?artifactType=an/other")
    assert listed(answer) == [signature.digest]
    assert answer.header("oci-filters-applied") is None, "clients filter what says nothing of a filter"
    assert hub.count() == 0


def test_many_who_ask_at_once_are_one_request(hub: Hub, start: Callable[..., Gateway], image: Image) -> None:
    gateway = start()
    hub.script(faults.slow_first_byte(0.3), role="hub", path="/referrers/", times=None)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(referrers(gateway, image.digest).status)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 20
    assert hub.count("hub", path="/referrers/") == 1


@pytest.mark.parametrize("how", FAILURES.values(), ids=FAILURES.keys())
def test_what_is_kept_answers_for_an_upstream_that_fails_also_after_a_restart(
    hub: Hub, start: Callable[..., Gateway], signature: Image, image: Image, how: faults.Action
) -> None:
    gateway = start("0s")
    before = referrers(gateway, image.digest)
    assert fallback(gateway, image.digest).status == 404
    tags = fetch(f"{gateway.url}/v2/app/tags/list")
    for _ in range(2):
        break_down(hub, how)
        answer = referrers(gateway, image.digest)
        assert (answer.status, answer.body) == (200, before.body)
        assert answer.header("age") is not None
        assert [text[:3] for text in answer.header_list("warning")] == ["110", "299"]
        gone = fallback(gateway, image.digest)
        assert gone.status == 404
        assert gone.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"
        assert fetch(f"{gateway.url}/v2/app/tags/list").body == tags.body
        assert fetch(f"{gateway.url}/v2/app/manifests/latest").body == image.manifest
        hub.clear()
        gateway = start("0s")
    hub.release_stalls()


@pytest.mark.parametrize("how", FAILURES.values(), ids=FAILURES.keys())
def test_what_nobody_can_say_counts_as_absent_for_what_is_kept(
    hub: Hub, start: Callable[..., Gateway], image: Image, how: faults.Action
) -> None:
    gateway = start("0s")
    break_down(hub, how)
    empty = referrers(gateway, image.digest)
    assert listed(empty) == []
    absent = [fallback(gateway, image.digest, end) for end in ("", ".sig")]
    assert [(answer.status, answer.error_code) for answer in absent] == [(404, "MANIFEST_UNKNOWN")] * 2
    for answer in (empty, *absent):
        (said,) = answer.header_list("warning")
        assert said.startswith('299 - "it is not known what refers to sha256:')
    wait_until(lambda: len(events(gateway, "unknown_referrers")) == 4, "the list, the tag in its place, the two tags")
    assert "cache.unknown_referrers" in events(gateway, "unknown_referrers")[0]["problem"]
    # of what is not kept nothing is said
    assert referrers(gateway, "sha256:" + "0" * 64).status in (429, 502, 503)
    assert fetch(f"{gateway.url}/v2/app/tags/list").status in (429, 502, 503)
    hub.release_stalls()


def test_whoever_verifies_signatures_may_have_the_failure(
    hub: Hub, start: Callable[..., Gateway], image: Image
) -> None:
    gateway = start("0s", unknown_referrers="error")
    break_down(hub, faults.answer(503))
    assert referrers(gateway, image.digest).status == 503
    assert fallback(gateway, image.digest).status == 503


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_never_covered(
    hub: Hub, start: Callable[..., Gateway], image: Image, signature: Image, status: int
) -> None:
    gateway = start("0s")
    assert listed(referrers(gateway, image.digest)) == [signature.digest]
    assert fetch(f"{gateway.url}/v2/app/tags/list").status == 200
    hub.clear()
    hub.script(faults.answer(status), role="hub", path="/(referrers|tags)/", times=None)
    if status == 404:  # there is no list any longer, and nothing in its place
        assert listed(referrers(gateway, image.digest)) == []
    else:
        assert referrers(gateway, image.digest).status == status
    assert fetch(f"{gateway.url}/v2/app/tags/list").status == status


def test_a_registry_that_refuses_the_endpoint_to_everybody_takes_no_right_away(
    hub: Hub, start: Callable[..., Gateway], image: Image
) -> None:
    gateway = start()
    hub.script(faults.answer(403), role="hub", path="/referrers/", times=None)
    assert referrers(gateway, image.digest).status == 403
    hub.recorder.clear()
    assert fetch(f"{gateway.url}/v2/app/manifests/latest").body == image.manifest
    assert hub.count("hub") == 0, "the image is still known to be public"


def test_what_is_listed_anew_is_seen_after_the_ttl(hub: Hub, start: Callable[..., Gateway], image: Image) -> None:
    gateway = start("0s")
    assert listed(referrers(gateway, image.digest)) == []
    assert listed(referrers(gateway, image.digest)) == []
    signature = build_artifact(subject=image, blobs=(b"later",))
    hub.add(REPOSITORY, None, signature)
    assert listed(referrers(gateway, image.digest)) == [signature.digest]

    def outcomes() -> list[str]:
        return [line["outcome"] for line in gateway.log_records() if "/referrers/" in line.get("path", "")]

    wait_until(lambda: len(outcomes()) == 3, "each is logged")
    assert outcomes()[:2] == ["miss", "revalidated"]


def test_a_private_list_is_for_those_who_may_see_it(tmp_path: Path, hub: Hub) -> None:
    image = build_image("private")
    hub.state.users |= {"alice": "secret", "bob": "secret"}
    hub.add(REPOSITORY, "latest", image, readers={"alice"})
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        alice, bob = ([basic(name, "secret")] for name in ("alice", "bob"))
        assert fetch(f"{gateway.url}/v2/app/manifests/latest", headers=alice).status == 200
        assert listed(referrers(gateway, image.digest, headers=alice)) == []
        assert fetch(f"{gateway.url}/v2/app/tags/list", headers=alice).status == 200
        for nobody in (bob, []):
            assert referrers(gateway, image.digest, headers=nobody).status == 401
            assert fetch(f"{gateway.url}/v2/app/tags/list", headers=nobody).status == 401


def test_one_callers_404_is_not_everybodys(tmp_path: Path, hub: Hub) -> None:
    """An upstream that hides a private repository as 404 from those who may not see it."""
    image = build_image("hidden")
    signature = build_artifact(subject=image, blobs=(b"signed",))
    hub.state.users |= {"alice": "secret"}
    hub.add(REPOSITORY, "latest", image)
    hub.add(REPOSITORY, None, signature)
    hub.state.repositories[REPOSITORY].readers = frozenset({"alice"})
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        alice = [basic("alice", "secret")]
        assert fetch(f"{gateway.url}/v2/app/manifests/latest", headers=alice).status == 200
        script = hub.script(faults.answer(404), role="hub", path="/referrers/")
        assert referrers(gateway, image.digest).status == 404
        assert script.used == 1
        assert listed(referrers(gateway, image.digest, headers=alice)) == [signature.digest]


def test_strangers_write_nothing_down_for_what_is_not_kept(
    tmp_path: Path, hub: Hub, start: Callable[..., Gateway], image: Image
) -> None:
    gateway = start()
    hub.script(faults.answer(404), role="hub", path="/referrers/|sha256-", times=None)
    for number in range(40):
        assert referrers(gateway, f"sha256:{number:064x}").status == 404
        assert fallback(gateway, f"sha256:{number:064x}").status == 404
    assert listed(referrers(gateway, image.digest)) == []
    assert rows(tmp_path) == 2, "the absence of its list and of the tag in its place"
    hub.clear()
    for number in range(1, 100):
        referrers(gateway, image.digest, f"?n={number}")
        assert fetch(f"{gateway.url}/v2/app/tags/list?n={number}").status == 200
    assert rows(tmp_path) <= 2 * 64 + 3
    for number in range(100, 140):  # of which this registry says that nothing refers to them
        assert listed(referrers(gateway, f"sha256:{number:064x}")) == []
    assert rows(tmp_path) <= 2 * 64 + 3
    assert referrers(gateway, image.digest, "?artifactType=" + "x" * 300).status == 400


def test_pages_and_filters_do_not_push_out_the_whole_list(
    hub: Hub, start: Callable[..., Gateway], image: Image, signature: Image
) -> None:
    gateway = start("0s")
    assert listed(referrers(gateway, image.digest)) == [signature.digest]
    tags = fetch(f"{gateway.url}/v2/app/tags/list").body
    for number in range(1, 80):
        referrers(gateway, image.digest, f"?n={number}")
        fetch(f"{gateway.url}/v2/app/tags/list?n={number}")
    break_down(hub, faults.answer(503))
    assert listed(referrers(gateway, image.digest)) == [signature.digest]
    assert fetch(f"{gateway.url}/v2/app/tags/list").body == tags


def test_an_error_that_came_with_200_is_no_list(
    hub: Hub, start: Callable[..., Gateway], image: Image, signature: Image
) -> None:
    gateway = start("0s")
    assert listed(referrers(gateway, image.digest)) == [signature.digest]
    error = faults.answer(200, b'{"errors":[{"code":"TOOMANYREQUESTS"}]}', (("Content-Type", "application/json"),))
    hub.script(error, role="hub", path="/referrers/", times=None)
    answer = referrers(gateway, image.digest)
    assert listed(answer) == [signature.digest], "what is kept covers for it"
    assert answer.header("age") is not None


def test_a_list_opens_nothing_but_itself(tmp_path: Path, hub: Hub) -> None:
    """Registries may show everybody a list, and the image to few."""
    image = build_image("private")
    hub.state.users["alice"] = "secret"
    hub.add(REPOSITORY, "latest", image, readers={"alice"})
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        url = f"{gateway.url}/v2/app"
        assert fetch(f"{url}/manifests/latest", headers=[basic("alice", "secret")]).status == 200
        shown = (("Content-Type", "application/json"),)
        hub.script(faults.answer(200, b'{"name":"x","tags":["latest"]}', shown), role="hub", path="/tags/", times=None)
        hub.script(faults.answer(200, b'{"manifests":[]}', shown), role="hub", path="/referrers/", times=None)
        for _ in range(2):
            assert fetch(f"{url}/tags/list").status == 200
            assert referrers(gateway, image.digest).status == 200
        for path in ("manifests/latest", f"manifests/{image.digest}", f"blobs/{image.config.digest}"):
            assert fetch(f"{url}/{path}").status == 401, path


def test_a_tag_list_that_is_gone_does_not_come_back(hub: Hub, start: Callable[..., Gateway], image: Image) -> None:
    gateway = start("0s")
    assert fetch(f"{gateway.url}/v2/app/tags/list").status == 200
    hub.script(faults.answer(404), role="hub", path="/tags/")
    assert fetch(f"{gateway.url}/v2/app/tags/list").status == 404
    gateway = start("0s")
    break_down(hub, faults.answer(503))
    assert fetch(f"{gateway.url}/v2/app/tags/list").status == 404


def test_several_filters_are_none(hub: Hub, start: Callable[..., Gateway], image: Image, signature: Image) -> None:
    answer = referrers(start(), image.digest, f"?artifactType=an/other&artifactType={KIND}")
    assert listed(answer) == [signature.digest]
    assert answer.header("oci-filters-applied") is None


def rows(tmp_path: Path) -> int:
    import sqlite3  # noqa: PLC0415 - what is looked at is the file, as another process would

    with sqlite3.connect(tmp_path / "data" / "index.sqlite3") as db:
        count: int = db.execute("SELECT count(*) FROM lists").fetchone()[0]
    db.close()
    return count
