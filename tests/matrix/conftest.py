"""What the clients of this folder are given: an enclosure, an upstream with a switch, and something to pull."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.matrix.rows import TAG, Goods, Surroundings
from tests.matrix.table import Table
from tests.support.buildkit_images import build_chart, build_published
from tests.support.enclosure import Enclosure
from tests.support.gateway import upstream
from tests.support.switched_upstream import SwitchedUpstream
from tests.support.todays_clients import Stored, Tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.gateway import Gateway
    from tests.support.tls import Authority

TABLE = pytest.StashKey[Table]()
_numbers = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash[TABLE].lines():
        terminalreporter.section("what was pulled once is pulled again")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(scope="session")
def enclosure(authority: Authority) -> Iterator[Enclosure]:
    with Enclosure(authority) as around:
        yield around


@pytest.fixture(scope="session")
def switched(state_dir: Path) -> Iterator[SwitchedUpstream]:
    """One upstream for the whole run: leave it "up"."""
    with SwitchedUpstream(state_dir / "switched") as running:
        yield running


@dataclass(frozen=True)
class Market:
    """Publishes goods at the upstream, each name once, and has the key that signs them."""

    enclosure: Enclosure
    switched: SwitchedUpstream
    cosign: Tool

    @property
    def public_key(self) -> Path:
        return self.cosign.state / "cosign.pub"

    def around(self, gateway: Gateway) -> Surroundings:
        return Surroundings(self.enclosure, gateway, self.public_key)

    def publish(self, name: str, *, signed: bool = False) -> Goods:
        """An image with its referrers, and a chart; `signed` adds a signature that cosign verifies (a second's work).

        Where the referrers API is switched off, all of these can be found by fallback tags.
        """
        goods = Goods(name, build_published(name), build_chart(name, TAG))
        fallback_tags = self.switched.state == "no referrers API"
        goods.image.push(self.switched.push, f"library/{name}", TAG, fallback_tags=fallback_tags)
        self.switched.push(f"charts/{name}", TAG, goods.chart)
        if signed:
            image = f"{self.switched.host}/library/{name}@{goods.image.index.digest}"
            without_services = ("--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry")
            self.cosign.run("sign", "--yes", "--key", self.cosign.state / "cosign.key", *without_services, image)
        return goods


@pytest.fixture(scope="session")
def market(enclosure: Enclosure, switched: SwitchedUpstream, state_dir: Path) -> Market:
    cosign = Tool(state_dir / "signer", enclosure, "cosign", lambda _tool, _reference: Stored(None, frozenset()))
    cosign.run("generate-key-pair", "--output-key-prefix", cosign.state / "cosign")
    return Market(enclosure, switched, cosign)


@pytest.fixture
def new_state(state_dir: Path) -> Iterator[Path]:
    """A folder that does not exist yet, for one client; its path is short, see `state_dir`, and it is removed."""
    folder = state_dir / f"c{next(_numbers)}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def serving(switched: SwitchedUpstream, **cache: Any) -> dict[str, Any]:
    """A configuration with that upstream as Docker Hub, which is given up after 300 ms."""
    hub = upstream(switched.url, default=True, library=True, response_timeout="300ms")
    return {"upstreams": {"only": True, "docker.io": hub}, "cache": cache}
