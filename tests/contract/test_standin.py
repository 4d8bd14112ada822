"""The harness itself: the stand-in behaves as Docker Hub, its faults happen to the byte, its checks fail.

No hubferry here: what these tests pin down is what the others rely on.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from tests.support import faults
from tests.support.content import MIB, Blob, digest_of
from tests.support.http import fetch, open_stream, send_raw
from tests.support.hub import Hub
from tests.support.images import build_artifact, build_image, build_index
from tests.support.registry_client import RegistryClient, basic, parse_bearer
from tests.support.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.faults import Action
    from tests.support.http import Answer
    from tests.support.tls import Authority

BODY = Blob.generated(3 * MIB + 17, seed=5)


def hub_client(hub: Hub, credentials: tuple[str, str] | None = None) -> RegistryClient:
    return RegistryClient(hub.url, credentials=credentials, foreign_realm=True)


@pytest.fixture
def blob_url(hub: Hub) -> str:
    """A signed URL of BODY."""
    hub.add_blob("library/x", BODY)
    location = hub_client(hub).blob("library/x", BODY.digest).header("Location")
    assert location is not None
    return location


def test_an_index_is_pulled_with_token_redirect_and_signature(hub: Hub) -> None:
    index = build_index("hub")
    hub.add("library/nginx", "1", index)
    client = hub_client(hub)
    assert client.manifest("library/nginx", "1").body == index.manifest
    layer = index.images[0].layers[0]
    redirect = client.blob("library/nginx", layer.digest)
    assert redirect.status == 307
    assert fetch(redirect.header("Location") or "").body == layer.data


def test_challenge_names_the_token_service_and_scope(hub: Hub) -> None:
    refused = fetch(hub.url + "/v2/library/nginx/manifests/1")
    assert refused.status == 401
    assert parse_bearer(refused.header("WWW-Authenticate") or "") == {
        "realm": hub.realm,
        "service": "registry.docker.io",
        "scope": "repository:library/nginx:pull",
    }


def test_a_token_covers_what_its_account_may_read(hub: Hub) -> None:
    hub.state.users["alice"] = "secret"
    image = build_image("private")
    hub.add("alice/app", "1", image, readers={"alice"})
    assert hub_client(hub).manifest("alice/app", "1").status == 401
    assert hub_client(hub, ("alice", "secret")).manifest("alice/app", "1").body == image.manifest
    wrong = hub_client(hub, ("alice", "guess"))
    assert wrong.manifest("alice/app", "1").json() == {"details": "incorrect username or password"}


def test_a_token_for_another_repository_is_insufficient(hub: Hub) -> None:
    for name in ("library/a", "library/b"):
        hub.add(name, "1", build_image(name))
    issued = fetch(f"{hub.realm}?service=registry.docker.io&scope=repository:library/a:pull").json()
    headers = [("Authorization", f"Bearer {issued['token']}")]
    assert fetch(hub.url + "/v2/library/a/manifests/1", headers=headers).status == 200
    refused = fetch(hub.url + "/v2/library/b/manifests/1", headers=headers)
    assert parse_bearer(refused.header("WWW-Authenticate") or "")["error"] == "insufficient_scope"


def test_tokens_and_signatures_expire_when_the_clock_is_advanced(hub: Hub, blob_url: str) -> None:
    hub.add("library/a", "1", build_image())
    client = hub_client(hub)
    assert client.manifest("library/a", "1").status == 200
    assert fetch(blob_url).status == 200
    hub.advance(301)
    expired = client.manifest("library/a", "1")
    assert parse_bearer(expired.header("WWW-Authenticate") or "")["error"] == "invalid_token"
    assert fetch(blob_url).status == 403


def test_the_cdn_refuses_authorization_and_forged_signatures(blob_url: str) -> None:
    assert fetch(blob_url, headers=[basic("a", "b")]).status == 400
    assert fetch(blob_url[:-1] + "x").status == 403
    assert fetch(blob_url.partition("?")[0]).status == 403


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=1048570-1048590", 206, 1048570, 1048591),
        ("bytes=3145700-", 206, 3145700, BODY.size),
        ("bytes=-5", 206, BODY.size - 5, BODY.size),
        ("bytes=0-99999999", 206, 0, BODY.size),
        ("bytes=0-1,4-5", 200, 0, BODY.size),
    ],
)
def test_the_cdn_serves_ranges(blob_url: str, asked: str, status: int, start: int, stop: int) -> None:
    answer = fetch(blob_url, headers=[("Range", asked)])
    assert answer.status == status
    assert answer.body == BODY.data[start:stop]
    expected = f"bytes {start}-{stop - 1}/{BODY.size}" if status == 206 else None
    assert answer.header("Content-Range") == expected


def test_a_range_beyond_the_end_and_if_range(blob_url: str) -> None:
    beyond = fetch(blob_url, headers=[("Range", f"bytes={BODY.size}-")])
    assert (beyond.status, beyond.header("Content-Range")) == (416, f"bytes */{BODY.size}")
    changed = fetch(blob_url, headers=[("Range", "bytes=5-"), ("If-Range", '"other"')])
    assert (changed.status, changed.body) == (200, BODY.data)


def test_only_manifest_gets_count_as_pulls(hub: Hub) -> None:
    hub.add("library/a", "1", build_image())
    hub.state.pull_limit = 2
    client = hub_client(hub)
    head = client.manifest("library/a", "1", method="HEAD")
    assert head.header("RateLimit-Remaining") == "2;w=21600"
    answers = [client.manifest("library/a", "1") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].header("Retry-After") == "30"
    assert answers[2].error_code == "TOOMANYREQUESTS"
    assert client.manifest("library/a", "1", method="HEAD").status == 200


def test_tags_are_paged_by_link(hub: Hub) -> None:
    for tag in ("c", "a", "b"):
        hub.add("library/a", tag, build_image())
    client = hub_client(hub)
    first = client.get("/v2/library/a/tags/list?n=2")
    assert first.json()["tags"] == ["a", "b"]
    assert first.header("Link") == '</v2/library/a/tags/list?last=b&n=2>; rel="next"'
    last = client.get("/v2/library/a/tags/list?last=b&n=2")
    assert (last.json()["tags"], last.header("Link")) == (["c"], None)


def test_referrers_lists_the_artifacts_of_a_subject(hub: Hub) -> None:
    image = build_image()
    artifact = build_artifact(subject=image, blobs=(b"sig", b""))
    hub.add("library/a", "1", image)
    hub.add("library/a", None, artifact)
    client = hub_client(hub)
    found = client.get(f"/v2/library/a/referrers/{image.digest}").json()["manifests"]
    assert [entry["digest"] for entry in found] == [artifact.digest]
    filtered = client.get(f"/v2/library/a/referrers/{image.digest}?artifactType=other/type")
    assert (filtered.json()["manifests"], filtered.header("OCI-Filters-Applied")) == ([], "artifactType")


def _plain(data: bytes) -> bytes:
    return data


def _flipped(data: bytes) -> bytes:
    return data[:1000] + bytes([data[1000] ^ 0xFF]) + data[1001:]


@pytest.mark.parametrize(
    ("action", "expected", "ended"),
    [
        (faults.cut(0), lambda _: b"", "short"),
        (faults.cut(70_000), lambda data: data[:70_000], "short"),
        (faults.flip_byte(1000), _flipped, "complete"),
        (faults.declare_length(BODY.size + 1), _plain, "short"),
        (faults.declare_length(10), lambda data: data[:10], "complete"),
        (faults.declare_length("none"), _plain, "complete"),
        (faults.chunked(), _plain, "complete"),
        (faults.throttle(60 * MIB), _plain, "complete"),
        (faults.slow_first_byte(0.05), _plain, "complete"),
        (faults.gzip_encoded(), lambda data: gzip.compress(data, mtime=0), "complete"),
        (faults.other_bytes(b"other"), lambda _: b"other", "complete"),
    ],
)
def test_a_scripted_fault_happens_to_the_byte(
    hub: Hub, blob_url: str, action: Action, expected: Callable[[bytes], bytes], ended: str
) -> None:
    hub.script(action, role="cdn", method="GET", path="/data$", skip=1)
    assert fetch(blob_url).body == BODY.data, "skipped"
    broken = fetch(blob_url)
    assert (broken.body == expected(BODY.data), broken.ended) == (True, ended)
    assert fetch(blob_url).body == BODY.data, "only once"


def test_a_reset_is_told_from_a_cut(hub: Hub, blob_url: str) -> None:
    hub.script(faults.cut(200_000, ending="rst"), role="cdn")
    assert fetch(blob_url).ended == "reset"
    hub.script(faults.hang_up(), role="cdn")
    with pytest.raises(ConnectionError):
        fetch(blob_url)


def test_a_stall_lasts_until_released(hub: Hub, blob_url: str) -> None:
    hub.script(faults.stall(after=100_000), role="cdn")
    with open_stream(blob_url, timeout_s=0.2) as stream:
        with pytest.raises(TimeoutError):
            stream.read_all()
        assert stream.received == 100_000
    hub.recorder.wait_until(lambda: hub.find("cdn")[-1].state == "aborted")
    hub.script(faults.stall(), role="cdn")
    hub.release_stalls()
    assert fetch(blob_url).body == BODY.data


@pytest.mark.parametrize(
    ("action", "check"),
    [
        (faults.answer(503, b"down", (("Retry-After", "7"),)), lambda a: a.header("Retry-After") == "7"),
        (faults.redirect("/elsewhere", 302), lambda a: a.header("Location") == "/elsewhere"),
        (faults.challenge('Bearer realm="http://x"'), lambda a: a.header("WWW-Authenticate") is not None),
        (faults.lying_digest("sha256:0"), lambda a: a.header("Docker-Content-Digest") == "sha256:0"),
        (faults.header("Content-Type", None), lambda a: a.header("Content-Type") is None),
        (faults.oversize_manifest(5 * MIB), lambda a: len(a.body) == 5 * MIB and a.json()),
        (faults.redirect_loop(), lambda a: a.header("Location").endswith("/v2/library/a/manifests/1")),
    ],
)
def test_a_scripted_answer(hub: Hub, action: Action, check: Callable[[Answer], bool]) -> None:
    hub.add("library/a", "1", build_image())
    client = hub_client(hub)
    client.manifest("library/a", "1")
    hub.script(action, role="hub", path="/manifests/")
    assert check(client.manifest("library/a", "1"))


def test_a_client_that_leaves_is_seen(hub: Hub, blob_url: str) -> None:
    hub.script(faults.throttle(100_000), role="cdn", path="/data")
    with open_stream(blob_url) as stream:
        stream.read(10)
    hub.recorder.wait_until(lambda: hub.find("cdn")[-1].state == "aborted")


def test_unexpected_requests_unused_scripts_and_garbage_fail_the_check() -> None:
    with Hub() as hub:
        fetch(hub.url + "/admin")
        fetch(hub.url + "/v2/library/a/blobs/uploads/", "POST")
        fetch(hub.cdn_url + "/v2/")
        send_raw(hub.url, b"garbage\r\n\r\n")
        hub.script(faults.cut(1), role="cdn")
        with pytest.raises(AssertionError) as failure:
            hub.check()
        for part in ("GET /admin", "POST /v2/library", "cdn GET /v2/", "garbage", "script never used"):
            assert part in str(failure.value)
        hub.unexpected.clear()
        hub.clear()
        for server in hub.servers:
            server.malformed.clear()


def test_the_sink_hears_everything() -> None:
    with Sink(status=200, body=b"hello") as sink:
        assert sink.connections == 0
        assert fetch(sink.url + "/x", headers=[("X-Canary", "tweet")]).body == b"hello"
        assert sink.connections == 1
        assert sink.heard("tweet")
        assert not sink.heard("growl")
        send_raw(sink.url, b"no http growl\r\n\r\n")
        assert sink.heard("growl")


def test_tls_with_the_authority(authority: Authority) -> None:
    with Hub(certificate=authority.issue()) as hub:
        assert fetch(hub.url + "/v2/", context=authority.client_context()).status == 401
        assert hub.realm.startswith("https://")
        hub.add_blob("library/x", BODY)
        url = f"{hub.realm}?service=registry.docker.io&scope=repository:library/x:pull"
        token = fetch(url, context=authority.client_context()).json()["token"]
        path = f"/v2/library/x/blobs/{BODY.digest}"
        headers = [("Authorization", f"Bearer {token}")]
        location = fetch(hub.url + path, headers=headers, context=authority.client_context())
        hub.script(faults.cut(100_000), role="cdn")
        cut = fetch(location.header("Location") or "", context=authority.client_context())
        assert (len(cut.body), cut.ended) == (100_000, "short")


def test_generated_blobs_are_the_same_bytes_from_any_offset() -> None:
    data = BODY.data
    assert digest_of(data) == BODY.digest
    for start, stop in ((0, 1), (7, 9), (MIB - 1, MIB + 9), (2 * MIB + 3, BODY.size)):
        assert b"".join(BODY.chunks(start, stop)) == data[start:stop]
    assert data[MIB : 2 * MIB] != data[2 * MIB : 3 * MIB]
