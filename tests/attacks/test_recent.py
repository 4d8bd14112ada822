"""What a stranger can make the gateway remember: recent answers (server/recent.py) and tokens (server/seal.py)."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.faults.conftest import REPOSITORY, config
from tests.support.gateway import Gateway
from tests.support.hub import Hub
from tests.support.images import build_image

MIB = 2**20
LATEST = "/v2/app/manifests/latest"
REQUESTS = 15_000
QUERY_BYTES = 4_000  # beyond 4 KiB a query is refused
DOCUMENTED_BYTES = 16 * MIB  # of recent answers; the rest is what the allocator has not given back


def ask(connection: socket.socket, path: str, *lines: str) -> tuple[bytes, bytes]:
    """One request on a kept-alive connection; its answer's head and body."""
    connection.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    return head, body


def test_row_11_one_tag_under_ever_new_queries_takes_what_is_documented(tmp_path: Path, hub: Hub) -> None:
    hub.add(REPOSITORY, "latest", build_image("recent"))
    with Gateway.start(tmp_path / "gateway", config(tmp_path, hub)) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
            for number in range(200):
                assert b" 200 " in ask(connection, f"{LATEST}?warm={number}")[0]
            before = gateway.rss_bytes()
            for number in range(REQUESTS):
                assert b" 200 " in ask(connection, f"{LATEST}?x={number:0{QUERY_BYTES}}")[0]
        grown = gateway.rss_bytes() - before
    sent = REQUESTS * QUERY_BYTES
    assert grown < 2 * DOCUMENTED_BYTES, f"{grown / MIB:.0f} MiB more after {sent / MIB:.0f} MiB of queries"


TOKENS = 3_000
NAMES = 15  # of 236 characters: the query of a token request may have 4 KiB


def test_row_11_long_tokens_that_a_stranger_asks_for_are_remembered_up_to_a_size(tmp_path: Path, hub: Hub) -> None:
    with Gateway.start(tmp_path / "gateway", config(tmp_path, hub, login="upstream")) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:

            def use_another(number: int) -> None:
                names = "&scope=".join(f"repository:{number:06}{which:0230}:pull" for which in range(NAMES))
                head, body = ask(connection, f"/token?scope={names}")
                assert b" 200 " in head, head
                head, _ = ask(connection, "/v2/", f"Authorization: Bearer {json.loads(body)['token']}")
                assert b" 200 " in head, head

            for number in range(100):
                use_another(number)
            before = gateway.rss_bytes()
            for number in range(100, TOKENS):
                use_another(number)
        grown = gateway.rss_bytes() - before
    assert grown < 16 * MIB, f"{grown / MIB:.0f} MiB more after {TOKENS} tokens"
