"""The gateway's own users: who gets what, with a password, an access token, a secret in the path, or nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import Gateway, upstream
from tests.support.http import Answer, fetch
from tests.support.images import build_image
from tests.support.processes import StartError
from tests.support.registry_client import ACCEPT_MANIFESTS, basic, parse_bearer
from tests.support.users import UserBook
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.hub import Hub

ALICE = ("alice", "correct horse")
BOB = ("bob", "battery staple")
CARL = ("carl", "upstream-secret")  # an account of the upstream
WRONG = ("alice", "wrong horse")


@pytest.fixture
def book(tmp_path: Path) -> UserBook:
    book = UserBook(tmp_path)
    for user in (ALICE, BOB):
        book.add(*user)
    return book


@pytest.fixture
def hub(hub: Hub) -> Hub:
    for name in ("library/app", "library/open", "team/app"):
        hub.add(name, "1", build_image(name))
    hub.state.users.update([CARL])
    hub.add("carl/app", "1", build_image("carl/app"), readers={"carl"})
    return hub


def config(hub: Hub, book: UserBook, **access: Any) -> dict[str, Any]:
    docker = upstream(hub.url, default=True, library=True)
    return {"access": {**book.access, **access}, "upstreams": {"only": True, "docker.io": docker}}


def token(
    gateway: Gateway,
    repository: str,
    credentials: tuple[str, str] | None = None,
    prefix: str = "",
    *,
    peer: str = "192.0.2.1",
) -> Answer:
    """`peer` counts where the gateway trusts whoever says so."""
    headers = [basic(*credentials)] if credentials else []
    headers.append(("X-Forwarded-For", peer))
    return fetch(f"{gateway.url}{prefix}/token?service=x&scope=repository:{repository}:pull", headers=headers)


def pull(
    gateway: Gateway, repository: str, credentials: tuple[str, str] | None = None, prefix: str = ""
) -> tuple[int, int]:
    """The statuses of a token and of a manifest with it, as clients ask; 0 for what was not asked."""
    issued = token(gateway, repository, credentials, prefix)
    if issued.status != 200:
        return issued.status, 0
    return issued.status, manifest(gateway, repository, str(issued.json()["token"]), prefix).status


def manifest(gateway: Gateway, repository: str, bearer: str, prefix: str = "") -> Answer:
    headers = [ACCEPT_MANIFESTS, ("Authorization", f"Bearer {bearer}")]
    return fetch(f"{gateway.url}{prefix}/v2/{repository}/manifests/1", headers=headers)


def test_a_user_pulls_and_a_stranger_does_not(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, book))
    assert fetch(f"{gateway.url}/v2/").status == 401
    challenge = parse_bearer(str(fetch(f"{gateway.url}/v2/app/manifests/1").header("www-authenticate")))
    assert challenge["scope"] == "repository:app:pull"
    assert pull(gateway, "app") == (401, 0)
    assert pull(gateway, "app", WRONG) == (401, 0)
    assert pull(gateway, "app", ("nobody", "correct horse")) == (401, 0)
    assert hub.count() == 0, "nothing was asked for somebody who is not logged in"
    assert pull(gateway, "app", ALICE) == (200, 200)
    assert pull(gateway, "app") == (401, 0), "also when it is kept"


def test_a_token_is_one_for_its_user_and_its_repository(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    rules = [
        {"who": ["user:alice"], "what": ["docker.io/team/**"], "allow": True},
        {"who": ["group:builders"], "what": ["docker.io/library/app"], "allow": True},
        {"who": ["anyone"], "what": ["docker.io/library/open"], "allow": True},
        {"what": ["**"], "allow": False, "message": "ask the platform team"},
    ]
    gateway = start_gateway(config(hub, book, rules=rules, groups={"builders": ["bob"]}))
    assert pull(gateway, "team/app", ALICE) == (200, 200)
    assert pull(gateway, "team/app", BOB) == (200, 403)
    assert pull(gateway, "app", BOB) == (200, 200)
    assert pull(gateway, "app", ALICE) == (200, 403)
    assert pull(gateway, "open") == (200, 200)
    assert pull(gateway, "open", ALICE) == (200, 200)
    bearer = str(token(gateway, "team/app", BOB).json()["token"])
    refused = manifest(gateway, "team/app", bearer)
    assert (refused.status, refused.error_code) == (403, "DENIED")
    assert "ask the platform team" in refused.body.decode()
    assert manifest(gateway, "app", str(token(gateway, "open").json()["token"])).status == 401
    assert manifest(gateway, "team/app", str(token(gateway, "app", ALICE).json()["token"])).status == 401


def test_an_access_token_stands_for_a_password_and_ends(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    secret, short = book.token("alice"), book.token("bob", "--expires", "2s")
    gateway = start_gateway(config(hub, book))
    assert pull(gateway, "app", ("alice", secret)) == (200, 200)
    assert pull(gateway, "app", ("alice", secret[:-1] + ("0" if secret[-1] != "0" else "1"))) == (401, 0)
    direct = fetch(f"{gateway.url}/v2/app/manifests/1", headers=[ACCEPT_MANIFESTS, basic("x", secret)])
    assert direct.status == 200, "without a token of the gateway's"
    headers = [ACCEPT_MANIFESTS, basic("bob", short)]
    wait_until(
        lambda: fetch(f"{gateway.url}/v2/app/manifests/1", headers=headers).status == 401, what="the token ended"
    )
    assert fetch(f"{gateway.url}/v2/app/manifests/1", headers=[ACCEPT_MANIFESTS, basic(*ALICE)]).status == 401, (
        "a password is shown to the token endpoint only"
    )


def test_a_login_of_the_upstream_comes_behind_an_access_token(
    hub: Hub, book: UserBook, start_gateway: StartGateway
) -> None:
    secret = book.token("alice")
    gateway = start_gateway(config(hub, book))
    both = (CARL[0], f"{secret}:{CARL[1]}")
    assert pull(gateway, "carl/app", both) == (200, 200)
    assert pull(gateway, "app", both) == (200, 200)
    assert pull(gateway, "carl/app", ("alice", secret))[1] in (401, 403, 404)
    assert pull(gateway, "carl/app", CARL) == (401, 0), "an account of the upstream opens nothing here"
    shown = [exchange.request.header("authorization") or "" for exchange in hub.find()]
    assert basic(*both)[1] not in shown, "the upstream sees its own password and no token of the gateway's"
    assert basic(*CARL)[1] in shown


def test_a_secret_in_the_path_is_a_login(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    secret, other = book.mirror("node1"), book.mirror("node2")
    rules = [
        {"who": ["user:node1"], "what": ["docker.io/team/**"], "allow": False},
        {"who": ["users"], "what": ["**"], "allow": True},
    ]
    gateway = start_gateway(config(hub, book, rules=rules))
    assert fetch(f"{gateway.url}/{secret}/v2/").status == 200, "no challenge: dockerd would answer it with Hub's login"
    assert fetch(f"{gateway.url}/{secret}/v2/app/manifests/1", headers=[ACCEPT_MANIFESTS]).status == 200
    assert fetch(f"{gateway.url}/{secret}/v2/team/app/manifests/1", headers=[ACCEPT_MANIFESTS]).status == 403
    assert fetch(f"{gateway.url}/{other}/v2/team/app/manifests/1", headers=[ACCEPT_MANIFESTS]).status == 200
    private = fetch(f"{gateway.url}/{secret}/v2/carl/app/manifests/1", headers=[ACCEPT_MANIFESTS])
    assert private.status == 401
    assert parse_bearer(str(private.header("www-authenticate")))["realm"] == f"{gateway.url}/{secret}/token"
    assert pull(gateway, "carl/app", CARL, prefix=f"/{secret}") == (200, 200)
    bearer = str(token(gateway, "app", prefix=f"/{secret}").json()["token"])
    assert manifest(gateway, "app", bearer, prefix=f"/{other}").status == 401, "a token of another client"
    altered = secret[:-1] + ("1" if secret.endswith("0") else "0")
    for path in (f"/{secret}x/v2/", f"/{altered}/v2/", f"//{secret}/v2/"):
        assert fetch(gateway.url + path).status == 404, path
    assert fetch(f"{gateway.url}/{book.token('alice')}/v2/").status == 404, "an access token is none"
    in_name = fetch(f"{gateway.url}/v2/{secret}/app/manifests/1", headers=[basic("x", book.token("alice"))])
    assert in_name.status == 400


def test_nothing_of_the_gateways_is_shown_to_an_upstream(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    access_token, mirror = book.token("alice"), book.mirror("node1")
    gateway = start_gateway(config(hub, book))
    names = [f"{mirror}/app", f"docker.io/{mirror}/app", f"{access_token}/app", f"x/{mirror.upper()}"]
    for credentials in (ALICE, ("alice", access_token), ("whoever", access_token), WRONG):
        for prefix in ("", f"/{mirror}"):
            pull(gateway, "carl/app", credentials, prefix)
            headers = [ACCEPT_MANIFESTS, basic(*credentials)]
            fetch(f"{gateway.url}{prefix}/v2/carl/app/manifests/1", headers=headers)
            fetch(f"{gateway.url}{prefix}/v2/", headers=headers)
            for name in names:
                token(gateway, name, credentials, prefix)
                fetch(f"{gateway.url}{prefix}/v2/{name}/manifests/1", headers=headers)
    for name in names:
        both = (CARL[0], f"{access_token}:{CARL[1]}")
        assert token(gateway, name, both).status == 200, "a scope that cannot be granted is left out"
        assert fetch(f"{gateway.url}/{mirror}/v2/{name}/manifests/1").status == 400
    for exchange in hub.find():
        seen = f"{exchange.request.target} {exchange.request.headers}".lower()
        for secret in (mirror, access_token, basic(*ALICE)[1], basic("alice", access_token)[1], basic(*WRONG)[1]):
            assert secret.lower() not in seen


def test_links_to_the_next_page_keep_the_secret(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    mirror = book.mirror("node1")
    for number in range(3):
        hub.add("library/app", f"t{number}", build_image("library/app"))
    gateway = start_gateway(config(hub, book))
    answer = fetch(f"{gateway.url}/{mirror}/v2/app/tags/list?n=1")
    link = str(answer.header("link"))
    assert link.startswith(f"</{mirror}/v2/app/tags/list?")
    assert fetch(gateway.url + link[1 : link.index(">")]).status == 200
    alice = [basic("x", book.token("alice"))]
    wait_until(lambda: fetch(f"{gateway.url}/v2/app/tags/list?n=1", headers=alice).status == 200, what="alice")
    assert str(fetch(f"{gateway.url}/v2/app/tags/list?n=1", headers=alice).header("link")).startswith("</v2/app/")


def test_secrets_and_passwords_are_in_no_log(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    mirror, access = book.mirror("node1"), book.token("alice")
    gateway = start_gateway({**config(hub, book), "server": {"log_level": "debug"}})
    fetch(f"{gateway.url}/{mirror}/v2/app/manifests/1", headers=[ACCEPT_MANIFESTS])
    fetch(f"{gateway.url}/{mirror}/nothing")
    fetch(f"{gateway.url}/{mirror.replace('h', '%68')}/v2/app/manifests/1")
    fetch(f"{gateway.url}/{mirror.replace('_', '%5F')}/v2/app/manifests/1")
    fetch(f"{gateway.url}/{mirror}x/v2/app/manifests/1")
    fetch(f"{gateway.url}/x/{mirror}/v2/app/manifests/1")
    fetch(f"{gateway.url}/v2/{mirror}/app/manifests/1")
    fetch(f"{gateway.url}/v2/app/manifests/{mirror}", headers=[basic("alice", access)])
    pull(gateway, "app", ("alice", access))
    pull(gateway, "app", ALICE)
    pull(gateway, "app", ("alice", access + "0"))
    gateway.stop()
    written = (gateway.state / "stderr.log").read_text() + (gateway.state / "stdout.log").read_text()
    for secret in (mirror, access, ALICE[1]):
        assert secret not in written
        assert secret.removeprefix("hubferry_") not in written


def test_what_is_revoked_ends_while_it_runs(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    secret, mirror = book.token("alice"), book.mirror("node1")
    gateway = start_gateway(config(hub, book))
    bearer = str(token(gateway, "app", ("alice", secret)).json()["token"])
    by_password = str(token(gateway, "app", BOB).json()["token"])

    def statuses() -> list[int]:
        mirrored = fetch(f"{gateway.url}/{mirror}/v2/app/manifests/1", headers=[ACCEPT_MANIFESTS]).status
        return [manifest(gateway, "app", bearer).status, manifest(gateway, "app", by_password).status, mirrored]

    assert statuses() == [200, 200, 200]
    by_id = {row["user"]: row["id"] for row in json.loads(book.run("token", "ls", "--json"))["tokens"]}
    book.run("token", "revoke", by_id["alice"])
    wait_until(lambda: statuses() == [401, 200, 200], what="the access token is revoked, and nothing else")
    book.run("user", "passwd", "bob", "--password-stdin", "--cost", "4", stdin="another one\n")
    wait_until(lambda: statuses() == [401, 401, 200], what="the password is another one")
    book.run("token", "revoke", by_id["node1"])
    wait_until(lambda: statuses() == [401, 401, 404], what="the secret of a client is revoked")
    assert pull(gateway, "app", (BOB[0], "another one")) == (200, 200)
    assert pull(gateway, "app", ALICE) == (200, 200)
    fresh = [ACCEPT_MANIFESTS, basic("alice", book.token("alice"))]
    url = f"{gateway.url}/v2/app/manifests/1"
    wait_until(lambda: fetch(url, headers=fresh).status == 200, what="a new access token counts")
    book.run("user", "rm", "alice")
    wait_until(lambda: fetch(url, headers=fresh).status == 401, what="the user is removed with her access tokens")
    assert pull(gateway, "app", ALICE) == (401, 0)


def test_a_file_that_cannot_be_read_changes_nothing(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, book))
    good = book.users_file.read_text()
    book.users_file.write_text(good + "dave:plain\n")
    wait_until(
        lambda: any(record.get("event") == "users_not_reread" for record in gateway.log_records()), what="it is said"
    )
    assert pull(gateway, "app", ALICE) == (200, 200)
    swapped = book.users_file.with_name("swapped")
    swapped.write_text(good.splitlines()[1] + "\n")
    link = book.users_file.with_name("link")
    link.symlink_to(swapped)
    bearer = str(token(gateway, "app", ALICE).json()["token"])
    link.replace(book.users_file)
    wait_until(lambda: manifest(gateway, "app", bearer).status == 401, what="Kubernetes swaps a symbolic link")
    assert pull(gateway, "app", BOB) == (200, 200)


def test_a_search_is_for_who_is_logged_in(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    settings = config(hub, book)
    settings["upstreams"]["docker.io"]["search_url"] = f"{hub.url}/v1/search"
    gateway = start_gateway(settings)
    assert fetch(f"{gateway.url}/v1/search?q=app").status == 401
    assert hub.count() == 0
    assert fetch(f"{gateway.url}/v1/search?q=app", headers=[basic(*ALICE)]).status == 200
    assert fetch(f"{gateway.url}/v1/search?q=app", headers=[basic(*WRONG)]).status == 401


def test_guessing_is_slowed_down(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    gateway = start_gateway(config(hub, book))
    statuses = [token(gateway, "app", ("alice", f"guess {number}")).status for number in range(8)]
    assert statuses[:5] == [401] * 5
    assert statuses[-1] == 429
    answer = token(gateway, "app", ("alice", "guess 9"))
    assert int(str(answer.header("retry-after"))) >= 1
    assert "this gateway" in answer.body.decode() or "too many wrong passwords" in answer.body.decode()
    assert token(gateway, "app", ("bob", "guess 10")).status == 429, "the address is slowed down"


def test_a_gateway_without_its_users_does_not_start(hub: Hub, book: UserBook, start_gateway: StartGateway) -> None:
    book.users_file.unlink()
    with pytest.raises(StartError, match="hubferry user add"):
        start_gateway(config(hub, book))


def test_kept_content_is_given_to_users_while_the_upstream_is_away(
    hub: Hub, book: UserBook, start_gateway: StartGateway
) -> None:
    gateway = start_gateway({**config(hub, book), "cache": {"tag_ttl": "0s"}})
    assert pull(gateway, "app", ALICE) == (200, 200)
    hub.close()
    assert pull(gateway, "app", BOB) == (200, 200)
    assert pull(gateway, "app") == (401, 0)


@pytest.mark.shells
def test_users_may_be_in_variables(hub: Hub, book: UserBook, start_gateway: StartGateway, shell: str) -> None:
    mirror, access_token = book.mirror("node1"), book.token("alice")
    env = {
        "HUBFERRY_ACCESS__SECRETS": (book.folder / "secrets.json").read_text(),
        "HUBFERRY_ACCESS__USERS": "alice:!\n",
    }
    docker = upstream(hub.url, default=True, library=True)
    settings = {"access": {"login": "users"}, "upstreams": {"only": True, "docker.io": docker}}
    gateway = start_gateway(settings, env=env)
    assert fetch(f"{gateway.url}/v2/").status == 401
    assert pull(gateway, "app") == (401, 0)
    assert pull(gateway, "app", ALICE) == (401, 0), "she has no password here"
    assert pull(gateway, "app", ("alice", access_token)) == (200, 200)
    assert fetch(f"{gateway.url}/{mirror}/v2/app/manifests/1", headers=[ACCEPT_MANIFESTS]).status == 200
    assert pull(gateway, "carl/app", CARL, prefix=f"/{mirror}") == (200, 200)
    assert fetch(f"{gateway.url}/{mirror[:-4]}0000/v2/").status == 404
    assert shell in ("server", "worker")
