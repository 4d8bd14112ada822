"""Wrong passwords: how many of a stranger's guesses reach the upstream from the gateway's address, and who waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.faults.conftest import REPOSITORY, config
from tests.faults.kept import at_once
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.registry_client import basic

GUESSES = 300
MAX_RELAYED = 12  # 5 are free; then 1 s, 2 s, 4 s, ... apart: this many take half a minute
PATHS = {
    "the token endpoint": "/token?service=x&scope=repository:app:pull",
    "a login": "/token?service=x",
    "a manifest": "/v2/app/manifests/latest",
    "the base": "/v2/",
}


@contextmanager
def serving(tmp_path: Path, hub: Hub) -> Iterator[Gateway]:
    hub.add(REPOSITORY, "latest", build_image("passwords"))
    hub.state.users["alice"] = "right"
    hub.state.users["bob"] = "bob's"
    settings = config(tmp_path, hub, login="upstream")
    settings["server"] = {"trusted_proxies": ["127.0.0.1/32"]}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        yield gateway


def log_in(gateway: Gateway, address: str, password: str, user: str = "alice", path: str = "") -> Answer:
    """As the client of a reverse proxy that says that it has this address."""
    url = gateway.url + (path or PATHS["a login"])
    return fetch(url, headers=[basic(user, password), ("X-Forwarded-For", address)])


def relayed(hub: Hub) -> int:
    """How many passwords the upstream was shown."""
    return sum(exchange.request.header("authorization") is not None for exchange in hub.find("auth"))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_row_19_guesses_are_not_relayed_without_end(tmp_path: Path, hub: Hub, path: str) -> None:
    with serving(tmp_path, hub) as gateway:
        answers = [log_in(gateway, "192.0.2.1", f"guess-{number}", path=path) for number in range(GUESSES)]
        count = relayed(hub)
        assert count <= MAX_RELAYED, f"{count} of {GUESSES} guesses were relayed"
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {401, 429}
        assert statuses.count(401) == count
        refused = answers[-1] if answers[-1].status == 429 else answers[-2]
        assert 1 <= int(refused.header("Retry-After") or 0) <= 60
        assert refused.error_code == "TOOMANYREQUESTS"
        assert "too many wrong passwords" in refused.json()["errors"][0]["message"]
        # the owner, from elsewhere; and then from there as well, because what held is no guess
        assert log_in(gateway, "192.0.2.2", "right").status == 200
        assert log_in(gateway, "192.0.2.2", "right", path=path).status == 200
        assert log_in(gateway, "192.0.2.1", "right").status == 200


def test_row_19_guesses_at_once_are_no_more_than_one_after_the_other(tmp_path: Path, hub: Hub) -> None:
    with serving(tmp_path, hub) as gateway:
        jobs = [lambda n=n: log_in(gateway, "192.0.2.1", f"guess-{n}").status for n in range(60)]
        statuses = at_once(jobs)
        count = relayed(hub)
    assert count <= MAX_RELAYED, f"{count} of 60 guesses at once were relayed"
    assert statuses.count(401) == count


def test_row_19_one_account_from_many_addresses_and_many_accounts_from_one(tmp_path: Path, hub: Hub) -> None:
    with serving(tmp_path, hub) as gateway:
        for number in range(20):  # 20 users from one address
            log_in(gateway, "192.0.2.1", "guess", user=f"user-{number}")
        assert (count := relayed(hub)) <= MAX_RELAYED, f"{count} of 20 guesses were relayed"
        hub.recorder.clear()
        for number in range(20):  # one network of IPv6 addresses is one client
            log_in(gateway, f"2001:db8::{number:x}", "guess", user=f"user-{number}")
        assert (count := relayed(hub)) <= MAX_RELAYED, f"{count} of 20 guesses were relayed"
        hub.recorder.clear()
        for _ in range(5):  # 20 addresses, each of which would have 5 guesses
            for number in range(20):
                log_in(gateway, f"198.51.100.{number}", "guess")
        assert (count := relayed(hub)) <= 20 + MAX_RELAYED, f"{count} of 100 guesses were relayed"
        assert log_in(gateway, "203.0.113.1", "right").status == 200


def test_row_19_a_client_that_asks_for_much_at_once_is_no_guesser(tmp_path: Path, hub: Hub) -> None:
    with serving(tmp_path, hub) as gateway:
        for user, password in (("alice", "right"), ("bob", "bob's")):
            ask = partial(log_in, gateway, "192.0.2.1", password, user)
            answers = at_once([partial(ask, path) for path in [*PATHS.values()] * 5])
            assert {answer.status for answer in answers} == {200}
