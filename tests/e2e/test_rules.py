"""The operator's rules and real clients: what is denied fails with the operator's words, whether it is kept or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import Lab, check_amd64
from tests.support.clients import CLIENTS, Client, ClientError
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.images import Index

pytestmark = pytest.mark.real

WORDS = "ask the platform team for this image"
ALLOWED, DENIED = "library/rules-allowed", "library/rules-denied"


@pytest.fixture(scope="module")
def indexes(lab: Lab) -> dict[str, Index]:
    return {name: lab.publish_index("docker.io", name, "1") for name in (ALLOWED, DENIED)}


@pytest.fixture(scope="module")
def gateway(lab: Lab, indexes: dict[str, Index], state_dir: Path) -> Iterator[Gateway]:
    """What is denied is kept already: somebody pulled it before there was a rule."""
    state = state_dir / "rules"
    config = {
        "cache": {"dir": str(state / "data")},
        "upstreams": {"only": True, "docker.io": upstream(lab.stand_in.url, default=True, library=True)},
    }
    with Gateway.start(state, config) as before:
        for path in (f"manifests/{indexes[DENIED].digest}", "manifests/1"):
            assert fetch(f"{before.url}/v2/{DENIED}/{path}", headers=token_of(before)).status == 200
    rules = [{"what": [f"docker.io/{DENIED}"], "allow": False, "message": WORDS}]
    with Gateway.start(state, {**config, "access": {"rules": rules}}) as running:
        yield running


def token_of(gateway: Gateway) -> list[tuple[str, str]]:
    token = fetch(f"{gateway.url}/token?scope=repository:{DENIED}:pull").json()["token"]
    return [("Authorization", f"Bearer {token}"), ("Accept", "*/*")]


@pytest.mark.parametrize("name", CLIENTS)
def test_what_is_allowed_is_pulled_and_what_is_denied_is_not(
    gateway: Gateway, clients: dict[str, Client], indexes: dict[str, Index], name: str
) -> None:
    reference = f"127.0.0.1:{gateway.port}/{ALLOWED}:1"
    pulled = clients[name].pull(reference, platform="linux/amd64")
    clients[name].remove(reference)
    check_amd64(pulled, indexes[ALLOWED])
    for denied in (f"{DENIED}:1", f"{DENIED}@{indexes[DENIED].digest}"):
        with pytest.raises(ClientError, match=f"{WORDS}|403"):
            clients[name].pull(f"127.0.0.1:{gateway.port}/{denied}", platform="linux/amd64")


def test_a_denied_image_costs_no_question_to_its_upstream(
    lab: Lab, gateway: Gateway, clients: dict[str, Client]
) -> None:
    before = lab.stand_in.count(path=DENIED)
    with pytest.raises(ClientError):
        clients["skopeo"].pull(f"127.0.0.1:{gateway.port}/{DENIED}:1")
    assert lab.stand_in.count(path=DENIED) == before
