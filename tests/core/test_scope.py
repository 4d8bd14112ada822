"""Case tables of core.scope. Invariant: what leaves grants nothing but pull, on one repository."""

import pytest

from hubferry.core.scope import MAX_SCOPES, Scope, narrow_upstream_scope, parse_scope, parse_scopes, pull_scope

PARSED: dict[str, tuple[str, Scope | None]] = {
    "pull": ("repository:a/b:pull", Scope("repository", "a/b", frozenset({"pull"}))),
    "pull and push": ("repository:a:pull,push", Scope("repository", "a", frozenset({"pull", "push"}))),
    "a host with a port": ("repository:host:5000/a:pull", Scope("repository", "host:5000/a", frozenset({"pull"}))),
    "a class": ("repository(plugin):a:pull", Scope("repository", "a", frozenset({"pull"}))),
    "no actions": ("repository:a:", Scope("repository", "a", frozenset())),
    "empty actions": ("repository:a:,,pull,", Scope("repository", "a", frozenset({"pull"}))),
    "the catalog": ("registry:catalog:*", Scope("registry", "catalog", frozenset({"*"}))),
    "one part": ("aws", None),
    "two parts": ("repository:a", None),
    "no name": ("repository::pull", None),
    "no kind": (":a:pull", None),
    "empty": ("", None),
}


@pytest.mark.parametrize(("text", "expected"), PARSED.values(), ids=PARSED.keys())
def test_the_first_and_the_last_colon_divide_a_scope(text: str, expected: Scope | None) -> None:
    assert parse_scope(text) == expected


WANTS_PULL = [
    ("repository:a:pull", True),
    ("repository:a:*", True),
    ("repository:a:push,pull", True),
    ("repository:a:push", False),
    ("repository:a:delete", False),
    ("repository:a:", False),
    ("repository:a:PULL", False),
    ("registry:catalog:*", False),
    ("plugin:a:pull", False),
]


@pytest.mark.parametrize(("text", "wants"), WANTS_PULL)
def test_only_repositories_are_pulled(text: str, wants: bool) -> None:
    scope = parse_scope(text)
    assert scope is not None
    assert scope.wants_pull is wants


def test_scopes_come_repeated_or_joined_by_spaces_and_broken_ones_are_left_out() -> None:
    found = parse_scopes(["repository:a:pull repository:b:pull", "nonsense", "repository:c:pull", ""])
    assert [scope.name for scope in found] == ["a", "b", "c"]


def test_no_more_scopes_are_read_than_any_client_asks_for() -> None:
    assert len(parse_scopes([f"repository:r{i}:pull" for i in range(1000)])) == MAX_SCOPES


def test_a_pull_scope_is_for_pull() -> None:
    assert pull_scope("library/nginx") == "repository:library/nginx:pull"


NARROWED: dict[str, tuple[str, str, str]] = {
    "what is asked is what is needed": ("repository:a/b:pull", "a/b", "repository:a/b:pull"),
    "nothing is asked": ("", "a/b", "repository:a/b:pull"),
    "push is demanded": ("repository:a/b:pull,push", "a/b", "repository:a/b:pull"),
    "everything is demanded": ("repository:a/b:*", "a/b", "repository:a/b:pull"),
    "another repository is demanded": ("repository:secret/x:pull", "a/b", "repository:a/b:pull"),
    "the catalog is demanded": ("registry:catalog:*", "a/b", "repository:a/b:pull"),
    "an opaque scope is kept": ("aws", "a/b", "repository:a/b:pull aws"),
    "a login asks for no repository": ("", "", ""),
    "a login is asked for one": ("repository:a/b:pull,push", "", ""),
}


@pytest.mark.parametrize(("asked", "repository", "expected"), NARROWED.values(), ids=NARROWED.keys())
def test_an_upstream_is_asked_for_pull_on_the_one_repository(asked: str, repository: str, expected: str) -> None:
    assert narrow_upstream_scope(asked, repository) == expected


def test_a_star_is_no_opaque_scope() -> None:
    assert "*" not in narrow_upstream_scope("*", "a/b").split()
