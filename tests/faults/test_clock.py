"""The machine's clock steps by a day, forwards and back, under a server that goes on: tags, tokens, limits, a fill."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.faults.conftest import REPOSITORY
from tests.faults.kept import bytes_given, check_folder, is_whole
from tests.faults.test_kept_manifests import asked, kept, tag
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import build_index
from tests.support.registry_client import RegistryClient
from tests.support.waiting import wait_until

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
DAY = "86400"


class Clock:
    """The wall clock of one process; what counts seconds (monotonic) is nobody's to set."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step("+0")
        self.env = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, offset_s: str) -> None:
        self._file.write_text(f"{offset_s}s\n")


def date_of(answer: Answer) -> str:
    return answer.header("date") or ""


@pytest.mark.skipif(LIBRARY is None, reason="faketime is not installed")
@pytest.mark.parametrize("sign", ["+", "-"])
def test_a_clock_that_steps_by_a_day_breaks_nothing(tmp_path: Path, hub: Hub, sign: str) -> None:
    index = build_index("clock")
    hub.add(REPOSITORY, "latest", index)
    big = Blob.generated(4 * MIB, 5)
    hub.add_blob(REPOSITORY, big)
    clock = Clock(tmp_path / "clock")
    settings = kept(tmp_path, hub, login="upstream")
    with Gateway.start(tmp_path / "gateway", settings, env=clock.env) as gateway:
        client = RegistryClient(gateway.url)
        assert client.get("/v2/app/manifests/latest").body == index.manifest
        before = date_of(fetch(gateway.url + "/healthz"))
        # in the middle of a download, too
        hub.script(faults.throttle(2 * MIB), role="cdn")
        pulled: list[Answer] = []
        pulling = threading.Thread(target=lambda: pulled.append(client.get(f"/v2/app/blobs/{big.digest}")))
        pulling.start()
        wait_until(lambda: bytes_given(hub, big) > MIB, "the middle of the download")
        clock.step(sign + DAY)
        wait_until(lambda: date_of(fetch(gateway.url + "/healthz"))[:16] != before[:16], "that the clock steps")
        pulling.join()
        assert is_whole(pulled[0], big)
        hub.recorder.clear()
        client = RegistryClient(gateway.url)  # after a day its token is none any more
        # an age of a day, or of less than nothing, proves nothing: the tag is confirmed, the token asked for anew
        assert client.get("/v2/app/manifests/latest").body == index.manifest
        assert asked(hub) == ["HEAD latest"]
        assert client.get("/v2/app/manifests/latest").body == index.manifest
        assert asked(hub) == ["HEAD latest"]
        # a limit of a second is over in a second, whatever the date
        hub.script(faults.answer(429, b"", (("Retry-After", "1"),)), role="hub", path="/manifests/other")
        hub.add(REPOSITORY, "other", index)
        assert client.get("/v2/app/manifests/other").status == 429
        clock.step("+0")
        client = RegistryClient(gateway.url)
        wait_until(lambda: client.get("/v2/app/manifests/other").status == 200, "that the limit is over", timeout_s=10)
        assert tag(gateway).status == 401, "nobody gets in without a token meanwhile"
    check_folder(tmp_path / "data")
