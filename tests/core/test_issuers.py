"""Tokens of issuers: which issuer, and what the claims have to say. Signatures: tests/contract/test_issuers.py."""

import base64
import json
from typing import Any

import pytest

from hubferry.core.access import UserLogin
from hubferry.core.access_values import Issuer, Issuers
from hubferry.core.issuers import MAX_TOKEN, CheckedClaims, NotAccepted, is_token, issuers_of, login_of
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.core.users import Directory, User
from hubferry.core.values import ConfigError

NOW = 1_000_000.0
ISSUER = Issuer("ci", "https://ci.example.com", "hub", (("owner", "o*"),), groups=("builders",))
CLAIMS: dict[str, Any] = {
    "iss": "https://ci.example.com", "aud": "hub", "sub": "repo:o/app", "owner": "our", "iat": NOW, "exp": NOW + 300,
}  # fmt: skip


def token(claims: Any) -> str:
    encoded = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in ({"a": 1}, claims)]
    return ".".join([*encoded, "c2ln"])


def test_claims_make_a_login() -> None:
    expected = UserLogin("ci:repo:o/app", "issuer ci", NOW + 360, ("builders",))
    assert login_of(ISSUER, CheckedClaims(CLAIMS), NOW) == expected
    for claims in ({"aud": ["x", "hub"]}, {"iat": None}, {"nbf": NOW + 30}, {"exp": NOW - 30}):
        assert login_of(ISSUER, CheckedClaims({**CLAIMS, **claims}), NOW).user == "ci:repo:o/app"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://ci.example.com/"}, "another issuer"),
    "another audience": ({"aud": "hubs"}, "audience"),
    "audiences that do not have it": ({"aud": ["x"]}, "audience"),
    "no audience": ({"aud": None}, "audience"),
    "no end": ({"exp": None}, "no end"),
    "an end that is true": ({"exp": True}, "no time"),
    "an end beyond all": ({"exp": 1e300}, "no time"),
    "expired": ({"exp": NOW - 61}, "expired"),
    "not yet": ({"nbf": NOW + 61}, "not hold yet"),
    "a claim that does not match": ({"owner": "p"}, "claim owner is not"),
    "a claim that is a number": ({"owner": 7}, "claim owner is not"),
    "no user": ({"sub": ""}, "names no user"),
    "a user with a line break": ({"sub": "a\nb"}, "names no user"),
    "a user that is too long": ({"sub": "a" * 201}, "names no user"),
}


@pytest.mark.parametrize(("claims", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_claims_that_say_something_else_are_refused(claims: dict[str, Any], words: str) -> None:
    with pytest.raises(NotAccepted, match=words):
        login_of(ISSUER, CheckedClaims({**CLAIMS, **claims}), NOW)


def test_a_token_is_of_the_issuers_that_it_names() -> None:
    other = Issuer("other", "https://other.example.com", "hub")
    again = Issuer("again", ISSUER.issuer, "hub")
    assert issuers_of(token(CLAIMS), (ISSUER, other, again)) == [ISSUER, again]
    others: list[Any] = [{}, [], {"iss": ["https://ci.example.com"]}, {"iss": "https://x"}, "x"]
    for claims in others:
        with pytest.raises(NotAccepted):
            issuers_of(token(claims), (ISSUER, other))


NO_TOKENS = ["", "a.b.c", "eyJ.eyJ", "eyJh.b.", "eyJh.b.c.d", "eyJh.b.c=", "eyJh." + "b" * MAX_TOKEN]


@pytest.mark.parametrize("text", NO_TOKENS)
def test_what_is_no_token_is_a_password(text: str) -> None:
    assert not is_token(text)
    assert is_token(token(CLAIMS))


def test_a_user_of_an_issuer_is_in_its_groups_and_in_those_of_the_settings() -> None:
    directory = Directory({}, groups={"admins": ["ci:repo"]}, issuers=["ci"])
    login = UserLogin("ci:repo", "issuer ci", NOW, ("builders",))
    assert directory.user_of(login, NOW - 1) == User("ci:repo", frozenset({"admins", "builders"}))
    assert directory.user_of(login, NOW) is None
    assert directory.user_of(UserLogin("gone:repo", "issuer gone"), NOW) is None


TABLE: dict[str, Any] = {"name": "ci", "issuer": "https://ci.example.com", "audience": "hub", "claims": {}}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no audience": ({"audience": ""}, "audience is missing"),
    "a name in capitals": ({"name": "CI"}, "lower case"),
    "no URL": ({"issuer": "ci.example.com"}, "is no base URL"),
    "plain http": ({"issuer": "http://ci.example.com"}, "expected https"),
    "keys over plain http": ({"jwks_url": "http://ci.example.com/keys"}, "expected https"),
    "an unknown key": ({"secret": "x"}, "unknown key"),
    "claims that are a list": ({"claims": ["x"]}, "expected a table of texts"),
    "a claim that is a number": ({"claims": {"x": 1}}, "expected a table of texts"),
    "a group with a slash": ({"groups": ["a/b"]}, "is no name"),
    "a user that is a list": ({"user": ["sub"]}, "expected a text"),
    "private that is a text": ({"allow_private_addresses": "yes"}, "expected true or false"),
}


@pytest.mark.parametrize(("others", "words"), BAD.values(), ids=BAD.keys())
def test_an_issuer_that_cannot_be_used_stops_the_start(others: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve([SettingsSource("t", {"access": {"login": "users", "issuers": [{**TABLE, **others}]}})])


def test_an_issuer_says_whom_it_is_for() -> None:
    with pytest.raises(ValueError, match="claims is missing: everybody"):
        Issuers.parse([{name: value for name, value in TABLE.items() if name != "claims"}])


def test_issuers_are_shown_as_they_were_written() -> None:
    assert Issuers.parse(json.dumps([TABLE])) == Issuers((Issuer("ci", "https://ci.example.com", "hub"),))
    assert 'claims = {owner = "o*"}' in Issuers((ISSUER,)).to_toml()
    with pytest.raises(ValueError, match="at most"):
        Issuers.parse([TABLE] * 101)
