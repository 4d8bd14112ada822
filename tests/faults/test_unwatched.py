"""A blob whose only reader leaves: how far it is fetched on, and what the next pull makes of it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.conftest import REPOSITORY, config
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch, open_stream
from tests.support.hub import Hub
from tests.support.waiting import wait_until

# a second's worth, and what the sockets and queues between the stand-in and the gateway's count may hold
ON_THE_WAY_BYTES = 24 * MIB


def test_a_fill_that_nobody_wants_stops_and_the_next_pull_continues_it(tmp_path: Path, hub: Hub) -> None:
    blob = Blob.generated(96 * MIB, seed=5)
    hub.add_blob(REPOSITORY, blob)
    hub.script(faults.throttle(8 * MIB), role="cdn")
    settings = config(tmp_path, hub)
    settings["cache"] |= {"max_unwatched": "1MiB", "connections": 1}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        url = f"{gateway.url}/v2/app/blobs/{blob.digest}"
        with open_stream(url) as stream:
            assert len(stream.read()) > 0
        wait_until(lambda: hub.find("cdn")[0].state != "open", "the end of the fetch")
        assert hub.find("cdn")[0].sent < MIB + ON_THE_WAY_BYTES
        assert fetch(url).body == blob.data
        first, second = hub.find("cdn")
        wanted = second.request.header("range") or ""
        assert wanted.startswith("bytes=")
        assert 0 < int(wanted.removeprefix("bytes=").rstrip("-")) <= first.sent
        hub.recorder.clear()
        assert fetch(url).body == blob.data
        assert hub.find() == []


def test_with_nothing_fetched_for_nobody_every_blob_still_arrives(tmp_path: Path, hub: Hub) -> None:
    blobs = [Blob.generated(3 * MIB + number, seed=number) for number in range(30)]
    for blob in blobs:
        hub.add_blob(REPOSITORY, blob)
    settings = config(tmp_path, hub)
    settings["cache"]["max_unwatched"] = "0B"
    with Gateway.start(tmp_path / "gateway", settings) as gateway, ThreadPoolExecutor(8) as pool:
        for blob, got in zip(
            blobs, pool.map(lambda b: fetch(f"{gateway.url}/v2/app/blobs/{b.digest}"), blobs), strict=True
        ):
            assert (got.status, got.ended, got.body == blob.data) == (200, "complete", True)
        assert len(hub.find("cdn")) == len(blobs)
