"""The gateway is restarted in mid-pull: clients get their images, and the upstream is asked only for the rest."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support import faults
from tests.support.clients import CLIENTS, ClientError
from tests.support.content import MIB
from tests.support.gateway import Gateway, upstream
from tests.support.hub import Hub
from tests.support.images import build_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.clients import Client, Pulled
    from tests.support.images import Image

pytestmark = pytest.mark.real

RATE = 8 * MIB  # a second: the layer would take six
SIZE = 48 * MIB
UNDER_WAY = 2 * MIB  # what the upstream has sent but the gateway may not have written


@dataclass(frozen=True)
class Interrupted:
    """What became of the pull of each client."""

    hub: Hub
    images: dict[str, Image]
    pulled: dict[str, Pulled]


@pytest.fixture(scope="module")
def interrupted(clients: dict[str, Client], state_dir: Path) -> Iterator[Interrupted]:
    """Each client pulls an image of its own; all of them are interrupted by the same restart."""
    images = {name: build_image(f"interrupted-{name}", layer_sizes=(SIZE, 5_000)) for name in clients}
    is_back = threading.Event()

    def pull(name: str, reference: str) -> Pulled:
        """With what retries the client has, and by hand once more."""
        try:
            return clients[name].pull(reference)
        except ClientError:
            is_back.wait(30)
            return clients[name].pull(reference)

    with Hub() as hub, ThreadPoolExecutor(len(clients)) as pool:
        for name, image in images.items():
            hub.add(f"library/interrupted-{name}", "1", image)
            hub.script(faults.throttle(RATE), role="cdn", method="GET", path=image.layers[0].digest[7:])
        config = {
            "server": {"shutdown_grace": "1s"},
            # over one: what lay ahead of several is fetched again after a restart
            "cache": {"connections": 1},
            "upstreams": {"only": True, "docker.io": upstream(hub.url, default=True, library=True)},
        }
        gateway = Gateway.start(state_dir / "interrupted", config)
        try:
            references = {name: f"{gateway.host}/library/interrupted-{name}:1" for name in clients}
            pulls = {name: pool.submit(pull, name, reference) for name, reference in references.items()}
            hub.recorder.wait_until(lambda: all(sent(hub, image) > 12 * MIB for image in images.values()))
            gateway.stop()
            gateway = Gateway.start(state_dir / "interrupted", config, port=gateway.port)
            is_back.set()
            yield Interrupted(hub, images, {name: pull.result(60) for name, pull in pulls.items()})
        finally:
            is_back.set()
            gateway.stop()
    for name, client in clients.items():
        client.remove(references[name])


def sent(hub: Hub, image: Image) -> int:
    return sum(exchange.sent for exchange in hub.find("cdn", "GET", image.layers[0].digest[7:]))


@pytest.mark.parametrize("name", CLIENTS)
def test_the_rest_is_fetched_and_no_more(interrupted: Interrupted, name: str) -> None:
    image, pulled = interrupted.images[name], interrupted.pulled[name]
    assert (pulled.digest, pulled.diff_ids) == (image.digest, image.diff_ids)
    layer = image.layers[0]
    first, rest = interrupted.hub.find("cdn", "GET", layer.digest[7:])
    assert first.state == "aborted"
    assert rest.status == 206
    begins = layer.size - rest.sent
    assert rest.request.header("range") == f"bytes={begins}-"
    assert first.sent - UNDER_WAY < begins <= first.sent
