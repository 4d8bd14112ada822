"""Tokens of issuers as a login: those that are accepted, and every kind that is not."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from joserfc.jwk import OctKey, RSAKey

from tests.contract.test_users import manifest, pull, token
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.images import build_image
from tests.support.issuer import AUDIENCE, StandInIssuer, unsigned
from tests.support.registry_client import ACCEPT_MANIFESTS, basic
from tests.support.users import UserBook
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.hub import Hub

OTHER_KEY = RSAKey.generate_key(2048, {"kid": "first"})
SHARED = OctKey.import_key("a secret that is long enough for this")


@pytest.fixture
def issuer() -> Iterator[StandInIssuer]:
    with StandInIssuer() as running:
        yield running


def config(hub: Hub, issuer: StandInIssuer, **others: Any) -> dict[str, Any]:
    for name in ("library/app", "team/app"):
        hub.add(name, "1", build_image(name))
    docker = upstream(hub.url, default=True, library=True)
    ours = {
        "name": "ci", "issuer": issuer.url, "audience": AUDIENCE, "claims": {"owner": "o"}, "groups": ["builders"],
        "allow_private_addresses": True,
    }  # fmt: skip
    access = {"login": "users", "issuers": [{**ours, **others.pop("issuer", {})}], **others}
    return {"access": access, "upstreams": {"only": True, "docker.io": docker}}


def test_a_token_of_an_issuer_is_a_login(hub: Hub, issuer: StandInIssuer, start_gateway: StartGateway) -> None:
    rules = [
        {"who": ["group:builders"], "what": ["docker.io/library/*"], "allow": True},
        {"who": ["user:ci:repo:o/*"], "what": ["docker.io/team/*"], "allow": True},
        {"allow": False},
    ]
    gateway = start_gateway(config(hub, issuer, rules=rules))
    assert pull(gateway, "app", ("oauth2", issuer.token())) == (200, 200)
    assert pull(gateway, "team/app", ("oauth2", issuer.token())) == (200, 200)
    assert pull(gateway, "team/app", ("oauth2", issuer.token(sub="repo:p/app"))) == (200, 403)
    assert pull(gateway, "app", ("oauth2", issuer.token(aud=["x", AUDIENCE]))) == (200, 200)
    assert pull(gateway, "app") == (401, 0)
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"], "the keys are fetched once"
    users = {record.get("user") for record in gateway.log_records() if record.get("path", "").endswith("manifests/1")}
    assert users == {"ci:repo:o/app", "ci:repo:p/app"}


WRONG: dict[str, Callable[[StandInIssuer], str]] = {
    "no algorithm": lambda issuer: unsigned({"alg": "none"}, issuer.claims()),
    "no algorithm, with the kid": lambda issuer: unsigned({"alg": "none", "kid": "first"}, issuer.claims()),
    "the key as a shared secret": lambda issuer: issuer.token(SHARED, {"alg": "HS256"}),
    "another key": lambda issuer: issuer.token(OTHER_KEY),
    "a key that nobody has": lambda issuer: issuer.token(OTHER_KEY, {"kid": "second"}),
    "a key that is not named": lambda issuer: unsigned({"alg": "RS256"}, issuer.claims()),
    "a key of its own": lambda issuer: issuer.token(
        OTHER_KEY, {"kid": "second", "jwk": OTHER_KEY.as_dict(private=False)}
    ),
    "a changed claim": lambda issuer: _changed(issuer.token()),
    "another algorithm": lambda issuer: unsigned({"alg": "ES256", "kid": "first"}, issuer.claims()),
    "an extension that is not known": lambda issuer: unsigned(
        {"alg": "RS256", "kid": "first", "crit": ["b64"], "b64": False}, issuer.claims()
    ),
    "another audience": lambda issuer: issuer.token(aud="https://other.example.com"),
    "no audience": lambda issuer: issuer.token(aud=None),
    "another issuer": lambda issuer: issuer.token(iss="https://other.example.com"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "an issuer that is a list": lambda issuer: issuer.token(iss=[issuer.url]),
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 120),
    "without an end": lambda issuer: issuer.token(exp=None),
    "an end that is a text": lambda issuer: issuer.token(exp="never"),
    "not yet": lambda issuer: issuer.token(nbf=int(time.time()) + 600),
    "issued in the future": lambda issuer: issuer.token(iat=int(time.time()) + 600),
    "another owner": lambda issuer: issuer.token(owner="p"),
    "no owner": lambda issuer: issuer.token(owner=None),
    "no user": lambda issuer: issuer.token(sub=None),
    "a user with a space": lambda issuer: issuer.token(sub="a b"),
}


def _changed(signed: str) -> str:
    header, claims, signature = signed.split(".")
    other = unsigned({}, {"iss": "x"}).split(".")[1]
    return ".".join([header, claims[:-4] + other[:4], signature])


def test_every_other_token_is_refused_and_never_shown_to_an_upstream(
    hub: Hub, issuer: StandInIssuer, start_gateway: StartGateway
) -> None:
    gateway = start_gateway({**config(hub, issuer), "server": {"trusted_proxies": ["127.0.0.1/32"]}})
    for number, (what, make) in enumerate(WRONG.items()):
        wrong = make(issuer)
        answer = token(gateway, "app", ("oauth2", wrong), peer=f"192.0.2.{number}")
        assert answer.status == 401, what
        assert wrong not in answer.body.decode()
        assert wrong not in gateway.output()
    assert hub.count() == 0
    assert any(record.get("event") == "token_refused" for record in gateway.log_records())
    assert pull(gateway, "app", ("oauth2", issuer.token())) == (200, 200)
    assert issuer.asked.count("/keys") == 1, "made-up keys have them fetched again once in a while only"


def test_a_login_ends_with_its_token(hub: Hub, issuer: StandInIssuer, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, issuer))
    ends_at = int(time.time()) - 57  # clocks may differ by a minute
    bearer = str(token(gateway, "app", ("oauth2", issuer.token(exp=ends_at))).json()["token"])
    assert manifest(gateway, "app", bearer).status == 200
    wait_until(lambda: manifest(gateway, "app", bearer).status == 401, what="the token has ended")
    assert time.time() >= ends_at + 60


def test_nothing_of_the_gateways_is_shown_to_an_upstream_by_who_has_a_secret(
    hub: Hub, issuer: StandInIssuer, start_gateway: StartGateway, tmp_path: Path
) -> None:
    book = UserBook(tmp_path)
    book.add("alice", "correct horse")
    mirror, revoked = book.mirror("node1"), book.token("alice")
    by_user = {row["user"]: row["id"] for row in json.loads(book.run("token", "ls", "--json"))["tokens"]}
    book.run("token", "revoke", by_user["alice"])
    gateway = start_gateway(config(hub, issuer, users_file=str(book.users_file)))
    own = issuer.token()
    for secret in (own, mirror, f"{mirror}:pw", revoked, f"{revoked}:pw", issuer.token(OTHER_KEY)):
        credentials = ("oauth2", secret)
        headers = [ACCEPT_MANIFESTS, basic(*credentials)]
        fetch(f"{gateway.url}/{mirror}/v2/app/manifests/1", headers=headers)
        token(gateway, "app", credentials, f"/{mirror}")
        shown = str([exchange.request.headers for exchange in hub.find()])
        assert basic(*credentials)[1] not in shown


def test_who_hangs_up_does_not_end_the_fetching_of_keys(
    hub: Hub, issuer: StandInIssuer, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(config(hub, issuer))
    issuer.delay_s = 0.5
    url = urlsplit(gateway.url)
    with socket.create_connection((str(url.hostname), int(url.port or 0))) as stranger:
        line = "Authorization: " + basic("x", issuer.token(OTHER_KEY))[1]
        stranger.sendall(f"GET /token?scope=repository:app:pull HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode())
        wait_until(lambda: bool(issuer.asked), what="the keys are asked for")
    assert pull(gateway, "app", ("oauth2", issuer.token())) == (200, 200)


def test_many_jobs_of_one_address_may_log_in_at_once(
    hub: Hub, issuer: StandInIssuer, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(config(hub, issuer))
    tokens = [issuer.token(sub=f"repo:o/app{number}") for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda one: token(gateway, "app", ("oauth2", one)).status, tokens))
    assert statuses == [200] * 20


PROBLEMS: dict[str, Callable[[StandInIssuer], None]] = {
    "an error": lambda issuer: setattr(issuer, "status", 503),
    "another name": lambda issuer: setattr(issuer, "named", "https://other.example.com"),
    "no keys": lambda issuer: setattr(issuer, "published", []),
    "shared secrets": lambda issuer: setattr(issuer, "published", [{**SHARED.as_dict(), "kid": "first"}]),
    "keys that are none": lambda issuer: setattr(issuer, "published", [{"kty": "RSA", "kid": "first"}]),
    "too many": lambda issuer: setattr(issuer, "published", issuer.published * 101),
}


@pytest.mark.parametrize("spoil", PROBLEMS.values(), ids=PROBLEMS.keys())
def test_an_issuer_whose_keys_cannot_be_used_lets_nobody_in(
    hub: Hub, issuer: StandInIssuer, start_gateway: StartGateway, spoil: Callable[[StandInIssuer], None]
) -> None:
    spoil(issuer)
    gateway = start_gateway(config(hub, issuer))
    assert pull(gateway, "app", ("oauth2", issuer.token()))[0] in (401, 503)
    assert pull(gateway, "app", ("oauth2", issuer.token(SHARED, {"alg": "HS256"})))[0] in (401, 503)
    assert hub.count() == 0


def test_users_of_a_file_and_of_an_issuer_are_not_confused(
    hub: Hub, issuer: StandInIssuer, start_gateway: StartGateway, tmp_path: Path
) -> None:
    book = UserBook(tmp_path)
    book.add("alice", "correct horse")
    rules = [{"who": ["user:alice"], "allow": True}, {"allow": False}]
    settings = config(hub, issuer, rules=rules, users_file=str(book.users_file))
    gateway: Gateway = start_gateway(settings)
    assert pull(gateway, "app", ("alice", "correct horse")) == (200, 200)
    assert pull(gateway, "app", ("alice", issuer.token(sub="alice"))) == (200, 403)
