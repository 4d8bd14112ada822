"""Today's clients with a secret in the URL of their mirror: they pull, and never go past the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.matrix.conftest import serving
from tests.matrix.rows import TAG
from tests.support.clients import ClientError
from tests.support.dockerd import Dockerd
from tests.support.gateway import Gateway
from tests.support.todays_clients import Ctr
from tests.support.users import UserBook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.matrix.conftest import Market
    from tests.matrix.rows import Goods
    from tests.support.dockerd import Store
    from tests.support.switched_upstream import SwitchedUpstream

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def book(state_dir: Path) -> UserBook:
    folder = state_dir / "mirror-secrets"
    folder.mkdir()
    book = UserBook(folder)
    book.add("nobody", "who logs in")
    return book


@pytest.fixture(scope="module")
def mirror(book: UserBook) -> str:
    return book.mirror("a-node")


@pytest.fixture(scope="module")
def gateway(book: UserBook, mirror: str, switched: SwitchedUpstream) -> Iterator[Gateway]:
    assert mirror
    config = serving(switched, dir=str(book.folder / "data"))
    with Gateway.start(book.folder / "gateway", {**config, "access": book.access}) as running:
        yield running


@pytest.fixture(scope="module")
def goods(market: Market) -> Goods:
    return market.publish("mirror-secrets")


@pytest.mark.parametrize(
    "client", ["Docker 29", "Docker 29, classic store", "hosts.toml of Docker 29", "ctr 2.4", "ctr 1.6"]
)
def test_the_secret_lets_it_pull(
    client: str, *, market: Market, gateway: Gateway, mirror: str, goods: Goods, new_state: Path
) -> None:
    market.enclosure.forget()
    reference = f"docker.io/library/{goods.name}:{TAG}"
    assert pull(client, market, f"{gateway.url}/{mirror}", reference, new_state) == goods.image.index.digest
    assert market.enclosure.escaped == []
    assert mirror.removeprefix("hubferry_") not in gateway.output()


def test_without_it_nothing_is_pulled(market: Market, gateway: Gateway, goods: Goods, new_state: Path) -> None:
    with pytest.raises(ClientError):
        pull("ctr 2.4", market, gateway.url, f"docker.io/library/{goods.name}:{TAG}", new_state)


def pull(client: str, market: Market, url: str, reference: str, state: Path) -> str | None:
    hosts = {"docker.io": f'[host."{url}"]\n'}
    if client.startswith("ctr"):
        with Ctr(state, market.enclosure, debian=client == "ctr 1.6", hosts_toml=hosts) as ctr:
            return ctr.pull(reference).digest
    if client.startswith("hosts.toml"):
        with Dockerd(state, market.enclosure, hosts_toml=hosts) as dockerd:
            return dockerd.pull(reference).digest
    store: Store = "classic" if client.endswith("classic store") else "containerd"
    with Dockerd(state, market.enclosure, store=store, mirror=url) as dockerd:
        return dockerd.pull(reference).digest
