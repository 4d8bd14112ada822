"""Row 12: request heads that never end, are too large or have too many headers."""

from collections.abc import Iterator

import pytest

from tests.attacks.strangers import Memory, is_held_up, pour, slowest_s, strangers
from tests.faults.conftest import Stage, open_stage
from tests.support.http import fetch
from tests.support.hub import Hub

CONNECTIONS = 300


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    server = {"connections_per_address": 0}
    with Hub() as hub, open_stage(tmp_path_factory.mktemp("heads"), hub, {}, server=server) as stage:
        assert fetch(stage.manifest_url).status == 200
        yield stage


HEADS = {
    "short headers": b"a:\r\n" * 16_000,
    "one header": b"a: " + b"b" * 64_000,
    "a name": b"a" * 64_000,
    "small enough": b"a:\r\n" * 4_000,
}


@pytest.mark.parametrize("headers", HEADS.values(), ids=HEADS.keys())
def test_row_12_heads_that_never_end(stage: Stage, headers: bytes) -> None:
    quiet_s = slowest_s(stage.manifest_url)
    memory = Memory(stage.gateway)
    with strangers(stage.gateway.url, CONNECTIONS) as sockets:
        pour(sockets, b"GET /v2/ HTTP/1.1\r\nHost: a\r\n" + headers)
        growth = memory.peak_mib(0.3)
        waited_s = slowest_s(stage.manifest_url)
    figures = f"+{growth:.0f} MiB; others {quiet_s:.3f} -> {waited_s:.3f} s"
    print(figures)
    assert growth < 60, figures
    assert not is_held_up(quiet_s, waited_s), figures
