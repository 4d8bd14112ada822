"""Whom a question goes to: the bases of an upstream, and whose right counts for a credential."""

import pytest

from hubferry.core.access import Credential
from hubferry.core.redirect import Trust
from hubferry.core.settings import UpstreamSettings
from hubferry.remote.target import Target, Upstream

OWN, SECOND, CLIENTS = Credential("bot", "1"), Credential("bot2", "2"), Credential("alice", "3")


def upstream(*accounts: Credential, url: str = "https://a.example", mirrors: tuple[str, ...] = ()) -> Upstream:
    return Upstream("a.example", UpstreamSettings(url=url, mirrors=mirrors), Trust(), accounts)


@pytest.mark.parametrize(("accounts", "account"), [((), None), ((OWN,), OWN), ((SECOND, OWN), SECOND)])
def test_one_account_stands_for_all_of_them(accounts: tuple[Credential, ...], account: Credential | None) -> None:
    assert upstream(*accounts).account == account


BASES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "its own alone": ("https://a.example", (), ("https://a.example",)),
    "its own first": (
        "https://a.example",
        ("https://c.example", "https://b.example"),
        ("https://a.example", "https://c.example", "https://b.example"),
    ),
    "no slash at the end, for a path follows": (
        "https://a.example/",
        ("https://b.example/prefix//",),
        ("https://a.example", "https://b.example/prefix"),
    ),
}


@pytest.mark.parametrize(("url", "mirrors", "bases"), BASES.values(), ids=BASES.keys())
def test_the_bases_are_its_own_url_and_then_its_mirrors(
    url: str, mirrors: tuple[str, ...], bases: tuple[str, ...]
) -> None:
    assert upstream(url=url, mirrors=mirrors).bases == bases


# the credential; whether it is the gateway's own, and whether everybody's right counts for it
WHO: dict[str, tuple[Credential | None, bool, bool]] = {
    "nobody": (None, False, True),
    "an account of the gateway's own": (OWN, True, True),
    "another one of them": (SECOND, True, True),
    "the same name and password, from a client": (Credential("bot", "1"), True, True),
    "a client's": (CLIENTS, False, False),
    "the name of an own account with another password": (Credential("bot", "9"), False, False),
}


@pytest.mark.parametrize(("credential", "is_own", "is_everybodys"), WHO.values(), ids=WHO.keys())
def test_everybodys_right_counts_for_nobody_and_for_the_gateways_own_accounts(
    credential: Credential | None, *, is_own: bool, is_everybodys: bool
) -> None:
    target = Target(upstream(OWN, SECOND), "a/b", credential)
    assert (target.is_own, target.is_everybodys) == (is_own, is_everybodys)


def test_nobody_is_no_account_of_an_upstream_without_any() -> None:
    target = Target(upstream())
    assert (target.is_own, target.is_everybodys, target.repository) == (False, True, "")
    assert not target.may_use_mirrors, "a mirror is asked only for whom that was decided"


def test_no_secret_is_shown() -> None:
    assert "hunter2" not in repr(Target(upstream(Credential("bot", "hunter2")), "a/b", Credential("alice", "hunter2")))
