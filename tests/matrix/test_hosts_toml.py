"""hosts.toml without capabilities works in every version; with them some go past the gateway, or read none of it.

The registry itself cannot be reached, as where hubferry is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.markdown import page
from tests.matrix.conftest import serving
from tests.matrix.rows import TAG
from tests.support.clients import ClientError
from tests.support.dockerd import Dockerd
from tests.support.gateway import Gateway
from tests.support.todays_clients import Ctr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.matrix.conftest import Market
    from tests.matrix.rows import Goods
    from tests.support.switched_upstream import SwitchedUpstream

pytestmark = pytest.mark.real

NONE = ""
USUAL = 'capabilities = ["pull", "resolve"]'
WITH_REFERRERS = 'capabilities = ["pull", "resolve", "referrers"]'


@pytest.fixture(scope="module")
def gateway(state_dir: Path, switched: SwitchedUpstream) -> Iterator[Gateway]:
    config = serving(switched, dir=str(state_dir / "hosts-data"))
    with Gateway.start(state_dir / "hosts-gateway", config) as running:
        yield running


@pytest.fixture(scope="module")
def goods(market: Market) -> Goods:
    return market.publish("hosts-toml")


@pytest.mark.parametrize(
    ("client", "capabilities", "goes_past"),
    [
        ("Docker 29", NONE, None),
        ("Docker 29", USUAL, "/referrers/"),
        ("Docker 29", WITH_REFERRERS, None),
        ("ctr 2.4", NONE, None),
        ("ctr 2.4", USUAL, None),
        ("ctr 2.4", WITH_REFERRERS, None),
        ("ctr 1.6", NONE, None),
        ("ctr 1.6", USUAL, None),
        ("ctr 1.6", WITH_REFERRERS, f"/manifests/{TAG}"),
    ],
)
def test_capabilities(
    client: str,
    capabilities: str,
    goes_past: str | None,
    *,
    market: Market,
    gateway: Gateway,
    goods: Goods,
    new_state: Path,
) -> None:
    hosts = {"docker.io": f'[host."{gateway.url}"]\n  {capabilities}\n'}
    market.enclosure.forget()
    reference = f"docker.io/library/{goods.name}:{TAG}"
    if goes_past is None:
        assert pull(client, market, hosts, reference, new_state) == goods.image.index.digest
        assert market.enclosure.escaped == []
        return
    with pytest.raises(ClientError):
        pull(client, market, hosts, reference, new_state)
    assert goes_past in market.enclosure.escaped[0]


@pytest.mark.parametrize("client", ["Docker 29", "ctr 2.4"])
def test_the_file_of_the_documentation(
    client: str, market: Market, gateway: Gateway, goods: Goods, new_state: Path
) -> None:
    texts = {fence.body for fence in page("docs/clients.md").fences if '"referrers"' in fence.body}
    assert len(texts) == 1, "one file for both"
    hosts = {"_default": texts.pop().replace("https://hub.example.com", gateway.url)}
    market.enclosure.forget()
    reference = f"docker.io/library/{goods.name}:{TAG}"
    assert pull(client, market, hosts, reference, new_state) == goods.image.index.digest
    assert market.enclosure.escaped == []


def pull(client: str, market: Market, hosts: dict[str, str], reference: str, state: Path) -> str | None:
    if client == "Docker 29":
        with Dockerd(state, market.enclosure, hosts_toml=hosts) as dockerd:
            return dockerd.pull(reference).digest
    with Ctr(state, market.enclosure, debian=client == "ctr 1.6", hosts_toml=hosts) as ctr:
        return ctr.pull(reference).digest
