"""No page looks like somebody else's, which gets a domain flagged; robots are kept out; forms are bounded."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hubferry.core.http import MAX_FORM_BYTES
from tests.faults.conftest import open_stage
from tests.support.http import fetch, send_raw

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hub import Hub

# what asks for a password, shows somebody's logo, or loads what is elsewhere
SUSPICIOUS = re.compile(
    r"<(?:input|img|iframe|object|embed)\b|\b(?:src|action)=\"(?!/(?!/))|href=\"(?:https?:|//)|@import|url\(|password\"",
    re.IGNORECASE,
)


def test_the_page_has_no_login_and_no_logo_and_robots_are_kept_out(tmp_path: Path, hub: Hub) -> None:
    with open_stage(tmp_path, hub, {}) as stage:
        root = stage.gateway.url
        page = fetch(root + "/")
        home = page.body.decode()
        assert page.header("X-Robots-Tag") == "noindex, nofollow"
        assert '<meta name="robots" content="noindex' in home
        assert not SUSPICIOUS.search(home)
        assert home.count("<form") == 1
        assert "hubferry" in home
        robots = fetch(f"{root}/robots.txt")
        assert robots.body.split() == b"User-agent: * Disallow: /".split()


def form(length: int, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % length + body


def test_a_form_is_bounded_and_who_sends_it_slowly_hinders_nobody(tmp_path: Path, hub: Hub) -> None:
    with open_stage(tmp_path, hub, {}) as stage:
        root = stage.gateway.url
        answer, _ = send_raw(root, form(MAX_FORM_BYTES + 1, b"text=" + b"x" * (MAX_FORM_BYTES - 4)))
        assert answer.startswith(b"HTTP/1.1 413")
        address = urlsplit(root)
        slow = [socket.create_connection((address.hostname, address.port), timeout=30) for _ in range(200)]
        try:
            for client in slow:
                client.sendall(form(MAX_FORM_BYTES, b"text="))
            assert fetch(f"{root}/v2/").status == 200
            assert fetch(f"{root}/").status == 200
        finally:
            for client in slow:
                client.close()
        answer, _ = send_raw(root, form(10, b"text=nginx"))
        assert b"/nginx" in answer.partition(b'id="result"')[2]
