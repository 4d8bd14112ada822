"""What images consist of, over both shells: parts of blobs, heads without bodies, redirects on the way to them, and
private images for those who may have them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.images import build_image, build_index
from tests.support.registry_client import RegistryClient, basic

if TYPE_CHECKING:
    from tests.conftest import StartGateway
    from tests.support.hub import Hub

pytestmark = pytest.mark.shells

BLOB = Blob.generated(MIB, seed=21)


def table(hub: Hub, login: str, cache: dict[str, Any] | None = None) -> dict[str, Any]:
    docker = upstream(hub.url, default=True, library=True)
    return {"access": {"login": login}, "cache": cache or {}, "upstreams": {"only": True, "docker.io": docker}}


@pytest.fixture
def blob_url(hub: Hub, start_gateway: StartGateway) -> str:
    """Nothing is kept: a server that keeps blobs asks for whole ones, whatever part it was asked for."""
    hub.add_blob("library/app", BLOB)
    return f"{start_gateway(table(hub, 'open', {'enabled': False})).url}/v2/app/blobs/{BLOB.digest}"


def test_a_part_of_a_blob(blob_url: str) -> None:
    for asked, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=2-5", 2, 5),
        (f"bytes={MIB - 10}-", MIB - 10, MIB - 1),
        (f"bytes=1000-{MIB * 2}", 1000, MIB - 1),
        ("bytes=-3", MIB - 3, MIB - 1),
    ):
        part = fetch(blob_url, headers=[("Range", asked)])
        assert (part.status, part.body) == (206, BLOB.data[first : last + 1]), asked
        assert part.header("Content-Range") == f"bytes {first}-{last}/{MIB}"
        assert part.header("Content-Length") == str(last - first + 1)


def test_several_ranges_are_refused_and_one_bad_range_is_ignored(blob_url: str) -> None:
    assert fetch(blob_url, headers=[("Range", "bytes=0-1,3-4")]).status == 400
    assert fetch(blob_url, headers=[("Range", "bytes=" + ",".join(["0-1"] * 5000))]).status in (400, 431)
    assert fetch(blob_url, headers=[("Range", "bytes=9-3")]).status == 200
    assert fetch(blob_url, headers=[("Range", f"bytes={MIB}-")]).status == 416


def test_a_range_survives_every_redirect_and_a_signed_url_that_has_expired(hub: Hub, blob_url: str) -> None:
    again = f"/v2/library/app/blobs/{BLOB.digest}?again"
    hub.script(faults.redirect(again), role="hub", path=BLOB.digest)
    hub.script(faults.answer(403), role="cdn", path="/data")
    part = fetch(blob_url, headers=[("Range", "bytes=400000-400099")])
    assert (part.status, part.body) == (206, BLOB.data[400_000:400_100])
    asked = [exchange.request for exchange in [*hub.find("hub", path="/blobs/"), *hub.find("cdn")]]
    assert len(asked) >= 4
    assert {request.header("range") for request in asked} == {"bytes=400000-400099"}


def test_head_stays_head_over_redirects(hub: Hub, blob_url: str) -> None:
    hub.script(faults.redirect(f"/v2/library/app/blobs/{BLOB.digest}?again"), role="hub", path=BLOB.digest)
    head = fetch(blob_url, "HEAD")
    assert (head.status, head.body, head.header("Content-Length")) == (200, b"", str(MIB))
    assert head.header("Docker-Content-Digest") == BLOB.digest
    asked = {exchange.request.method for exchange in [*hub.find("hub", path="/blobs/"), *hub.find("cdn")]}
    assert asked == {"HEAD"}


def test_head_of_what_is_not_there_has_no_body(hub: Hub, blob_url: str) -> None:
    for path in (f"blobs/sha256:{'0' * 64}", "manifests/nothing"):
        answer = fetch(blob_url.partition("/blobs/")[0] + f"/{path}", "HEAD")
        assert (answer.status, answer.body) == (404, b"")


@pytest.fixture
def private(hub: Hub, start_gateway: StartGateway) -> Gateway:
    """`alice/app:1` is alice's; bob has an account as well."""
    hub.state.users |= {"alice": "wonder land/7", "bob": "builder"}
    hub.add("alice/app", "1", build_index("private"), readers={"alice"})
    return start_gateway(table(hub, "upstream"))


def test_a_private_image_is_its_readers_and_stays_theirs(private: Gateway) -> None:
    alice = RegistryClient(private.url, credentials=("alice", "wonder land/7"))
    digest = alice.pull("alice/app", "1")
    for credentials in (None, ("bob", "builder")):
        client = RegistryClient(private.url, credentials=credentials)
        assert client.manifest("alice/app", "1").status in (401, 403, 404)
        assert client.manifest("alice/app", digest).status in (401, 403, 404)
    assert alice.pull("alice/app", "1") == digest


def test_a_wrong_password_gets_no_token(private: Gateway) -> None:
    refused = fetch(f"{private.url}/token?service={private.host}", headers=[basic("alice", "guess")])
    assert (refused.status, refused.error_code) == (401, "UNAUTHORIZED")
    accepted = fetch(f"{private.url}/token?service={private.host}", headers=[basic("alice", "wonder land/7")])
    assert accepted.status == 200


def test_a_token_is_asked_for_with_a_form_as_well(private: Gateway) -> None:
    """docker and containerd post their credentials first, as OAuth 2 has it."""
    scope = "repository:alice/app:pull"
    form = {"grant_type": "password", "service": private.host, "scope": scope, "client_id": "docker"}
    login = urlencode({**form, "username": "alice", "password": "wonder land/7"}).encode()
    as_form = [("Content-Type", "application/x-www-form-urlencoded")]
    issued = fetch(f"{private.url}/token", "POST", as_form, body=login)
    assert issued.status == 200
    bearer = [("Authorization", f"Bearer {issued.json()['access_token']}")]
    assert fetch(f"{private.url}/v2/alice/app/manifests/1", headers=bearer).status == 200
    guess = urlencode({**form, "username": "alice", "password": "guess"}).encode()
    assert fetch(f"{private.url}/token", "POST", as_form, body=guess).status == 401


def test_an_image_as_a_file_is_given_by_a_shell_that_reads_blobs(
    hub: Hub, start_gateway: StartGateway, shell: str
) -> None:
    image = build_image("file")
    hub.add("library/file", "1", image)
    gateway = start_gateway(table(hub, "upstream", {"enabled": False}))
    address = f"{gateway.url}/download?image=file:1@{image.digest}"
    answer = fetch(address)
    if shell == "worker":
        assert (answer.status, b"use a gateway on a server" in answer.body) == (501, True)
        return
    assert (answer.status, len(answer.body)) == (200, int(answer.header("Content-Length") or 0))
    part = fetch(address, headers=[("Range", "bytes=5000-40000"), ("If-Range", answer.header("ETag") or "")])
    assert (part.status, part.body) == (206, answer.body[5000:40001])
