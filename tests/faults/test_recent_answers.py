"""Requests that are the same to the byte: answered from a moment ago, and never with what is no longer right.

On kept-alive connections, because only there an answer is given again.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY, config
from tests.support import faults
from tests.support.gateway import Gateway
from tests.support.http import fetch, send_raw
from tests.support.hub import Hub
from tests.support.images import OCI_INDEX, OCI_MANIFEST, Index, build_index
from tests.support.registry_client import basic
from tests.support.waiting import wait_until

LATEST = "/v2/app/manifests/latest"


@pytest.fixture
def image(hub: Hub) -> Index:
    index = build_index("recent")
    hub.add(REPOSITORY, "latest", index)
    return index


@contextmanager
def serving(state: Path, hub: Hub, ttl: str = "60s", **more: Any) -> Iterator[Gateway]:
    settings = config(state, hub, **more)
    settings["cache"]["tag_ttl"] = ttl
    with Gateway.start(state / "gateway", settings) as gateway:
        yield gateway


def head_of(path: str, method: str = "GET", headers: Sequence[tuple[str, str]] = ()) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def converse(gateway: Gateway, *requests: bytes) -> bytes:
    """Everything that comes back on one connection for requests that are sent at once; then it is closed."""
    end = head_of("/healthz", headers=[("Connection", "close")])
    received, ended = send_raw(gateway.url, b"".join(requests) + end)
    assert ended == "complete"
    answer, _, health = received.rpartition(b"HTTP/1.1 200 OK")
    assert health.endswith(b"ok\n")
    undated, dates = re.subn(rb"date: [^\r]*\r\n", b"", answer)
    assert dates == len(requests)
    return undated


def lines_of(gateway: Gateway, count: int, path: str = LATEST) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def are_all_there() -> bool:
        found[:] = [record for record in gateway.log_records() if record.get("path") == path]
        return len(found) >= count

    wait_until(are_all_there, f"{count} lines of {path}", seen=lambda: len(found))
    return found


def test_each_is_whole_and_has_its_line(tmp_path: Path, hub: Hub, image: Index) -> None:
    with serving(tmp_path, hub) as gateway:
        converse(gateway, head_of(LATEST))
        once = converse(gateway, head_of(LATEST))
        assert once.endswith(b"\r\n\r\n" + image.manifest)
        assert converse(gateway, *[head_of(LATEST)] * 20) == once * 20
        lines = lines_of(gateway, 22)
    assert len(lines) == 22
    assert [line["outcome"] for line in lines[1:]] == ["hit"] * 21
    assert {line["bytes"] for line in lines} == {len(image.manifest)}
    fields = {"method", "path", "status", "peer", "upstream", "repository", "reference", "bytes", "seconds", "time"}
    assert all(fields <= line.keys() for line in lines)


def test_what_differs_in_anything_is_another_request(tmp_path: Path, hub: Hub, image: Index) -> None:
    plain = head_of(LATEST)
    unchanged = head_of(LATEST, headers=[("If-None-Match", image.digest)])
    unreadable = head_of(LATEST, headers=[("Accept", OCI_MANIFEST)])
    readable = head_of(LATEST, headers=[("Accept", OCI_INDEX)])
    asked = [plain, head_of(LATEST, "HEAD"), unchanged, readable, head_of("/v2/app/manifests/none"), unreadable]
    with serving(tmp_path, hub) as gateway:
        converse(gateway, plain)
        first = [converse(gateway, request) for request in asked]
        again = [converse(gateway, request) for request in asked]
        mixed = converse(gateway, *asked, *reversed(asked))
    assert first == again
    assert mixed == b"".join([*first, *reversed(first)])
    assert first[1] + image.manifest == first[0]
    assert first[2].startswith(b"HTTP/1.1 304 ")
    assert first[3] == first[0]
    assert first[4].startswith(b"HTTP/1.1 404 ")
    # what a client cannot read is the upstream's to answer, once within the TTL
    relayed = [e for e in hub.find("hub", "GET", "/manifests/") if e.request.header("accept") == OCI_MANIFEST]
    assert len(relayed) == 1


def test_a_tag_that_moves_is_seen_when_its_ttl_is_over(tmp_path: Path, hub: Hub, image: Index) -> None:
    with serving(tmp_path, hub, ttl="700ms") as gateway:
        for _ in range(3):
            assert converse(gateway, head_of(LATEST)).endswith(image.manifest)
        moved = build_index("moved")
        hub.add(REPOSITORY, "latest", moved)
        time.sleep(0.8)  # the TTL passes
        for _ in range(3):
            assert converse(gateway, head_of(LATEST)).endswith(moved.manifest)


def bearer(gateway: Gateway, user: str) -> list[tuple[str, str]]:
    url = f"http://localhost:{gateway.port}/token?scope=repository:me/secret:pull"
    answer = fetch(url, headers=[basic(user, user)], host="localhost")
    return [("Authorization", f"Bearer {answer.json()['token']}")]


@pytest.fixture
def private(hub: Hub) -> Index:
    index = build_index("private")
    hub.state.users.update(alice="alice", bob="bob")
    hub.add("me/secret", "latest", index, readers={"alice", "bob"})
    return index


def test_one_who_learns_that_a_tag_moved_tells_the_others(tmp_path: Path, hub: Hub, private: Index) -> None:
    with serving(tmp_path, hub, login="upstream") as gateway:
        by_alice, by_bob = (
            head_of("/v2/me/secret/manifests/latest", headers=bearer(gateway, user)) for user in ("alice", "bob")
        )
        for _ in range(3):
            assert converse(gateway, by_alice).endswith(private.manifest)
        moved = build_index("moved")
        hub.add("me/secret", "latest", moved, readers={"alice", "bob"})
        assert converse(gateway, by_bob).endswith(moved.manifest)  # his right has to be proven
        assert converse(gateway, by_alice).endswith(moved.manifest)


def test_a_right_that_is_withdrawn_is_gone_at_once(tmp_path: Path, hub: Hub, private: Index) -> None:
    with serving(tmp_path, hub, ttl="0s", login="upstream") as gateway:
        token = bearer(gateway, "alice")
        by_digest = head_of(f"/v2/me/secret/manifests/{private.digest}", headers=token)
        for _ in range(3):
            assert converse(gateway, by_digest).endswith(private.manifest)
        hub.script(faults.answer(403), role="hub", path="/manifests/", times=None)
        refused = converse(gateway, head_of("/v2/me/secret/manifests/latest", headers=token))
        assert refused.startswith(b"HTTP/1.1 403 ")
        assert private.manifest not in converse(gateway, by_digest)


def test_http_1_0_is_closed_each_time(tmp_path: Path, hub: Hub, image: Index) -> None:
    old = head_of(LATEST, headers=[("Connection", "keep-alive")]).replace(b"HTTP/1.1", b"HTTP/1.0")
    with serving(tmp_path, hub) as gateway:
        for _ in range(3):
            received, ended = send_raw(gateway.url, old)
            assert ended == "complete"
            assert received.endswith(image.manifest)
