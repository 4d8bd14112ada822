"""Every upstream is switched off: what was pulled once is pulled again, by every client and after a restart.

The gateway had a real docker-registry and the Docker Hub stand-in behind it. Tags are believed for no time at all, so
each of these pulls would ask an upstream if there were one.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import SOURCES, answers_since, check_amd64
from tests.support.clients import CLIENTS, ClientError
from tests.support.gateway import Gateway, upstream
from tests.support.hub import Hub
from tests.support.images import DOCKER, OCI, build_index
from tests.support.processes import closed_port, tcp_answers
from tests.support.raw_server import RawServer
from tests.support.registry import Registry
from tests.support.registry_client import RegistryClient
from tests.support.shell import settled_log
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.clients import Client
    from tests.support.images import Index

pytestmark = pytest.mark.real

# who pulled it while there was an upstream, and who pulls it without
PAIRS = [*((name, name) for name in CLIENTS), ("docker", "containerd"), ("docker", "podman")]


@dataclass
class Offline:
    """`gateway` has nothing behind it any more; `indexes` are by source and by the client that pulled once."""

    gateway: Gateway
    config: dict[str, Any]
    indexes: dict[tuple[str, str], Index] = field(default_factory=dict)

    def reference(self, source: str, warmer: str, *, by_digest: bool = False, gateway: Gateway | None = None) -> str:
        wanted = "@" + self.indexes[source, warmer].digest if by_digest else ":1"
        return f"{(gateway or self.gateway).host}/{source}/{name_of(warmer)}{wanted}"

    def start_beside(self, start: StartGateway, url: str, **cache: str) -> Gateway:
        """A second gateway on the same cache folder, with `url` as every upstream."""
        config = copy.deepcopy(self.config)
        for source in SOURCES:
            config["upstreams"][source] |= {"url": url, "response_timeout": "300ms"}
        config["cache"] |= cache
        return start(config)


def name_of(warmer: str) -> str:
    return f"library/once-{warmer}"


@pytest.fixture(scope="module")
def offline(state_dir: Path, clients: dict[str, Client]) -> Iterator[Offline]:
    state = state_dir / "offline"
    with contextlib.ExitStack() as stack:
        hub, registry = stack.enter_context(Hub()), stack.enter_context(Registry(state / "registry"))
        config = {
            "upstreams": {
                "only": True,
                "docker.io": upstream(hub.url, default=True, library=True),
                "registry.test": upstream(registry.url),
            },
            "cache": {"dir": str(state / "data"), "tag_ttl": "0s"},
        }
        offline = Offline(Gateway.start(state / "gateway", config), config)

        def stop() -> None:
            if not offline.gateway.stopped:  # by now another one than the first
                offline.gateway.stop()

        stack.callback(stop)
        for warmer, client in clients.items():
            for source in SOURCES:
                index = build_index(f"{source}/once-{warmer}", flavour=OCI if source == "docker.io" else DOCKER)
                offline.indexes[source, warmer] = index
                (hub.add if source == "docker.io" else registry.push)(name_of(warmer), "1", index)
                check_amd64(client.pull(offline.reference(source, warmer)), index)
                client.remove(offline.reference(source, warmer))
        registry.stop()
        hub.close()
        for port in (registry.port, *(server.port for server in hub.servers)):
            stack.enter_context(closed_port(port))
            assert not tcp_answers(port)
        yield offline


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("warmer", "name"), PAIRS)
def test_one_pull_is_enough(offline: Offline, clients: dict[str, Client], source: str, warmer: str, name: str) -> None:
    index = offline.indexes[source, warmer]
    layers = [layer.digest for layer in index.image("amd64").layers]
    for by_digest in (False, True):
        reference = offline.reference(source, warmer, by_digest=by_digest)
        before = len(settled_log(offline.gateway))
        pulled = clients[name].pull(reference)
        clients[name].remove(reference)
        check_amd64(pulled, index)
        answers = answers_since(offline.gateway, before, name_of(warmer), layers)
        outcomes = {(answer["reference"] == "1", answer["outcome"]) for answer in answers}
        assert outcomes == ({(False, "hit")} if by_digest else {(True, "stale"), (False, "hit")})


@pytest.mark.parametrize("source", SOURCES)
def test_a_gateway_that_starts_without_an_upstream(offline: Offline, clients: dict[str, Client], source: str) -> None:
    offline.gateway.stop()
    offline.gateway = Gateway.start(offline.gateway.state, offline.config, port=offline.gateway.port)
    for name, client in clients.items():
        for by_digest in (False, True):
            reference = offline.reference(source, name, by_digest=by_digest)
            pulled = client.pull(reference)
            client.remove(reference)
            check_amd64(pulled, offline.indexes[source, name])


@pytest.mark.parametrize("name", CLIENTS)
def test_a_platform_that_nobody_pulled_is_an_error_and_no_other_one(
    offline: Offline, clients: dict[str, Client], name: str
) -> None:
    index = offline.indexes["docker.io", name]
    before = len(settled_log(offline.gateway))
    # of a 5xx docker and podman show no more than the status
    with pytest.raises(ClientError, match=r"503 \(?Service Unavailable"):
        clients[name].pull(offline.reference("docker.io", name), platform="linux/arm64")
    arm64 = index.image("arm64")
    # its manifest and config are kept for clients that read all of the index, its layers are not
    refused = list[dict[str, Any]]()

    def is_refused() -> bool:
        answers = answers_since(offline.gateway, before, name_of(name), [arm64.digest])
        refused[:] = [line for line in answers if line["status"] != 200]
        return bool(refused)

    wait_until(is_refused, "an answer that is none")
    assert {line["reference"] for line in refused} <= {layer.digest for layer in arm64.layers}
    assert {line["status"] for line in refused} == {503}
    assert "docker.io cannot be reached" in refused[0]["problem"]
    asking = RegistryClient(offline.gateway.url)
    for reference in ("1", index.digest):
        answer = asking.manifest(f"docker.io/{name_of(name)}", reference)
        assert (answer.status, answer.body) == (200, index.manifest)


def test_a_silent_upstream_is_not_even_dialled_within_the_ttl(
    offline: Offline, clients: dict[str, Client], start_gateway: StartGateway
) -> None:
    with RawServer([b""]) as silent:
        gateway = offline.start_beside(start_gateway, silent.url, tag_ttl="1h")
        for name, client in clients.items():
            for by_digest in (False, True):
                reference = offline.reference("docker.io", name, by_digest=by_digest, gateway=gateway)
                pulled = client.pull(reference)
                client.remove(reference)
                check_amd64(pulled, offline.indexes["docker.io", name])
        assert silent.connections == 0


def test_a_silent_upstream_is_given_up_after_the_ttl(
    offline: Offline, clients: dict[str, Client], start_gateway: StartGateway
) -> None:
    with RawServer([b""]) as silent:
        gateway = offline.start_beside(start_gateway, silent.url)
        for name, client in clients.items():
            index = offline.indexes["registry.test", name]
            before = len(settled_log(gateway))
            pulled = client.pull(offline.reference("registry.test", name, gateway=gateway))
            client.remove(offline.reference("registry.test", name, gateway=gateway))
            check_amd64(pulled, index)
            answers = answers_since(gateway, before, name_of(name), ["1"])
            assert {answer["outcome"] for answer in answers if answer["reference"] == "1"} == {"stale"}
        assert silent.connections > 0
        gateway.stop()
