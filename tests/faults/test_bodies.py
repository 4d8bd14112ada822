"""Streamed bodies that break off, stall, lie about their length, and clients that leave or are slow.

Not here: blobs that are kept (test_kept_blobs.py).
"""

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY, Stage, config, open_stage
from tests.faults.kept import wait_event
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch, open_stream
from tests.support.hub import Hub
from tests.support.waiting import wait_until

STREAMED = {"enabled": False}


def streamed(tmp_path: Path, hub: Hub, **more: Any) -> dict[str, Any]:
    settings = config(tmp_path, hub, **more)
    settings["cache"] |= STREAMED
    return settings


@pytest.fixture
def stage(tmp_path: Path, hub: Hub) -> Iterator[Stage]:
    with open_stage(tmp_path, hub, STREAMED) as stage:
        yield stage


def test_a_body_that_breaks_before_its_first_byte_is_an_error_with_a_reason(stage: Stage) -> None:
    stage.hub.script(faults.cut(0), role="cdn", times=None)
    answer = fetch(stage.big_url)
    assert answer.status == 503
    assert answer.error_code == "UNAVAILABLE"
    assert "docker.io" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("at", [1, 64 * 1024, 2 * MIB, 4 * MIB - 1])
def test_a_body_that_the_upstream_cuts_is_visibly_cut_for_the_client(stage: Stage, at: int) -> None:
    stage.hub.script(faults.cut(at), role="cdn", times=None)
    answer = fetch(stage.big_url)
    assert answer.status == 200
    # FIN, not RST: containerd resumes only on an unexpected end
    assert answer.ended == "short"
    assert answer.body == stage.big.data[: len(answer.body)]
    assert len(answer.body) <= at


def test_a_reset_by_the_upstream_is_visibly_cut_for_the_client(stage: Stage) -> None:
    stage.hub.script(faults.cut(2 * MIB, "rst"), role="cdn", times=None)
    answer = fetch(stage.big_url)
    assert answer.ended == "short"


def test_a_chunked_body_that_is_cut_gets_no_last_chunk(stage: Stage) -> None:
    stage.hub.script(faults.chunked(), faults.cut(2 * MIB), role="cdn", times=None)
    answer = fetch(stage.big_url)
    assert answer.header("transfer-encoding") == "chunked"
    assert answer.ended == "short"


def test_a_body_that_stalls_is_cut_when_the_read_timeout_is_over(stage: Stage) -> None:
    stage.hub.script(faults.stall(MIB), role="cdn", times=None)
    answer = fetch(stage.big_url, timeout_s=60)
    assert answer.ended == "short"
    wait_until(
        lambda: any("timeout" in str(r.get("problem", "")) for r in stage.gateway.log_records()), "the log says why"
    )
    stage.hub.release_stalls()


@pytest.mark.parametrize(("min_rate", "ended"), [("1KiB", "short"), ("0B", "complete")])
def test_a_body_that_comes_in_drops_is_cut_as_one_that_stalls(
    tmp_path: Path, hub: Hub, min_rate: str, ended: str
) -> None:
    small = Blob.generated(600, seed=3)
    hub.add_blob(REPOSITORY, small)
    with open_stage(tmp_path, hub, STREAMED, min_rate=min_rate, read_timeout="1s") as stage:
        hub.script(faults.throttle(200), role="cdn", times=None)  # never silent for long, and three windows long
        answer = fetch(stage.blob_url(small), timeout_s=60)
        assert answer.status == 200
        assert answer.ended == ended
        assert _outcome(stage.gateway, small.digest) == ("cut" if ended == "short" else "bypass")
        problems = [str(record.get("problem", "")) for record in stage.gateway.log_records()]
    assert any("timeout" in problem and "min_rate" in problem for problem in problems) == (ended == "short")


def test_a_slow_client_beside_it_is_not_cut(tmp_path: Path, hub: Hub) -> None:
    """Nothing is waited for while nobody reads. The rate is one that this client's own time would fall short of."""
    big, small = Blob.generated(24 * MIB, seed=4), Blob.generated(6000, seed=5)
    for blob in (big, small):
        hub.add_blob(REPOSITORY, blob)
    with open_stage(tmp_path, hub, STREAMED, min_rate="1MiB", read_timeout="1s") as stage:
        hub.script(faults.throttle(200), role="cdn", times=None, path=small.digest.removeprefix("sha256:"))
        with open_stream(stage.blob_url(big), receive_buffer=4096) as slow:
            for _ in range(2):
                assert slow.read_for(2.5, 1) in (2, 3)
                assert fetch(stage.blob_url(small), timeout_s=60).ended == "short"
            slow.read_all()
            assert (slow.ended, slow.received) == ("complete", big.size)


def test_a_body_longer_than_declared_is_not_delivered_beyond_it(stage: Stage) -> None:
    stage.hub.script(faults.declare_length(MIB), role="cdn", times=None)
    answer = fetch(stage.big_url)
    assert len(answer.body) <= MIB


def test_a_body_without_a_length_arrives_whole(stage: Stage) -> None:
    stage.hub.script(faults.chunked(), role="cdn")
    answer = fetch(stage.big_url)
    assert answer.ended == "complete"
    assert answer.body == stage.big.data


def test_a_web_page_instead_of_a_blob_is_refused(stage: Stage) -> None:
    stage.hub.script(faults.answer(200, b"<html>log in</html>", (("Content-Type", "text/html"),)), role="cdn")
    answer = fetch(stage.big_url)
    assert answer.status == 502
    assert "web page" in answer.json()["errors"][0]["message"]


def test_a_signed_url_that_is_refused_is_resolved_anew_once(stage: Stage) -> None:
    stage.hub.script(faults.answer(403), role="cdn")
    assert fetch(stage.big_url).body == stage.big.data
    stage.hub.script(faults.answer(403), role="cdn", times=2)
    assert fetch(stage.big_url).status == 403


def test_an_encoded_body_is_refused_before_its_first_byte(stage: Stage) -> None:
    stage.hub.script(faults.gzip_encoded(), role="cdn")
    answer = fetch(stage.big_url, headers=[("Accept-Encoding", "gzip")])
    assert answer.status == 502
    assert "encoded" in answer.json()["errors"][0]["message"]


def test_a_client_that_leaves_ends_its_upstream_request(tmp_path: Path, hub: Hub) -> None:
    huge = Blob.generated(1024 * MIB, seed=1)
    hub.add_blob(REPOSITORY, huge)
    with Gateway.start(tmp_path / "gateway", streamed(tmp_path, hub)) as gateway:
        with open_stream(f"{gateway.url}/v2/app/blobs/{huge.digest}") as stream:
            stream.read(MIB)
        wait_until(
            lambda: any(e.state != "open" for e in hub.find("cdn")), "that the upstream request ends with its client"
        )
        assert next(e for e in hub.find("cdn") if e.state != "open").sent < huge.size
        assert _outcome(gateway, huge.digest) == "gone"


def _outcome(gateway: Gateway, reference: str) -> str:
    return str(wait_event(gateway, "request", reference=reference)["outcome"])


def test_a_slow_client_slows_only_itself(stage: Stage) -> None:
    with open_stream(stage.big_url, receive_buffer=4096) as slow:
        slow.read(1024)
        for _ in range(5):
            answer = fetch(stage.big_url)
            assert answer.ended == "complete"
            assert answer.body == stage.big.data
        slow.read_all()
        assert (slow.ended, slow.received) == ("complete", stage.big.size)


def test_many_slow_clients_of_a_large_blob_stay_within_the_memory_bound(tmp_path: Path, hub: Hub) -> None:
    huge = Blob.generated(1024 * MIB, seed=2)
    hub.add_blob(REPOSITORY, huge)
    with Gateway.start(tmp_path / "gateway", streamed(tmp_path, hub, read_timeout="60s")) as gateway:
        url = f"{gateway.url}/v2/app/blobs/{huge.digest}"
        streams = [open_stream(url, receive_buffer=256 * 1024) for _ in range(64)]
        try:
            peak = 0
            for _ in range(24):
                for stream in streams:
                    stream.read(256 * 1024)
                peak = max(peak, gateway.rss_bytes())
            assert all(stream.ended is None for stream in streams)
            assert peak < 200 * MIB, f"{peak / MIB:.0f} MiB"
        finally:
            for stream in streams:
                stream.close()


def has_asked(hub: Hub, times: int) -> bool:
    """Whether the CDN has got so many requests, and has begun to answer each."""
    return sum(exchange.status != 0 for exchange in hub.find("cdn")) == times


def test_clients_that_leave_before_the_first_byte_disturb_nobody(tmp_path: Path, hub: Hub) -> None:
    """The socket of their upstream is closed while it is waited on: no other connection may go deaf."""
    with open_stage(tmp_path, hub, STREAMED, read_timeout="20s") as stage:
        stage.hub.script(faults.stall(0), role="cdn", times=None)
        for number in range(1, 6):
            with socket.create_connection(("127.0.0.1", stage.gateway.port)) as leaving:
                leaving.sendall(
                    f"GET {stage.big_url.removeprefix(stage.gateway.url)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                )
                wait_until(partial(has_asked, stage.hub, number), "that the upstream is asked")
            for _ in range(10):
                assert fetch(f"{stage.gateway.url}/healthz", timeout_s=5).status == 200
        stage.hub.release_stalls()
        assert "internal_error" not in stage.gateway.output()
        assert "Traceback" not in stage.gateway.output()
