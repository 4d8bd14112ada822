"""What a stranger could do, in sentences, and which configurations have to be confirmed."""

from typing import Any

import pytest

from hubferry.core.exposure import describe_exposure, is_loopback, problem_of_openness
from hubferry.core.settings import Settings
from hubferry.core.settings_sources import SettingsSource, resolve


def settings_of(listen: str = ":5000", **tables: Any) -> Settings:
    server = {"listen": listen, **tables.pop("server", {})}
    upstreams = {"only": True, "docker.io": {}, "ghcr.io": {}, **tables.pop("upstreams", {})}
    return resolve([SettingsSource("test", {"server": server, "upstreams": upstreams, **tables})])


LOOPBACK = {
    "127.0.0.1:5000": True, "127.9.9.9:1": True, "[::1]:5000": True, "localhost:5000": True,
    ":5000": False, "0.0.0.0:5000": False, "[::]:5000": False, "192.168.1.2:5000": False, "hub.example.com:5000": False,
}  # fmt: skip


@pytest.mark.parametrize(("address", "expected"), LOOPBACK.items())
def test_an_address_is_of_this_machine_or_beyond(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


RESTRICTED: dict[str, dict[str, Any]] = {
    "on this machine": {"listen": "127.0.0.1:5000"},
    "confirmed": {"server": {"public": True}},
    "by network": {"access": {"networks": ["10.0.0.0/8"]}},
    "by denied networks": {"access": {"deny_networks": ["10.0.0.0/8"]}},
    "by users": {"access": {"login": "users", "users_file": "x"}},
    "by images": {"access": {"allow": ["docker.io/**"]}},
    "by denied images": {"access": {"deny": ["docker.io/**"]}},
    "by rules": {"access": {"rules": [{"allow": False}]}},
    "by limits": {"limits": {"requests": "1/s"}},
}


@pytest.mark.parametrize("tables", RESTRICTED.values(), ids=RESTRICTED.keys())
def test_who_restricts_or_confirms_is_not_asked(tables: dict[str, Any]) -> None:
    assert problem_of_openness(settings_of(**tables)) == ""


UNRESTRICTED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no login": {"access": {"login": "open"}},
    "a limit of no client": {"limits": {"burst": "20s", "upstream_rate": "1MiB/s"}},
    "every network": {"access": {"networks": ["10.0.0.0/8", "0.0.0.0/0"]}},
    "users, and everything for anyone": {
        "access": {"login": "users", "users_file": "x", "rules": [{"who": ["anyone"], "allow": True}]}
    },
}


@pytest.mark.parametrize("tables", UNRESTRICTED.values(), ids=UNRESTRICTED.keys())
def test_who_restricts_nothing_is_asked(tables: dict[str, Any]) -> None:
    problem = problem_of_openness(settings_of("0.0.0.0:5000", **tables))
    assert problem.startswith("whoever reaches 0.0.0.0:5000 could pull anything")
    assert "--public" in problem
    assert "\n" not in problem


EVERYTHING = "Without a login everybody can pull every image of docker.io, ghcr.io"
SENTENCES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing is set": ({}, [
        "Everybody who can reach :5000 can connect.",
        f"{EVERYTHING}.",
        "A client may have any number of requests, downloads at a time, bytes ([limits]).",
        "Passwords and tokens travel unencrypted: set tls_cert, or public_url to the https URL of a proxy.",
    ]),
    "behind a proxy, open": ({"listen": "127.0.0.1:5000", "access": {"login": "open"}}, [
        "Only this machine can connect (127.0.0.1:5000), and whom a proxy on it passes on.",
        f"{EVERYTHING}.",
        "A client may have any number of requests, downloads at a time, bytes ([limits]).",
    ]),
    "an account": ({
        "listen": "127.0.0.1:5000",
        "upstreams": {"docker.io": {"username": "a", "password": "b"}},
        "access": {"deny": ["ghcr.io/e"], "rules": [{"allow": False, "what": ["ghcr.io/x"]}]},
        "limits": {"requests": "1/s", "downloads": 1, "bytes_per_day": "1GB"},
    }, [
        "Only this machine can connect (127.0.0.1:5000), and whom a proxy on it passes on.",
        f"{EVERYTHING}, but not ghcr.io/e, as far as access.rules allow it.",
        "That includes the private images that the gateway's own accounts of docker.io may pull.",
    ]),
    "users": ({
        "server": {"public_url": "https://hub.example.com", "metrics_from": ["0.0.0.0/0"]},
        "pages": {"operators": ["0.0.0.0/0"]},
        "access": {"login": "users", "users_file": "x", "rules": [{"who": ["users", "group:a"], "allow": True}]},
        "upstreams": {"ghcr.io": {"allow_private_addresses": True}},
    }, [
        "Everybody who can reach :5000 can connect.",
        "Without a login nobody can pull anything.",
        "A client may have any number of requests, downloads at a time, bytes ([limits]).",
        "Everybody who can connect can read the metrics (metrics_from).",
        "Everybody who can connect can see what is pulled, and remove what is kept (pages.operators).",
        "ghcr.io may lead the gateway to addresses of your own network (allow_private_addresses).",
    ]),
    "a public issuer, and everybody trusted": ({
        "listen": "127.0.0.1:5000",
        "server": {"trusted_proxies": ["0.0.0.0/0"]},
        "access": {"login": "users", "issuers": [
            {"name": "ci", "issuer": "https://ci.example.com", "audience": "hub", "claims": {}},
            {"name": "own", "issuer": "https://own.example.com", "audience": "hub", "claims": {"a": "b"}}]},
        "limits": {"requests": "1/s", "downloads": 1, "bytes_per_day": "1GB"},
    }, [
        "Only this machine can connect (127.0.0.1:5000), and whom a proxy on it passes on.",
        "Without a login nobody can pull anything.",
        "Whoever can get a token of https://ci.example.com for hub is logged in.",
        "Everybody can say which address it has (trusted_proxies).",
    ]),
    "users, and something for strangers": ({
        "listen": "127.0.0.1:5000",
        "upstreams": {"docker.io": {"username": "a", "password": "b"}},
        "access": {"login": "users", "users_file": "x", "networks": ["10.0.0.0/8"], "deny_networks": ["10.1.0.0/16"],
                   "rules": [{"who": ["user:a"], "allow": True},
                             {"who": ["10.2.0.0/16", "users"], "what": ["docker.io/**"], "allow": True},
                             {"who": ["anyone"], "what": ["ghcr.io/o"], "allow": True}]},
        "limits": {"requests": "1/s", "downloads": 1, "bytes_per_day": "1GB"},
    }, [
        "Only this machine can connect (127.0.0.1:5000), and whom a proxy on it passes on.",
        "Only clients in 10.0.0.0/8 are answered.",
        "Clients in 10.1.0.0/16 are not answered.",
        "Behind a proxy every client has the proxy's address, unless trusted_proxies or proxy_protocol names it.",
        "Without a login: rule 2 lets clients in 10.2.0.0/16 pull docker.io/**; rule 3 lets everybody pull ghcr.io/o.",
        "That includes the private images that the gateway's own accounts of docker.io may pull.",
    ]),
}  # fmt: skip


@pytest.mark.parametrize(("tables", "expected"), SENTENCES.values(), ids=SENTENCES.keys())
def test_what_a_stranger_could_do(tables: dict[str, Any], expected: list[str]) -> None:
    assert list(describe_exposure(settings_of(**tables))) == expected
