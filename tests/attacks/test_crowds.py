"""Two thousand connections that never finish a head, a form, or reading an answer: others pull what is kept.

They come from eight addresses, so that no limit for one address refuses them: directly, behind nginx, and behind Caddy,
with the configurations that the documents print.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.attacks.fronts import FRONTS, Front
from tests.attacks.strangers import is_cut, pour, slowest_s, strangers, wait_answered
from tests.faults.conftest import REPOSITORY, config
from tests.faults.kept import is_whole, wait_kept
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDRESSES = [f"127.0.1.{number}" for number in range(1, 9)]
EACH = 250
HALF_A_HEAD = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nA: "
HALF_A_FORM = b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nscope="
CUT_S = 30  # after which who does not read is cut
DESCRIPTORS = 20_000  # of this process, and of those that it starts


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[Gateway, Blob]]:
    """A gateway that keeps a manifest and a blob of 32 MiB, and trusts a proxy on this machine."""
    with Hub() as hub:
        hub.add(REPOSITORY, "latest", build_image("crowds"))
        blob = Blob.generated(32 * MIB, 77)
        hub.add_blob(REPOSITORY, blob)
        settings = config(tmp_path, hub)
        settings["server"] = {"write_timeout": f"{CUT_S}s", "trusted_proxies": ["127.0.0.1/32"]}
        with Gateway.start(tmp_path / "gateway", settings) as running:
            assert fetch(f"{running.url}/v2/app/manifests/latest").status == 200
            assert is_whole(fetch(f"{running.url}/v2/app/blobs/{blob.digest}"), blob)
            wait_kept(tmp_path / "data", blob)
            yield running, blob


def take_turns(manifest: str, blob_url: str, blob: Blob) -> list[float]:
    """Pull a blob and a few times a manifest; how long the blob and the slowest manifest took, in seconds."""
    answer = fetch(blob_url)
    assert is_whole(answer, blob)
    return [answer.seconds, slowest_s(manifest)]


@contextlib.contextmanager
def crowd(url: str) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            one
            for address in ADDRESSES
            for one in stack.enter_context(strangers(url, EACH, address=address, receive_buffer=4096))
        ]


@pytest.mark.real
@pytest.mark.parametrize("front", FRONTS)
def test_crowds_keep_nobody_from_what_is_kept(tmp_path: Path, gateway: tuple[Gateway, Blob], front: Front) -> None:
    running, blob = gateway
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
    try:
        with front(tmp_path, running) as url:
            manifest, blob_url = f"{url}/v2/app/manifests/latest", f"{url}/v2/app/blobs/{blob.digest}"
            others_s: list[float] = []
            for beginning in (HALF_A_HEAD, HALF_A_FORM):
                with crowd(url) as unfinished:
                    pour(unfinished, beginning)
                    others_s += take_turns(manifest, blob_url, blob)
                    assert not any(map(is_cut, unfinished)), "they were there meanwhile"
            with crowd(url) as silent:
                pour(silent, b"GET /v2/app/blobs/%b HTTP/1.1\r\nHost: a\r\n\r\n" % blob.digest.encode())
                wait_answered(silent, 60)
                beginnings = Counter(one.recv(12, socket.MSG_PEEK) for one in silent)
                assert beginnings == {b"HTTP/1.1 200": len(ADDRESSES) * EACH}
                others_s += take_turns(manifest, blob_url, blob)
            # whoever waits for strangers waits until they are cut
            assert max(others_s) < CUT_S / 5, others_s
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
