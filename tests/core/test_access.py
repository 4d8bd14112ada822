"""Case tables of core.access: which grant covers which route, and how long a token lives."""

import pytest

from hubferry.core.access import Credential, Grant, lifetime_s
from hubferry.core.routing import Route

ALICE = Credential("alice", "s3cret")


def anonymous(*names: str) -> Grant:
    return Grant(names, "gw", 1e9)


def alices(upstream: str, *names: str) -> Grant:
    return Grant(names, "gw", 1e9, upstream, ALICE)


HUB_NGINX = Route("docker.io", "library/nginx", "nginx")
COVERED: dict[str, tuple[Grant, Route]] = {
    "its own name": (anonymous("a/b"), Route("docker.io", "a/b", "a/b")),
    "one of several names": (anonymous("x/y", "a/b"), Route("docker.io", "a/b", "a/b")),
    "nginx for library/nginx": (anonymous("nginx"), Route("docker.io", "library/nginx", "library/nginx")),
    "library/nginx for nginx": (anonymous("library/nginx"), HUB_NGINX),
    "with the registry in front": (anonymous("docker.io/nginx"), HUB_NGINX),
    "the registry in front of the route": (
        anonymous("nginx"),
        Route("docker.io", "library/nginx", "docker.io/nginx"),
    ),
    "anonymous: another upstream by ns": (anonymous("a/b"), Route("ghcr.io", "a/b", "a/b", "ghcr.io")),
    "with a credential: its own upstream": (alices("ghcr.io", "a/b"), Route("ghcr.io", "a/b", "ghcr.io/a/b")),
}


@pytest.mark.parametrize(("grant", "route"), COVERED.values(), ids=COVERED.keys())
def test_a_grant_covers_the_repository_it_names(grant: Grant, route: Route) -> None:
    assert grant.allows(route, library=route.upstream == "docker.io")


NOT_COVERED: dict[str, tuple[Grant, Route]] = {
    "another repository": (anonymous("a/b"), Route("docker.io", "a/c", "a/c")),
    "a longer name": (anonymous("a/b"), Route("docker.io", "a/b/c", "a/b/c")),
    "a prefix of a name": (anonymous("a/bc"), Route("docker.io", "a/b", "a/b")),
    "no name at all (a login)": (alices("docker.io"), HUB_NGINX),
    "library/ where it is not completed": (anonymous("nginx"), Route("ghcr.io", "library/nginx", "library/nginx")),
    "with a credential: another upstream": (alices("docker.io", "a/b"), Route("ghcr.io", "a/b", "a/b", "ghcr.io")),
    "a name that holds another registry": (anonymous("docker.io/a/b"), Route("ghcr.io", "a/b", "ghcr.io/a/b")),
    "the registry twice": (anonymous("ghcr.io/ghcr.io/a"), Route("ghcr.io", "a", "ghcr.io/a")),
}


@pytest.mark.parametrize(("grant", "route"), NOT_COVERED.values(), ids=NOT_COVERED.keys())
def test_a_grant_covers_nothing_else(grant: Grant, route: Route) -> None:
    assert not grant.allows(route, library=route.upstream == "docker.io")


def test_an_alias_of_docker_hub_in_front_is_docker_hub() -> None:
    assert anonymous("index.docker.io/nginx").allows(HUB_NGINX, library=True)


def test_a_credential_never_shows_its_secret() -> None:
    assert repr(ALICE) == "Credential('alice', ***)"
    assert "s3cret" not in repr(alices("docker.io", "a")) + str(alices("docker.io", "a"))


LIFETIMES = [(None, 300), (0.0, 60), (1.0, 60), (60.0, 60), (120.5, 120.5), (300.0, 300), (1e9, 300), (-1.0, 60)]


@pytest.mark.parametrize(("stands_for_s", "expected"), LIFETIMES)
def test_a_token_lives_at_least_a_minute_and_at_most_five(stands_for_s: float | None, expected: float) -> None:
    assert lifetime_s(stands_for_s) == expected
