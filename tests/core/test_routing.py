"""Case tables of core.routing: three ways to name the registry, one resolver, a closed world."""

from dataclasses import replace

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.routing import (
    MAX_QUERY,
    Endpoint,
    EndpointKind,
    HostMeaning,
    Route,
    RoutedUpstream,
    RoutingTable,
    known,
    parse_endpoint,
    resolve,
    resolve_host,
)

SHA = "sha256:" + "a" * 64
HUB = RoutedUpstream("docker.io", ("hub.example.com", "Hub2.example.com:8443"), library=True)
GHCR = RoutedUpstream("ghcr.io", ("ghcr.example.com",))
K8S = RoutedUpstream("registry.k8s.io")
OWN = RoutedUpstream("reg.example:5000")
TABLE = RoutingTable((HUB, GHCR, K8S, OWN), "docker.io", "gw.example.com:8443")
BARE = RoutingTable((replace(HUB, hosts=()), replace(GHCR, hosts=())), "docker.io")


ADDRESS = "127.0.0.1:5000"  # means the gateway itself


# --- what a path is ---------------------------------------------------------------------------------------

ENDPOINTS: dict[str, tuple[str, str, Endpoint]] = {
    "base": ("/v2/", "", Endpoint(EndpointKind.API_ROOT)),
    "base without its slash": ("/v2", "", Endpoint(EndpointKind.API_ROOT)),
    "base with ns": (
        "/v2/",
        "ns=ghcr.io",
        Endpoint(EndpointKind.API_ROOT, namespace="ghcr.io", query=(("ns", "ghcr.io"),)),
    ),
    "token": ("/token", "", Endpoint(EndpointKind.TOKEN)),
    "token, its other name": ("/v2/auth", "", Endpoint(EndpointKind.TOKEN)),
    "ping": ("/v1/_ping", "", Endpoint(EndpointKind.PING)),
    "search": ("/v1/search", "q=a", Endpoint(EndpointKind.SEARCH, query=(("q", "a"),))),
    "manifest by tag": ("/v2/a/b/manifests/1.0", "", Endpoint(EndpointKind.MANIFEST, "a/b", "1.0")),
    "manifest by digest": (f"/v2/a/manifests/{SHA}", "", Endpoint(EndpointKind.MANIFEST, "a", SHA)),
    "an escaped colon": (f"/v2/a/manifests/{SHA.replace(':', '%3A')}", "", Endpoint(EndpointKind.MANIFEST, "a", SHA)),
    "blob": (f"/v2/a/blobs/{SHA}", "", Endpoint(EndpointKind.BLOB, "a", SHA)),
    "tags": ("/v2/a/b/tags/list", "", Endpoint(EndpointKind.TAGS, "a/b")),
    "referrers": (f"/v2/a/referrers/{SHA}", "", Endpoint(EndpointKind.REFERRERS, "a", SHA)),
    "a repository called manifests": (
        "/v2/manifests/manifests/x",
        "",
        Endpoint(EndpointKind.MANIFEST, "manifests", "x"),
    ),
    "a repository called tags/list": ("/v2/tags/list/tags/list", "", Endpoint(EndpointKind.TAGS, "tags/list")),
    "a repository called auth": ("/v2/auth/tags/list", "", Endpoint(EndpointKind.TAGS, "auth")),
    "the name is taken as written": ("/v2/A..B/manifests/x", "", Endpoint(EndpointKind.MANIFEST, "A..B", "x")),
}


@pytest.mark.parametrize(("path", "query", "endpoint"), ENDPOINTS.values(), ids=ENDPOINTS.keys())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_path_names_an_endpoint(method: str, path: str, query: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(method, path, query) == endpoint


@pytest.mark.parametrize("path", ["/", "/index.html", "/v1/", "/v20/", "/V2/", "", "/metrics"])
def test_other_paths_are_not_of_the_registry_protocol(path: str) -> None:
    assert parse_endpoint("DELETE", path, "") is None


REFUSED_PATHS: dict[str, tuple[str, int, Code]] = {
    "no such endpoint": ("/v2/a", 404, Code.NAME_UNKNOWN),
    "the catalog": ("/v2/_catalog", 404, Code.NAME_UNKNOWN),
    "an upload": ("/v2/a/blobs/uploads/", 400, Code.DIGEST_INVALID),
    "tags of another name": ("/v2/a/tags/all", 404, Code.NAME_UNKNOWN),
    "a blob by tag": ("/v2/a/blobs/latest", 400, Code.DIGEST_INVALID),
    "referrers of a tag": ("/v2/a/referrers/latest", 400, Code.DIGEST_INVALID),
    "a tag with a slash": ("/v2/a/manifests/b/c", 400, Code.NAME_INVALID),
    "a tag that leads out": ("/v2/a/manifests/../../x", 400, Code.NAME_INVALID),
    "no tag": ("/v2/a/manifests/", 400, Code.NAME_INVALID),
    "an uppercase digest": (f"/v2/a/blobs/{SHA.upper()}", 400, Code.DIGEST_INVALID),
    "an encoded slash": ("/v2/a%2fb/manifests/x", 400, Code.NAME_INVALID),
    "a line break": ("/v2/a/manifests/x%0d%0a", 400, Code.NAME_INVALID),
}


@pytest.mark.parametrize(("path", "status", "code"), REFUSED_PATHS.values(), ids=REFUSED_PATHS.keys())
def test_a_path_that_names_nothing_is_refused(path: str, status: int, code: Code) -> None:
    with pytest.raises(OciError) as caught:
        parse_endpoint("GET", path, "")
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "", "get"])
@pytest.mark.parametrize("path", ["/v2/", "/v2/a/manifests/x", "/v2/a/blobs/uploads/", "/v1/search"])
def test_writing_is_not_supported(method: str, path: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_endpoint(method, path, "")
    assert (caught.value.status, caught.value.code) == (405, Code.UNSUPPORTED)
    assert caught.value.headers == (("allow", "GET, HEAD"),)


def test_a_token_may_be_asked_for_by_post_and_not_otherwise() -> None:
    assert parse_endpoint("POST", "/token", "") == Endpoint(EndpointKind.TOKEN)
    with pytest.raises(OciError):
        parse_endpoint("PUT", "/token", "")


@pytest.mark.parametrize(
    "query", ["a=%ff", "x" * (MAX_QUERY + 1), "&".join(["a=b"] * 33)], ids=["not UTF-8", "too long", "too many"]
)
def test_a_query_that_cannot_be_read_is_refused(query: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_endpoint("GET", "/v2/", query)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("query", "namespace"),
    [("ns=a&ns=a", "a"), ("ns=&ns=a", "a"), ("ns=", ""), ("NS=a", ""), ("ns=a%3A5000", "a:5000")],
)
def test_ns_may_be_repeated_when_it_says_the_same(query: str, namespace: str) -> None:
    endpoint = parse_endpoint("GET", "/v2/", query)
    assert endpoint is not None
    assert endpoint.namespace == namespace


def test_ns_given_twice_with_different_registries_is_a_contradiction() -> None:
    with pytest.raises(OciError, match="contradicting") as caught:
        parse_endpoint("GET", "/v2/", "ns=ghcr.io&ns=docker.io")
    assert caught.value.status == 400


def test_the_first_value_of_a_parameter_counts() -> None:
    assert Endpoint(EndpointKind.TAGS, query=(("n", "1"), ("n", "2"))).param("n") == "1"
    assert Endpoint(EndpointKind.TAGS).param("n") == ""


# --- which upstream it means ------------------------------------------------------------------------------

ROUTES: dict[str, tuple[str, str, str, Route]] = {
    "nothing named: the default upstream": (
        "nginx",
        "",
        "localhost:5000",
        Route("docker.io", "library/nginx", "nginx"),
    ),
    "a user's image": (
        "gitlab/gitlab-ce",
        "",
        "[::1]:5000",
        Route("docker.io", "gitlab/gitlab-ce", "gitlab/gitlab-ce"),
    ),
    "by host name": ("owner/app", "", "ghcr.example.com", Route("ghcr.io", "owner/app", "owner/app")),
    "by host name, in capitals": ("a", "", "GHCR.Example.com", Route("ghcr.io", "a", "a")),
    "by host name, with a port": ("a", "", "ghcr.example.com:8443", Route("ghcr.io", "a", "a")),
    "by host name, with a trailing dot": ("a", "", "ghcr.example.com.", Route("ghcr.io", "a", "a")),
    "by host name and port": ("a", "", "hub2.example.com:8443", Route("docker.io", "library/a", "a")),
    "by ns": ("owner/app", "ghcr.io", "127.0.0.1", Route("ghcr.io", "owner/app", "owner/app", "ghcr.io")),
    "by ns, library completed": (
        "nginx",
        "docker.io",
        "127.0.0.1",
        Route("docker.io", "library/nginx", "nginx", "docker.io"),
    ),
    "by ns, an alias of docker.io": (
        "nginx",
        "registry-1.docker.io",
        "127.0.0.1",
        Route("docker.io", "library/nginx", "nginx", "registry-1.docker.io"),
    ),
    "by path": ("ghcr.io/owner/app", "", "127.0.0.1", Route("ghcr.io", "owner/app", "ghcr.io/owner/app")),
    "by path, with a port": (
        "reg.example:5000/a",
        "",
        "127.0.0.1",
        Route("reg.example:5000", "a", "reg.example:5000/a"),
    ),
    "by path, docker.io": (
        "docker.io/nginx",
        "",
        "127.0.0.1",
        Route("docker.io", "library/nginx", "docker.io/nginx"),
    ),
    "by path, an alias": (
        "index.docker.io/a/b",
        "",
        "127.0.0.1",
        Route("docker.io", "a/b", "index.docker.io/a/b"),
    ),
    "path and ns agree": (
        "ghcr.io/a/b",
        "ghcr.io",
        "127.0.0.1",
        Route("ghcr.io", "a/b", "ghcr.io/a/b", "ghcr.io"),
    ),
    "host and path agree": ("ghcr.io/a/b", "", "ghcr.example.com", Route("ghcr.io", "a/b", "ghcr.io/a/b")),
    "host and ns agree": ("a/b", "ghcr.io", "ghcr.example.com", Route("ghcr.io", "a/b", "a/b", "ghcr.io")),
    "another registry on the default's host": (
        "ghcr.io/a",
        "",
        "hub.example.com",
        Route("ghcr.io", "a", "ghcr.io/a"),
    ),
    "the gateway's public host": ("ghcr.io/a", "", "gw.example.com:8443", Route("ghcr.io", "a", "ghcr.io/a")),
    "the gateway's public host on another port": ("a/b", "", "gw.example.com", Route("docker.io", "a/b", "a/b")),
    "no library where none is": ("nginx", "ghcr.io", "127.0.0.1", Route("ghcr.io", "nginx", "nginx", "ghcr.io")),
}


@pytest.mark.parametrize(("name", "namespace", "host", "route"), ROUTES.values(), ids=ROUTES.keys())
def test_one_resolver_settles_three_ways(name: str, namespace: str, host: str, route: Route) -> None:
    assert resolve(name, namespace, resolve_host(host, TABLE), TABLE) == route


UNROUTED: dict[str, tuple[str, str, str, int, Code]] = {
    "host against ns": ("a/b", "docker.io", "ghcr.example.com", 400, Code.NAME_INVALID),
    "path against ns": ("ghcr.io/a", "docker.io", "127.0.0.1", 400, Code.NAME_INVALID),
    "host against path": ("docker.io/a", "", "ghcr.example.com", 400, Code.NAME_INVALID),
    "an unknown registry in the path": ("evil.example/a", "", "127.0.0.1", 404, Code.NAME_UNKNOWN),
    "an address in the path": ("127.0.0.1:80/a", "", "127.0.0.1", 404, Code.NAME_UNKNOWN),
    "localhost in the path": ("localhost/a", "", "127.0.0.1", 404, Code.NAME_UNKNOWN),
    "an unknown registry in ns": ("a/b", "evil.example", "127.0.0.1", 404, Code.NAME_UNKNOWN),
    "ns that is no name": ("a/b", "https://ghcr.io/", "127.0.0.1", 404, Code.NAME_UNKNOWN),
    "ns with a line break": ("a/b", "ghcr.io\r\nx: y", "127.0.0.1", 404, Code.NAME_UNKNOWN),
    "an unknown host name": ("a/b", "", "other.example.com", 404, Code.NAME_UNKNOWN),
    "the public host in front of another": ("a/b", "", "gw.example.com.evil.example", 404, Code.NAME_UNKNOWN),
    "a name in capitals": ("Library/nginx", "", "127.0.0.1", 400, Code.NAME_INVALID),
    "a name that leads out": ("a/../b", "", "127.0.0.1", 400, Code.NAME_INVALID),
    "a registry in capitals in front": ("GHCR.IO/a/../b", "", "127.0.0.1", 400, Code.NAME_INVALID),
    "a registry and nothing": ("ghcr.io/", "", "127.0.0.1", 400, Code.NAME_INVALID),
    "too long with its registry": ("a" * 246, "", "127.0.0.1", 400, Code.NAME_INVALID),
}


@pytest.mark.parametrize(("name", "namespace", "host", "status", "code"), UNROUTED.values(), ids=UNROUTED.keys())
def test_what_cannot_be_settled_is_refused(name: str, namespace: str, host: str, status: int, code: Code) -> None:
    with pytest.raises(OciError) as caught:
        resolve(name, namespace, resolve_host(host, TABLE), TABLE)
    assert (caught.value.status, caught.value.code) == (status, code)


def test_a_name_is_not_longer_than_255_after_library_was_added() -> None:
    route = resolve("a" * 237, "", resolve_host(ADDRESS, TABLE), TABLE)
    assert len(f"{route.upstream}/{route.repository}") == 255


def test_a_name_that_is_too_long_with_library_is_refused() -> None:
    with pytest.raises(OciError):
        resolve("a" * 238, "", resolve_host(ADDRESS, TABLE), TABLE)


def test_an_unknown_host_is_told_the_known_ones() -> None:
    with pytest.raises(OciError) as caught:
        resolve_host("other.example.com", TABLE)
    hosts = ["ghcr.example.com", "hub.example.com", "hub2.example.com:8443"]
    assert caught.value.detail == {"hosts": sorted([*hosts, "gw.example.com:8443"])}
    assert TABLE.host_names == hosts
    assert all(host in caught.value.message for host in hosts)


def test_without_a_host_table_every_host_name_is_the_gateway() -> None:
    assert resolve_host("anything.example", BARE) == HostMeaning()


def test_the_public_host_means_its_upstream_only_when_nothing_else_does() -> None:
    table = RoutingTable((HUB, GHCR), "ghcr.io", "hub.example.com")
    host = "hub.example.com"
    assert resolve("a/b", "", resolve_host(host, table), table).upstream == "docker.io"
    assert resolve("a/b", "ghcr.io", resolve_host(host, table), table).upstream == "ghcr.io"
    assert resolve("ghcr.io/a/b", "", resolve_host(host, table), table).upstream == "ghcr.io"


def test_a_table_without_its_default_knows_nothing() -> None:
    with pytest.raises(OciError) as caught:
        resolve("a/b", "", HostMeaning(), RoutingTable((), "docker.io"))
    assert caught.value.status == 404


def test_the_public_host_is_told_once_when_an_upstream_lists_it_as_well() -> None:
    table = replace(TABLE, public_host="Hub.example.com")
    with pytest.raises(OciError) as caught:
        resolve_host("other.example.com", table)
    assert caught.value.detail == {"hosts": TABLE.host_names}


def test_an_unknown_registry_is_told_the_configured_ones_and_the_remedy() -> None:
    with pytest.raises(OciError) as caught:
        known('evil"\\.example', BARE)
    assert caught.value.detail == {"registries": ["docker.io", "ghcr.io"]}
    assert '[upstreams."evil\\"\\\\.example"]' in caught.value.message


def test_ns_in_letters_beyond_ascii_is_unknown() -> None:
    with pytest.raises(OciError):
        resolve("a/b", "registry.\u212a8s.io", resolve_host(ADDRESS, TABLE), TABLE)


def test_a_registry_behind_a_registry_is_a_contradiction_and_not_unknown() -> None:
    with pytest.raises(OciError) as caught:
        resolve("docker.io/ghcr.io/a", "", resolve_host(ADDRESS, TABLE), TABLE)
    assert "ghcr.io is not configured" not in caught.value.message


def test_a_listed_host_may_have_a_trailing_dot() -> None:
    table = RoutingTable((RoutedUpstream("docker.io", ("hub.example.com.",)),), "docker.io")
    assert table.by_host("hub.example.com.") is not None
    assert table.by_host("hub.example.com") is not None
