"""Row 2: requests that are pipelined behind an answer that is not read."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.attacks.strangers import Memory, is_held_up, pour, slowest_s, strangers, wait_answered
from tests.faults.conftest import REPOSITORY, Stage, open_stage
from tests.faults.kept import is_whole, wait_kept
from tests.support.content import MIB, Blob
from tests.support.http import fetch
from tests.support.hub import Hub

CONNECTIONS = 120
SENT_BYTES = 29 * 10**6


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Hub() as hub, open_stage(tmp_path_factory.mktemp("pipelining"), hub, {}) as made:
        large = Blob.generated(32 * MIB, 41)  # more than the buffers of a connection take
        hub.add_blob(REPOSITORY, large)
        stage = replace(made, big=large)
        assert is_whole(fetch(stage.big_url), large)
        wait_kept(stage.folder, large)
        assert fetch(stage.manifest_url).status == 200
        yield stage


def test_row_2_pipelined_requests_behind_an_answer_that_is_not_read(stage: Stage) -> None:
    quiet_s = slowest_s(stage.manifest_url)
    memory = Memory(stage.gateway)
    first = b"GET /v2/app/blobs/%b HTTP/1.1\r\nHost: a\r\n\r\n" % stage.big.digest.encode()
    more = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"
    with strangers(stage.gateway.url, CONNECTIONS, receive_buffer=4096) as sockets:
        pour(sockets, first)
        wait_answered(sockets)
        sent = pour(sockets, more * (SENT_BYTES // CONNECTIONS // len(more)))
        waited_s = slowest_s(stage.manifest_url)
        growth = memory.peak_mib(0.3)
    left = memory.settles_below(50)
    figures = f"{sent} bytes sent: +{growth:.0f} MiB, +{left:.0f} afterwards; others {quiet_s:.3f} -> {waited_s:.3f} s"
    print(figures)
    assert growth < 95, figures
    assert left < 50, figures
    assert not is_held_up(quiet_s, waited_s), figures


def test_a_handful_of_pipelined_requests_is_answered_in_order(stage: Stage) -> None:
    """No registry client does it, but HTTP/1.1 allows it (RFC 9112, 9.3.2)."""
    paths = ["/v2/", "/v2/app/manifests/latest", "/nothing", "/v2/", "/v2/app/manifests/latest", "/robots.txt"]
    requests = [f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths]
    requests[-1] = requests[-1].replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    data = "".join(requests).encode()
    with strangers(stage.gateway.url, 1) as (client,):
        client.settimeout(30)
        client.sendall(data[:150])
        client.sendall(data[150:])
        received = b"".join(iter(lambda: client.recv(65536), b""))
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 404, 200, 200, 200]
    assert received.count(stage.image.manifest) == 2
