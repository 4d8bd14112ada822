"""Scopes: nothing but pull leaves, whatever was asked for."""

from hypothesis import given
from hypothesis import strategies as st

from hubferry.core.scope import MAX_SCOPES, narrow_upstream_scope, parse_scope, parse_scopes, pull_scope
from tests.properties.inputs import hostile, repository

actions = st.lists(st.sampled_from(["pull", "push", "delete", "*", "", "admin"]), max_size=4).map(",".join)
kinds = st.sampled_from(["repository", "repository(plugin)", "registry", ""])
scopes = st.one_of(hostile, st.builds("{}:{}:{}".format, kinds, st.one_of(repository, hostile), actions))
challenges = st.lists(scopes, max_size=5).map(" ".join)


@given(challenges, st.one_of(st.just(""), repository))
def test_nothing_but_pull_on_the_one_repository_leaves(asked: str, name: str) -> None:
    words = narrow_upstream_scope(asked, name).split()
    resource_scopes = [word for word in words if ":" in word]
    assert resource_scopes == ([pull_scope(name)] if name else [])


@given(st.lists(scopes, max_size=30))
def test_scopes_are_few_and_only_repositories_are_pulled(values: list[str]) -> None:
    found = parse_scopes(values)
    assert len(found) <= MAX_SCOPES
    for scope in found:
        assert scope.kind
        assert scope.name
        assert not scope.wants_pull or (scope.kind == "repository" and scope.actions & {"pull", "*"})


@given(repository, st.one_of(st.just(""), st.sampled_from(["host:5000/", "ghcr.io/"])))
def test_a_pull_scope_is_read_as_it_was_written(name: str, registry: str) -> None:
    scope = parse_scope(pull_scope(registry + name))
    assert scope is not None
    assert (scope.kind, scope.name, scope.actions, scope.wants_pull) == (
        "repository", registry + name, frozenset({"pull"}), True,
    )  # fmt: skip
