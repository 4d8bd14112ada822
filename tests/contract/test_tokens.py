"""A token of one shell is one of the other, where both have the same key and are reached by the same name."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.images import build_index
from tests.support.registry_client import basic
from tests.support.worker import TOKEN_KEY, Deployment

if TYPE_CHECKING:
    from tests.conftest import Deploy, StartGateway
    from tests.support.hub import Hub

NAME = "hub.example.com"
ALICE = ("alice", "secret")


def new_key() -> dict[str, str]:
    return {TOKEN_KEY: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}


@pytest.fixture
def config(hub: Hub) -> dict[str, Any]:
    hub.state.users.update([ALICE])
    hub.add("alice/app", "1", build_index("private"), readers={"alice"})
    hub.add("library/app", "1", build_index("public"))
    docker = upstream(hub.url, default=True, library=True)
    return {"upstreams": {"only": True, "docker.io": docker}}


def issue(
    shell: Gateway | Deployment, repository: str, host: str | None, credentials: tuple[str, str] | None = None
) -> str:
    headers = [basic(*credentials)] if credentials else []
    issued = fetch(f"{shell.url}/token?scope=repository:{repository}:pull", headers=headers, host=host)
    assert issued.status == 200
    return str(issued.json()["token"])


def status(shell: Gateway | Deployment, repository: str, host: str | None, token: str) -> int:
    bearer = [("Authorization", f"Bearer {token}")]
    return fetch(f"{shell.url}/v2/{repository}/manifests/1", headers=bearer, host=host).status


@pytest.mark.parametrize("named_by", ["Host", "public_url"])
def test_tokens_are_interchangeable(
    config: dict[str, Any], start_gateway: StartGateway, deploy: Deploy, named_by: str
) -> None:
    host = NAME if named_by == "Host" else None
    if named_by == "public_url":
        config["server"] = {"public_url": f"https://{NAME}"}
    key = new_key()
    server, worker = start_gateway(config, env=key), deploy(config, env=key)
    for issuer, other in ((server, worker), (worker, server)):
        anonymous = issue(issuer, "app", host)
        assert status(other, "app", host, anonymous) == 200
        assert status(other, "alice/app", host, anonymous) == 401, "it names one repository there as well"
        alice = issue(issuer, "alice/app", host, ALICE)
        assert status(other, "alice/app", host, alice) == 200, "the credential in it holds"


def test_a_token_under_another_key_or_for_another_name_is_refused(
    config: dict[str, Any], start_gateway: StartGateway, deploy: Deploy
) -> None:
    server, worker = start_gateway(config, env=new_key()), deploy(config, env=new_key())
    for issuer, other in ((server, worker), (worker, server)):
        token = issue(issuer, "app", NAME)
        assert status(issuer, "app", NAME, token) == 200
        assert status(issuer, "app", "other.example.com", token) == 401
        assert status(other, "app", NAME, token) == 401
