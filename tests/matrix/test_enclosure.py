"""A client that goes past the gateway is seen: what the matrix says of nobody having done so means something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.matrix.conftest import serving
from tests.matrix.rows import ROWS
from tests.support.clients import ClientError
from tests.support.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.matrix.conftest import Market
    from tests.matrix.rows import Goods, Row
    from tests.support.switched_upstream import SwitchedUpstream

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def gateway(state_dir: Path, switched: SwitchedUpstream) -> Iterator[Gateway]:
    config = serving(switched, dir=str(state_dir / "clients-data"))
    with Gateway.start(state_dir / "clients-gateway", config) as running:
        yield running


@pytest.fixture(scope="module")
def goods(market: Market) -> Goods:
    return market.publish("for-everybody")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_way_past_the_gateway_is_seen(
    row: Row, market: Market, gateway: Gateway, goods: Goods, new_state: Path
) -> None:
    """The gateway answers 404 for what Docker Hub does not have; or it is not named at all."""
    market.enclosure.forget()
    absent = row.direct_reference("docker.io", goods).replace(goods.name, "absent")
    with row.start(new_state, market.around(gateway)) as client, pytest.raises(ClientError):
        client.pull(absent)
    hosts = {line.split()[1].partition("/")[0] for line in market.enclosure.escaped}
    assert hosts
    assert hosts <= {"docker.io", "index.docker.io", "registry-1.docker.io"}
