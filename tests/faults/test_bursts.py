"""What passes by itself: bursts of errors on every host of a pull, tokens and signatures that end in the middle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.conftest import REPOSITORY, config
from tests.faults.kept import begin_of, bytes_given, check_folder, is_whole, ranges_asked
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_image

if TYPE_CHECKING:
    from tests.conftest import StartGateway

BURSTS: dict[str, faults.Action] = {
    "502": faults.answer(502),
    "503": faults.answer(503),
    "rst": faults.hang_up("rst"),
}


@pytest.mark.shells
@pytest.mark.parametrize("role", ["hub", "auth", "cdn"])
@pytest.mark.parametrize("burst", BURSTS.values(), ids=BURSTS.keys())
def test_two_errors_in_a_row_are_not_noticed(
    tmp_path: Path, hub: Hub, start_gateway: StartGateway, burst: faults.Action, role: str
) -> None:
    image = build_image("burst")
    hub.add(REPOSITORY, "latest", image)
    blob = Blob.generated(300_000, 9)
    hub.add_blob(REPOSITORY, blob)
    gateway = start_gateway(config(tmp_path, hub))
    script = hub.script(burst, role=role, times=2)
    assert fetch(f"{gateway.url}/v2/app/manifests/latest").body == image.manifest
    assert is_whole(fetch(f"{gateway.url}/v2/app/blobs/{blob.digest}"), blob)
    assert script.used >= 2


def test_an_upstream_that_goes_on_failing_is_told_after_three_times(tmp_path: Path, hub: Hub) -> None:
    hub.add(REPOSITORY, "latest", build_image("burst"))
    script = hub.script(faults.answer(500), role="hub", times=None)
    with Gateway.start(tmp_path / "gateway", config(tmp_path, hub)) as gateway:
        answer = fetch(f"{gateway.url}/v2/app/manifests/latest")
        assert answer.status == 502
        assert "docker.io answered 500" in answer.json()["errors"][0]["message"]
        assert script.used == 3


@pytest.mark.parametrize("ended", ["token", "signature", "both"])
def test_what_ends_in_the_middle_of_a_download_is_renewed(tmp_path: Path, hub: Hub, ended: str) -> None:
    """Cut twice, with the token or the signed URL no longer good: the rest is asked for anew, and nothing twice."""
    big = Blob.generated(6 * MIB, 31)
    hub.add_blob(REPOSITORY, big)
    if ended != "signature":
        hub.state.token_lifetime_s = 1
    if ended != "token":
        hub.state.signature_lifetime_s = 1
    hub.script(faults.throttle(4 * MIB), faults.cut(2 * MIB), role="cdn", times=2)
    settings: dict[str, Any] = config(tmp_path, hub)
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        begun = time.monotonic()
        assert is_whole(fetch(f"{gateway.url}/v2/app/blobs/{big.digest}"), big)
        assert time.monotonic() - begun > 0.5, "long enough for something to end"
        assert max(map(begin_of, ranges_asked(hub, big))) > 3 * MIB
        assert bytes_given(hub, big) < 7 * MIB
    check_folder(tmp_path / "data")
