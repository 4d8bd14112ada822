"""The harness in which the Worker is tested, tried with a small Worker of its own (harness/toy)."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.content import Blob
from tests.support.exchange import Recorder, Reply
from tests.support.http import fetch, open_stream
from tests.support.waiting import wait_until
from tests.support.wire import WireServer
from tests.support.worker import HARNESS, Worker, format_variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.exchange import Received

SIZE = 20_000_000
BYTES = hashlib.shake_256(b"twenty megabytes").digest(SIZE)
REPLIES = {
    "/whole": Reply(body=Blob(BYTES)),
    "/cut": Reply(body=Blob(BYTES), cut_after=SIZE // 2),
    "/cut-chunked": Reply(body=Blob(BYTES), cut_after=SIZE // 2, chunked=True),
    "/stalled": Reply(body=Blob(BYTES), stall_after=SIZE // 2),
    "/elsewhere": Reply(307, (("Location", "https://cdn.example/x"),)),
}


def answer(request: Received) -> Reply:
    return REPLIES[request.path]


@pytest.fixture(scope="module")
def upstream() -> Iterator[WireServer]:
    with WireServer("upstream", answer, Recorder()) as server:
        yield server


@pytest.fixture(scope="module")
def toy(upstream: WireServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    variables = {"UPSTREAM": upstream.url, "TOY": "a variable"}
    with Worker.start(tmp_path_factory.mktemp("toy"), {}, env=variables, bundle=HARNESS / "toy") as running:
        yield running


def test_it_says_when_it_is_ready(toy: Worker) -> None:
    ready = toy.log_records()[0]
    assert (ready["event"], ready["port"]) == ("ready", toy.port)


def test_a_body_passes_unchanged_with_its_length(toy: Worker) -> None:
    got = fetch(toy.url + "/upstream/whole")
    assert (got.status, got.ended, got.header("content-length")) == (200, "complete", str(SIZE))
    assert got.body == BYTES


def test_head_has_the_headers_and_no_body(toy: Worker) -> None:
    got = fetch(toy.url + "/upstream/whole", "HEAD")
    assert (got.status, got.header("content-length"), got.body) == (200, str(SIZE), b"")


def test_a_redirect_is_seen_and_not_followed(toy: Worker) -> None:
    got = fetch(toy.url + "/upstream/elsewhere")
    assert (got.status, got.header("location")) == (307, "https://cdn.example/x")


def test_headers_and_statuses_are_the_workers_own(toy: Worker) -> None:
    got = fetch(toy.url + "/headers")
    assert (got.status, got.reason) == (401, "Unauthorized")
    assert got.header_list("set-cookie") == ["a=1", "b=2, c"]
    assert got.header("www-authenticate") == 'Bearer a="1, 2"'


def test_the_worker_sees_the_request_as_it_was_sent(toy: Worker) -> None:
    headers = [("X-Two", "1"), ("X-Two", "2"), ("CF-Connecting-IP", "10.9.8.7")]
    got = fetch(
        toy.url, "POST", headers, body=b"some text", host="hub.example:8443", target="/seen//a%2Fb/%41?q=%20&q=1"
    )
    seen: dict[str, Any] = got.json()
    assert seen["url"] == "http://hub.example:8443/seen//a%2Fb/%41?q=%20&q=1"
    assert (seen["method"], seen["body"]) == ("POST", "some text")
    fields = dict(seen["headers"])
    assert (fields["x-two"], fields["cf-connecting-ip"]) == ("1, 2", "127.0.0.1")
    assert (seen["variable"], seen["ctx"]) == ("a variable", True)


@pytest.mark.parametrize("target", ["http://elsewhere.example/seen", "*"])
def test_what_is_no_path_never_gets_to_the_worker(toy: Worker, target: str) -> None:
    assert fetch(toy.url, target=target).status == 400


def test_a_worker_that_throws_is_a_500_and_is_logged(toy: Worker) -> None:
    assert fetch(toy.url + "/nonsense").status == 500
    assert "LookupError: nonsense" in toy.output()


@pytest.mark.parametrize("path", ["cut", "cut-chunked"])
def test_a_cut_upstream_is_a_visible_cut(toy: Worker, path: str) -> None:
    got = fetch(f"{toy.url}/upstream/{path}")
    assert got.status == 200
    assert got.ended in ("short", "reset")
    assert BYTES.startswith(got.body)


@pytest.mark.parametrize("path", ["whole", "stalled"])
def test_a_client_that_leaves_closes_the_upstream_connection(toy: Worker, upstream: WireServer, path: str) -> None:
    known = len(upstream.recorder.exchanges)
    with open_stream(f"{toy.url}/upstream/{path}", receive_buffer=8192) as stream:
        stream.read(1000)
    wait_until(lambda: upstream.recorder.exchanges[known].state != "open", "the end of the upstream request")
    assert upstream.recorder.exchanges[known].state == "aborted"


def test_a_client_that_does_not_read_stops_the_upstream(toy: Worker, upstream: WireServer) -> None:
    known = len(upstream.recorder.exchanges)
    before = toy.rss_bytes()
    with open_stream(toy.url + "/upstream/whole", receive_buffer=8192):
        time.sleep(0.7)  # in which all of it would be fetched
        assert upstream.recorder.exchanges[known].sent < SIZE * 0.7
        assert toy.rss_bytes() - before < SIZE * 0.7


def test_digest_stream(toy: Worker) -> None:
    body = BYTES[:1_000_000]
    assert fetch(toy.url + "/digest", "POST", body=body).json() == hashlib.sha256(body).hexdigest()


def put(
    toy: Worker, key: str, body: bytes = b"0123456789", status: int = 200, method: str = "GET", **headers: str
) -> Any:
    """What the Worker says of the body afterwards (used), or the error."""
    said = json.dumps({name.replace("_", "-"): value for name, value in headers.items()})
    fields = [("X-Status", str(status)), ("X-Headers", said), ("X-Method", method)]
    return fetch(f"{toy.url}/cache/{key}", "PUT", fields, body=body).json()


def test_the_cache_keeps_what_it_is_given(toy: Worker) -> None:
    url = toy.url + "/cache/kept"
    assert fetch(url).status == 404
    assert put(toy, "kept", cache_control="max-age=60", etag='"x"', content_type="text/x") is True
    got = fetch(url)
    assert (got.status, got.body, got.header("content-length")) == (200, b"0123456789", "10")
    assert (got.header("etag"), got.header("content-type")) == ('"x"', "text/x")
    part = fetch(url, headers=[("Range", "bytes=2-4")])
    assert (part.status, part.body, part.header("content-range")) == (206, b"234", "bytes 2-4/10")
    assert [fetch(url, "DELETE").json(), fetch(url, "DELETE").json()] == [True, False]
    assert fetch(url).status == 404


def test_the_cache_hands_out_large_bodies(toy: Worker) -> None:
    put(toy, "large", BYTES, cache_control="max-age=60")
    assert fetch(toy.url + "/cache/large").body == BYTES


def test_the_cache_forgets_when_the_time_is_up(toy: Worker) -> None:
    put(toy, "short", cache_control="max-age=1")
    assert fetch(toy.url + "/cache/short").status == 200
    time.sleep(1.05)  # the runtime has a clock of its own
    assert fetch(toy.url + "/cache/short").status == 404


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"status": 206}, "206"),
        ({"vary": "Accept, *"}, "Vary"),
        ({"method": "HEAD"}, "non-GET"),
    ],
)
def test_what_the_cache_refuses(toy: Worker, how: dict[str, Any], words: str) -> None:
    assert words in put(toy, "refused", **how)


@pytest.mark.parametrize("how", [{"cache_control": "private, max-age=60"}, {"set_cookie": "a=1"}, {"status": 500}])
def test_what_the_cache_leaves_out_in_silence(toy: Worker, how: dict[str, Any]) -> None:
    assert put(toy, "left-out", **how) is True
    assert fetch(toy.url + "/cache/left-out").status == 404


def test_the_passthrough_hands_on(upstream: WireServer, tmp_path: Any) -> None:
    with Worker.start_passthrough(tmp_path, upstream.url) as worker:
        assert fetch(worker.url + "/whole").body == BYTES


def test_a_configuration_becomes_variables() -> None:
    config = {
        "server": {"cors_origins": ["https://a.example", "https://b.example"]},
        "upstreams": {"only": True, "docker.io": {"url": "http://127.0.0.1:1", "default": False}},
        "cache": {"tag_ttls": {"*:latest": "5s"}},
    }
    assert format_variables(config) == {
        "HUBFERRY_SERVER__CORS_ORIGINS": "https://a.example, https://b.example",
        "HUBFERRY_UPSTREAMS__ONLY": "true",
        "HUBFERRY_UPSTREAMS__docker.io__URL": "http://127.0.0.1:1",
        "HUBFERRY_UPSTREAMS__docker.io__DEFAULT": "false",
        "HUBFERRY_CACHE__TAG_TTLS": "*:latest=5s",
    }
