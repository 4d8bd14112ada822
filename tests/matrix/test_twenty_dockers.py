"""Twenty of today's most used client at once cost the upstream nothing for an image that is kept whole.

That one fresh client of each kind costs nothing is a column of the matrix (test_matrix.py).
"""

from __future__ import annotations

import concurrent.futures
import time
from typing import TYPE_CHECKING

import pytest

from tests.matrix.conftest import serving
from tests.matrix.pulls import pull_afresh
from tests.matrix.rows import ROWS
from tests.support.gateway import Gateway
from tests.support.registry_client import ACCEPT_MANIFESTS, RegistryClient
from tests.support.shell import settled_log
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.matrix.conftest import Market
    from tests.support.switched_upstream import SwitchedUpstream

pytestmark = pytest.mark.real

AT_ONCE = 20
QUIET_S = 0.5


@pytest.fixture(scope="module")
def gateway(state_dir: Path, switched: SwitchedUpstream) -> Iterator[Gateway]:
    config = serving(switched, dir=str(state_dir / "ttl-data"), tag_ttl="1h")
    with Gateway.start(state_dir / "ttl-gateway", config) as running:
        yield running


def test_twenty_dockers_at_once_cost_the_upstream_nothing(market: Market, gateway: Gateway, new_state: Path) -> None:
    docker = next(row for row in ROWS if row.name == "Docker 29, name")
    goods = market.publish("ttl-twenty")
    before = len(gateway.log_records())
    assert pull_afresh(docker, market, gateway, goods, new_state) is None
    records = [line for line in settled_log(gateway)[before:] if line.get("repository") == docker.repository(goods)]
    transcript = [(line["method"], line["path"], line["status"]) for line in records if line["status"] != 401]
    assert any("/referrers/" in path for _, path, _ in transcript)
    wait_until_quiet(market.switched)

    def replay(_: int) -> list[tuple[str, str, int]]:
        client = RegistryClient(gateway.url)
        return [
            (method, path, client.get(path, [ACCEPT_MANIFESTS], method=method).status) for method, path, _ in transcript
        ]

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        replayed = list(pool.map(replay, range(AT_ONCE)))
    assert replayed == [transcript] * AT_ONCE
    assert [f"{one.request.method} {one.request.target}" for one in market.switched.asked] == []


def wait_until_quiet(switched: SwitchedUpstream) -> None:
    """Until what the gateway fetches ahead is there: nothing is under way, and nothing has come for a while."""
    seen, since = -1, time.monotonic()

    def is_quiet() -> bool:
        nonlocal seen, since
        if len(switched.asked) != seen:
            seen, since = len(switched.asked), time.monotonic()
        return time.monotonic() - since >= QUIET_S and all(one.state != "open" for one in switched.asked)

    wait_until(is_quiet, "that the gateway stops asking", seen=lambda: seen)
    switched.forget()
