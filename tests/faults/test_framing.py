"""Upstreams that break HTTP itself: what follows an answer is never taken for the next one, a cut is never an end."""

from pathlib import Path

import pytest

from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch, open_stream
from tests.support.raw_server import RawServer
from tests.support.tls import Authority
from tests.support.waiting import wait_until

BLOB = "/v2/app/blobs/sha256:" + "a" * 64
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL!"


def gateway_to(state: Path, server: RawServer, **settings: object) -> Gateway:
    table = upstream(server.url, default=True, library=True, **settings)
    config = {
        "upstreams": {"only": True, "docker.io": table},
        "cache": {"dir": str(state / "data"), "enabled": False},
        "access": {"login": "open"},
    }
    return Gateway.start(state / "gateway", config)


def ok(*headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode() + body


ANSWERS: dict[str, tuple[bytes, int, bytes, str]] = {
    "plain": (ok("Content-Length: 4", body=b"good"), 200, b"good", "complete"),
    "chunked": (ok("Transfer-Encoding: chunked", body=b"4\r\ngood\r\n0\r\n\r\n"), 200, b"good", "complete"),
    "trailers": (ok("Transfer-Encoding: chunked", body=b"4\r\ngood\r\n0\r\nX: y\r\n\r\n"), 200, b"good", "complete"),
    "announced": (b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + ok("Content-Length: 1", body=b"g"), 200, b"g", "complete"),
    "more than declared": (ok("Content-Length: 4", body=b"good" + EVIL), 200, b"good", "complete"),
    "an answer after the last chunk": (
        ok("Transfer-Encoding: chunked", body=b"4\r\ngood\r\n0\r\n\r\n" + EVIL), 200, b"good", "complete",
    ),
    "length and chunked": (
        ok("Content-Length: 4", "Transfer-Encoding: chunked", body=b"4\r\ngood\r\n0\r\n\r\n"), 503, b"", "",
    ),
    "two lengths": (ok("Content-Length: 4", "Content-Length: 9", body=b"good"), 503, b"", ""),
    "a length that is none": (ok("Content-Length: 4x", body=b"good"), 503, b"", ""),
    "another transfer coding": (ok("Transfer-Encoding: gzip, chunked", body=b"4\r\ngood\r\n0\r\n\r\n"), 503, b"", ""),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 503, b"", ""),
    "a head without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, 503, b"", ""),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "status", "body", "ended"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_delivered_as_it_is_framed_or_not_at_all(
    tmp_path: Path, answer: bytes, status: int, body: bytes, ended: str
) -> None:
    with RawServer([answer, ok("Content-Length: 4", body=b"next")]) as server, gateway_to(tmp_path, server) as gateway:
        got = fetch(gateway.url + BLOB)
        assert got.status == status
        if status == 200:
            assert (got.body, got.ended) == (body, ended)
        # whatever came behind it is not the next answer
        following = fetch(gateway.url + BLOB)
        assert (following.status, following.body) == (200, b"next")


def test_a_partial_answer_without_a_length_is_checked_all_the_same(tmp_path: Path) -> None:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/10\r\nTransfer-Encoding: chunked\r\n\r\n"
    with RawServer([head + b"4\r\ngood\r\n0\r\n\r\n"]) as server, gateway_to(tmp_path, server) as gateway:
        got = fetch(gateway.url + BLOB, headers=[("Range", "bytes=0-9")])
        assert (got.status, got.ended) == (206, "short")


@pytest.mark.parametrize(("abrupt", "ended"), [(False, "complete"), (True, "short")])
def test_under_tls_an_end_without_a_goodbye_is_a_cut(tmp_path: Path, abrupt: bool, ended: str) -> None:
    authority = Authority(tmp_path / "ca")
    with (
        RawServer([ok(body=b"good")], close=True, certificate=authority.issue(), abrupt=abrupt) as server,
        gateway_to(tmp_path, server, ca_file=str(authority.ca_file)) as gateway,
    ):
        got = fetch(gateway.url + BLOB)
        assert (got.status, got.ended) == (200, ended)


def test_a_client_that_leaves_before_the_head_ends_its_upstream_request(tmp_path: Path) -> None:
    with RawServer([b""]) as server, gateway_to(tmp_path, server, response_timeout="60s") as gateway:
        with pytest.raises(TimeoutError):  # the upstream says nothing, and the client loses its patience
            open_stream(gateway.url + BLOB, timeout_s=1)
        wait_until(lambda: server.open_connections == 0, "the end of the upstream request")
        assert server.connections == 1


def test_a_small_refusal_does_not_cost_its_connection(tmp_path: Path) -> None:
    refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"
    with RawServer([refusal]) as server, gateway_to(tmp_path, server) as gateway:
        for _ in range(5):
            assert fetch(gateway.url + BLOB).status == 404
        assert (server.requests, server.connections) == (5, 1)


def test_a_post_that_never_sends_its_form_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with RawServer([b""]) as server, gateway_to(tmp_path, server) as gateway:
        headers = [("Content-Length", "300"), ("Content-Type", "application/x-www-form-urlencoded")]
        assert fetch(gateway.url + "/token", "POST", headers=headers, timeout_s=60).status == 408
        # a POST that is no token request is refused without waiting for what it would send
        assert fetch(gateway.url + "/v2/a/blobs/uploads/", "POST", headers=headers, timeout_s=60).status == 405
