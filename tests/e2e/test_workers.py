"""Two worker processes on one cache folder: a large image that is pulled through both at once is fetched once."""

from __future__ import annotations

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support import faults
from tests.support.content import MIB
from tests.support.gateway import upstream
from tests.support.images import build_image
from tests.support.registry_client import RegistryClient
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartGateway
    from tests.support.clients import Containerd, Docker
    from tests.support.gateway import Gateway
    from tests.support.hub import Hub

pytestmark = pytest.mark.real


@contextlib.contextmanager
def halted(worker: psutil.Process) -> Iterator[None]:
    """Meanwhile it takes no connection, so that the other worker takes them all."""
    time.sleep(0.2)  # what it is writing to the index: the other one would wait for that
    worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send_signal(signal.SIGCONT)


def under_way(worker: psutil.Process) -> set[str]:
    """The digests of the blobs under way that it has open."""
    paths = [Path(file.path) for file in worker.open_files()]
    return {"sha256:" + path.name.split("-")[1] for path in paths if path.parent.name == "partial"}


def wait_until_it_keeps(gateway: Gateway, hub: Hub) -> None:
    """One of the workers counts what is in the folder; nothing is kept until it has."""
    hub.add("library/first", "1", build_image("first"))

    def is_kept() -> bool:
        before = hub.count("cdn")
        RegistryClient(gateway.url).pull("library/first", "1")
        return hub.count("cdn") == before

    wait_until(is_kept)


def test_two_clients_on_two_workers_are_one_download(
    hub: Hub, start_gateway: StartGateway, docker: Docker, containerd: Containerd
) -> None:
    image = build_image("workers", layer_sizes=(64 * MIB, 30_000))
    large, *small = [*image.layers, image.config]
    hub.add("library/workers", "1", image)
    # neither client has all of it before both have begun
    hub.script(faults.stall(16 * MIB), role="cdn", method="GET", path=large.digest[7:])
    config = {
        "server": {"workers": 2},
        "cache": {"connections": 1},  # however long the upstream is held back: a slow one is asked for parts as well
        "upstreams": {"only": True, "docker.io": upstream(hub.url, default=True, library=True)},
    }
    gateway = start_gateway(config)
    supervisor = psutil.Process(gateway.pid)
    wait_until(lambda: len(supervisor.children()) == 2)
    wait_until_it_keeps(gateway, hub)
    one, other = supervisor.children()
    reference = f"{gateway.host}/library/workers:1"

    def has_fetched_the_rest() -> bool:
        answered = {line.get("reference") for line in gateway.log_records() if line.get("status") == 200}
        return {blob.digest for blob in small} <= answered and under_way(one) == {large.digest}

    with ThreadPoolExecutor(2) as pool:
        try:
            with halted(other):
                by_docker = pool.submit(docker.pull, reference)
                wait_until(has_fetched_the_rest)
            with halted(one):
                by_containerd = pool.submit(containerd.pull, reference)
                wait_until(lambda: large.digest in under_way(other))
        finally:
            hub.release_stalls()
        for pulled in (by_docker.result(60), by_containerd.result(60)):
            assert (pulled.digest, pulled.diff_ids) == (image.digest, image.diff_ids)
    docker.remove(reference)
    containerd.remove(reference)
    for idle in (one, other):
        with halted(idle):
            assert RegistryClient(gateway.url).pull("library/workers", "1") == image.digest
    assert hub.count("hub", "GET", "/workers/manifests/") == 1
    for digest in image.blobs:
        assert hub.count("hub", "GET", digest) == 1
        assert hub.count("cdn", "GET", digest[7:]) == 1
