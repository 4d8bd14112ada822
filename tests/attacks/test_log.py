"""What a client or an upstream says gets into the log in bounded length, and cannot forge a line or move a cursor."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import REPOSITORY, config
from tests.support import faults
from tests.support.gateway import Gateway
from tests.support.http import fetch, send_raw
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.registry_client import basic

MAX_LINE_BYTES = 2500  # of one request; a field may have 512 characters
LONG = "x" * 12_000
ESCAPE = "\x9b2J\x85"  # in one byte each; the others are refused by the parser


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_row_13_a_line_of_the_log_is_bounded_whatever_is_said(tmp_path: Path, hub: Hub, log_format: str) -> None:
    hub.add(REPOSITORY, "latest", build_image("log"))
    hub.script(faults.answer(503, b"", (("Retry-After", LONG[:8000]),)), role="hub", path="/manifests/slow", times=None)
    settings = config(tmp_path, hub)
    settings["server"] = {"trusted_proxies": ["127.0.0.1/32"], "log_format": log_format, "log_level": "debug"}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        url = gateway.url
        before = len(gateway.output().splitlines())
        fetch(f"{url}/v2/app/manifests/latest", headers=[("X-Forwarded-For", LONG)])
        fetch(f"{url}/v2/app/manifests/latest", headers=[("X-Forwarded-For", f"1.2.3.4{ESCAPE}")])
        fetch(f"{url}/{LONG}")
        fetch(f"{url}/v2/app/manifests/{LONG}")
        fetch(f"{url}/v2/app/manifests/slow")
        fetch(f"{url}/token?service=x", headers=[basic(LONG[:9000], "guess")])
        send_raw(url, f"GET /v2/{ESCAPE}/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
    lines = gateway.output().splitlines()[before:]
    longest = max(len(line.encode()) for line in lines)
    assert longest <= MAX_LINE_BYTES, f"{longest} bytes in a line of the log"
    text = "\n".join(lines)
    assert not [one for one in text if not one.isprintable() and one != "\n"]
    assert sum("/v2/app/manifests/latest" in line for line in lines) == 2
