"""What is kept costs the upstream nothing and is given to nobody else: pulls of an image that was pulled before."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import ALICE, BOB, Lab, answers_since, check_amd64
from tests.support import faults
from tests.support.clients import CLIENTS, ClientError, Containerd, Docker, Podman, Skopeo
from tests.support.gateway import Gateway, upstream
from tests.support.images import build_index
from tests.support.processes import closed_port
from tests.support.shell import settled_log
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.clients import Client, Pulled
    from tests.support.hub import Hub
    from tests.support.images import Index

pytestmark = pytest.mark.real

REFUSED = r"(?i)denied|unauthorized|authentication required|authorization failed|401"
WITH_EACH_PULL = ("containerd", "skopeo")  # show their credentials; the others have logged in before
BRIEF_S = 3.0  # longer than a pull takes between its first request and its last


def asked(hub: Hub) -> list[str]:
    return [f"{exchange.request.method} {exchange.request.path}" for exchange in hub.find()]


def wait_complete(hub: Hub, index: Index) -> None:
    """Wait until what belongs to the image was fetched as well: the configs of its other platforms come last."""
    configs = {image.config.digest.removeprefix("sha256:") for image in index.images}
    wait_until(lambda: all(hub.count("cdn", path=config) for config in configs), "all of it was fetched")


def references(repository: str, index: Index) -> tuple[str, str]:
    return f"{repository}:1", f"{repository}@{index.digest}"


@pytest.mark.parametrize("name", CLIENTS)
def test_within_the_ttl_nothing_is_asked(lab: Lab, clients: dict[str, Client], name: str) -> None:
    index = build_index(f"warm-{name}")
    lab.stand_in.add(f"library/warm-{name}", "1", index)
    by_tag, by_digest = references(lab.reference("docker.io", "default", f"library/warm-{name}"), index)
    check_amd64(clients[name].pull(by_tag), index)
    clients[name].remove(by_tag)
    wait_complete(lab.stand_in, index)
    lab.stand_in.recorder.clear()
    gateway = lab.gateways["docker.io"]
    before = len(settled_log(gateway))
    for reference in (by_tag, by_digest):
        check_amd64(clients[name].pull(reference), index)
        clients[name].remove(reference)
    assert asked(lab.stand_in) == []
    layers = [layer.digest for layer in index.image("amd64").layers]
    answers = answers_since(gateway, before, f"library/warm-{name}", layers)
    assert {answer["outcome"] for answer in answers} == {"hit"}


@pytest.fixture(scope="module")
def brief(lab: Lab, clients: dict[str, Client], state_dir: Path) -> Iterator[tuple[Gateway, dict[str, Index]]]:
    """A gateway that believes tags for BRIEF_S, and images that each client pulled longer ago than that."""
    config = {
        "upstreams": {"only": True, "docker.io": upstream(lab.stand_in.url, default=True, library=True)},
        "cache": {"tag_ttl": f"{BRIEF_S:.0f}s"},
    }
    indexes = {}
    with Gateway.start(state_dir / "brief", config) as gateway:
        for name, client in clients.items():
            indexes[name] = build_index(f"brief-{name}")
            lab.stand_in.add(f"library/brief-{name}", "1", indexes[name])
            client.pull(f"{gateway.host}/library/brief-{name}:1")
            client.remove(f"{gateway.host}/library/brief-{name}:1")
            wait_complete(lab.stand_in, indexes[name])
        time.sleep(BRIEF_S)  # the TTL passes
        yield gateway, indexes


@pytest.mark.parametrize("name", CLIENTS)
def test_after_the_ttl_one_head_is_all(
    lab: Lab, brief: tuple[Gateway, dict[str, Index]], clients: dict[str, Client], name: str
) -> None:
    gateway, indexes = brief
    by_tag, by_digest = references(f"{gateway.host}/library/brief-{name}", indexes[name])
    for reference, expected in ((by_digest, []), (by_tag, [f"HEAD /v2/library/brief-{name}/manifests/1"])):
        lab.stand_in.recorder.clear()
        check_amd64(clients[name].pull(reference), indexes[name])
        clients[name].remove(reference)
        assert asked(lab.stand_in) == expected


@pytest.fixture
def private(hub: Hub, start_gateway: StartGateway) -> tuple[Gateway, Index]:
    """`alice/app` is Alice's; a tag is confirmed each time."""
    hub.state.users.update([ALICE, BOB])
    index = build_index("private")
    hub.add("alice/app", "1", index, readers={"alice"})
    config: dict[str, Any] = {
        "upstreams": {"only": True, "docker.io": upstream(hub.url, default=True, library=True)},
        "cache": {"tag_ttl": "0s"},
    }
    return start_gateway(config), index


def pull_as(client: Client, reference: str, account: tuple[str, str] | None) -> Pulled:
    """Pull as somebody, None: anonymously; neither image nor login stays."""
    registry = reference.partition("/")[0]
    try:
        if isinstance(client, Containerd):
            return client.pull(reference, user=account)
        if isinstance(client, Skopeo):
            return client.pull(reference, credentials=account)
        assert isinstance(client, Docker | Podman)
        if account:
            client.login(registry, *account)
        try:
            return client.pull(reference)
        finally:
            if account:
                client.run("logout", registry)
    finally:
        client.remove(reference)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_kept_private_image_is_for_those_who_may_have_it(
    hub: Hub, private: tuple[Gateway, Index], clients: dict[str, Client], name: str
) -> None:
    gateway, index = private
    client = clients[name]
    both = references(f"{gateway.host}/alice/app", index)
    check_amd64(pull_as(client, both[0], ALICE), index)
    for reference in both:
        for account in (None, BOB):
            with pytest.raises(ClientError, match=REFUSED):
                pull_as(client, reference, account)
        check_amd64(pull_as(client, reference, ALICE), index)
    # what an account was shown lately counts until its token is over
    hub.state.repositories["alice/app"].readers = frozenset({"bob"})
    hub.advance(hub.state.token_lifetime_s)
    for reference in both:
        with pytest.raises(ClientError, match=REFUSED):
            pull_as(client, reference, ALICE)
        check_amd64(pull_as(client, reference, BOB), index)
    # what is fetched ahead, the other platform's configuration, may come at any time: once
    fetched = [exchange.request.path for exchange in hub.find("cdn")]
    assert len(fetched) == len(set(fetched)), "something was fetched again"
    assert not [line for line in gateway.log_records() if line.get("outcome") == "stale"]


def test_what_covers_a_failure_is_for_those_who_may_have_it(
    hub: Hub, private: tuple[Gateway, Index], skopeo: Skopeo
) -> None:
    gateway, index = private
    by_tag, _ = references(f"{gateway.host}/alice/app", index)
    check_amd64(pull_as(skopeo, by_tag, ALICE), index)
    hub.script(faults.answer(503), role="hub", path="/manifests/", times=None)
    for account in (None, BOB):
        with pytest.raises(ClientError, match="503"):
            pull_as(skopeo, by_tag, account)
    before = len(settled_log(gateway))
    check_amd64(pull_as(skopeo, by_tag, ALICE), index)
    answers = answers_since(gateway, before, "alice/app", ["1"])
    assert {answer["outcome"] for answer in answers if answer["reference"] == "1"} == {"stale"}


@pytest.fixture
def shown(hub: Hub, start_gateway: StartGateway) -> tuple[Gateway, dict[str, Index]]:
    """A gateway with one image for everybody and one of Alice's."""
    hub.state.users.update([ALICE])
    indexes = {"library/open": build_index("shown-open"), "alice/app": build_index("shown-private")}
    for repository, index in indexes.items():
        hub.add(repository, "1", index, readers={"alice"} if repository == "alice/app" else None)
    config = {"upstreams": {"only": True, "docker.io": upstream(hub.url, default=True, library=True)}}
    return start_gateway(config), indexes


@pytest.mark.parametrize("name", WITH_EACH_PULL)
def test_within_the_ttl_nothing_is_asked_for_a_login_either(
    hub: Hub, shown: tuple[Gateway, dict[str, Index]], clients: dict[str, Client], name: str
) -> None:
    gateway, indexes = shown
    for _ in range(2):  # the first time a client may still hold blobs of an image that was removed a moment ago
        for repository in indexes:
            pull_as(clients[name], f"{gateway.host}/{repository}:1", ALICE)
    for index in indexes.values():
        wait_complete(hub, index)
    hub.recorder.clear()
    for repository, index in indexes.items():
        check_amd64(pull_as(clients[name], f"{gateway.host}/{repository}:1", ALICE), index)
    assert asked(hub) == []


@pytest.mark.parametrize("name", WITH_EACH_PULL)
def test_a_login_does_not_stand_in_the_way_when_the_upstream_is_off(
    hub: Hub, shown: tuple[Gateway, dict[str, Index]], clients: dict[str, Client], name: str
) -> None:
    gateway, indexes = shown
    hub.state.token_lifetime_s = 60  # too short to give the client another that promises it a minute
    for account in (None, ALICE):
        pull_as(clients[name], f"{gateway.host}/library/open:1", account)
    hub.close()
    with contextlib.ExitStack() as stack:
        for server in hub.servers:
            stack.enter_context(closed_port(server.port))
        check_amd64(pull_as(clients[name], f"{gateway.host}/library/open:1", None), indexes["library/open"])
        check_amd64(pull_as(clients[name], f"{gateway.host}/library/open:1", ALICE), indexes["library/open"])
