"""Requests that two servers in a row could read differently: nothing in them is taken for a request of its own.

What is smuggled would be a pull under a name that nobody else asks for; whoever asks next gets their own answer.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.attacks.fronts import FRONTS, Front, behind_nginx
from tests.faults.conftest import REPOSITORY, config
from tests.support.gateway import Gateway
from tests.support.http import fetch, send_raw
from tests.support.hub import Hub
from tests.support.images import Image, build_image
from tests.support.shell import settled_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INNER = b"GET /v2/smuggled/manifests/100 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)


def post(headers: bytes, body: bytes, *, method: bytes = b"POST", target: bytes = b"/token") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n" + body


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n" % size


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
TE = b"Transfer-Encoding: "
ENDED = b"0\r\n\r\n" + INNER  # a chunked body that is over, and more that a length would count
CORPUS: dict[str, bytes] = {
    "a length and chunks": post(length(len(ENDED)) + TE + b"chunked\r\n", ENDED),
    "chunks and a length": post(TE + b"chunked\r\n" + length(4), IN_CHUNKS),
    "two lengths": post(length(len(INNER)) + length(0), INNER),
    "two lengths in one line": post(b"Content-Length: %d, 0\r\n" % len(INNER), INNER),
    "a length with a sign": post(b"Content-Length: +%d\r\n" % len(INNER), INNER),
    "a length in hexadecimal": post(b"Content-Length: 0x%x\r\n" % len(INNER), INNER),
    "a length with a space before its colon": post(b"Content-Length : %d\r\n" % len(INNER), INNER),
    "chunks with a space before their colon": post(b"Transfer-Encoding : chunked\r\n" + length(len(ENDED)), ENDED),
    "chunks behind a tab": post(b"Transfer-Encoding:\tchunked\r\n" + length(len(ENDED)), ENDED),
    "chunks behind a line": post(b"Transfer-Encoding:\r\n chunked\r\n" + length(len(ENDED)), ENDED),
    "chunks behind a vertical tab": post(TE + b"\x0bchunked\r\n" + length(len(ENDED)), ENDED),
    "an unknown coding": post(TE + b"xchunked\r\n" + length(len(ENDED)), ENDED),
    "a coding and chunks": post(TE + b"identity, chunked\r\n" + length(len(ENDED)), ENDED),
    "chunks and a coding": post(TE + b"chunked, identity\r\n" + length(len(ENDED)), ENDED),
    "two codings": post(TE + b"chunked\r\n" + TE + b"identity\r\n" + length(len(ENDED)), ENDED),
    "a quoted coding": post(TE + b'"chunked"\r\n' + length(len(ENDED)), ENDED),
    "a size of a chunk that overflows": post(TE + b"chunked\r\n", b"10000000000000000\r\n" + INNER),
    "a size of a chunk with a sign": post(TE + b"chunked\r\n", b"-1\r\n" + INNER),
    "a bare line feed after a size": post(TE + b"chunked\r\n", b"5;\nxxxxx\r\n0\r\n\r\n" + INNER),
    "a chunk longer than its size": post(TE + b"chunked\r\n", b"1\r\nxx\r\n" + INNER),
    "a GET with a length": post(length(len(INNER)), INNER, method=b"GET", target=b"/v2/"),
    "a GET in chunks": post(TE + b"chunked\r\n", IN_CHUNKS, method=b"GET", target=b"/v2/"),
    "a HEAD with a length": post(length(len(INNER)), INNER, method=b"HEAD", target=b"/v2/"),
    "an upgrade": post(UPGRADE + length(len(INNER)), INNER),
    "an upgrade in chunks": post(UPGRADE + TE + b"chunked\r\n", IN_CHUNKS),
    "who waits to be told to go on": post(b"Expect: 100-continue\r\n" + length(len(INNER)), INNER),
    "a header in a header": post(b"X: a\rTransfer-Encoding: chunked\r\n" + length(len(ENDED)), ENDED),
    "a target with a line": post(length(len(INNER)), INNER, target=b"/token\r\nX: y"),
    "HTTP/1.0 in chunks": post(TE + b"chunked\r\n" + length(len(ENDED)), ENDED).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
}  # fmt: skip


def begin(url: str, request: bytes) -> None:
    """Send it, and wait for the beginning of an answer or the end: what is left open is not waited for."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.create_connection((host, port), timeout=30) as attacker:
        attacker.sendall(request)
        attacker.settimeout(1)
        with contextlib.suppress(TimeoutError, ConnectionError):  # or it waits for more of the body
            attacker.recv(65536)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Image]]:
    state = tmp_path_factory.mktemp("smuggling")
    with Hub() as hub:
        image = build_image("smuggling")
        hub.add(REPOSITORY, "latest", image)
        settings = config(state, hub)
        settings["server"] = {"trusted_proxies": ["127.0.0.1/32"]}
        with Gateway.start(state / "gateway", settings) as running:
            yield running, image


def test_an_upgrade_without_a_body_is_an_ordinary_request(gateway: tuple[Gateway, Image]) -> None:
    """As `curl --http2` sends it. Another request may follow."""
    running, image = gateway
    request = post(UPGRADE, b"", method=b"GET", target=b"/v2/app/manifests/latest")
    last = post(b"Connection: close\r\n", b"", method=b"GET", target=b"/v2/app/manifests/latest")
    received, ended = send_raw(running.url, request + last)
    assert (received.count(b"HTTP/1.1 200"), received.count(image.manifest), ended) == (2, 2, "complete")


@pytest.mark.real
@pytest.mark.parametrize("front", FRONTS)
def test_what_is_in_a_body_is_no_request(tmp_path: Path, gateway: tuple[Gateway, Image], front: Front) -> None:
    running, image = gateway
    with front(tmp_path, running) as url:
        before = len(settled_log(running))
        for number, (name, request) in enumerate(CORPUS.items(), start=100):
            begin(url, request.replace(b"/manifests/100", b"/manifests/%d" % number))
            answer = fetch(f"{url}/v2/app/manifests/latest")
            assert (answer.status, answer.body) == (200, image.manifest), name
        lines = settled_log(running)[before:]
    asked = [line for line in lines if line.get("event") == "request"]
    assert len(asked) >= len(CORPUS), "the honest ones, at least"
    names = dict(enumerate(CORPUS, start=100))
    smuggled = [names[int(line["path"].rpartition("/")[2])] for line in asked if "/smuggled/" in line["path"]]
    # nginx itself takes it for the end of the body, and hands on two requests of this client: of a client that is
    # gone when the first is answered it may drop the second
    taken_by_nginx = {"a bare line feed after a size"} if front is behind_nginx else set()
    assert set(smuggled) <= taken_by_nginx
