"""The world is closed: no request leads to an upstream outside the table, nothing but OciError is raised."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from hubferry.core.access import Grant
from hubferry.core.errors import OciError
from hubferry.core.reference import MAX_NAME, check_repository
from hubferry.core.routing import RoutedUpstream, RoutingTable, parse_endpoint, resolve, resolve_host
from tests.properties.inputs import digest, hostile, on_the_wire, refused_with, repository, tag

PLACES = (
    RoutedUpstream("docker.io", ("hub.example.com",), library=True),
    RoutedUpstream("ghcr.io", ("ghcr.example.com", "ghcr.example.com:8443")),
    RoutedUpstream("quay.io"),
    RoutedUpstream("localhost:5000"),
)
TABLE = RoutingTable(PLACES, "docker.io", "gw.example.com")
BARE = RoutingTable(tuple(replace(place, hosts=()) for place in PLACES), "quay.io")
PLAIN_HOST = "gw.example.com"
NAMES = [place.name for place in PLACES]

hosts = st.one_of(
    st.sampled_from(
        ["hub.example.com", "GHCR.example.com:8443", "ghcr.example.com.", "gw.example.com", "127.0.0.1:5000"]
    ),
    hostile,
)
names = st.one_of(repository, st.tuples(st.sampled_from(NAMES), repository).map("/".join), hostile)
namespaces = st.one_of(st.just(""), st.sampled_from([*NAMES, "index.docker.io", "GHCR.IO"]), hostile)
paths = st.one_of(
    hostile,
    st.builds(
        "/v2/{}/{}/{}".format,
        names,
        st.sampled_from(["manifests", "blobs", "tags", "referrers", "x"]),
        st.one_of(tag, digest, st.just("list"), hostile),
    ),
    st.sampled_from(["/v2/", "/v2", "/token", "/v2/auth", "/v1/search", "/v1/_ping", "/"]),
)
methods = st.sampled_from(["GET", "HEAD", "POST", "DELETE", ""])
queries = st.one_of(hostile, namespaces.map("ns={}".format))


@given(methods, paths, queries, hosts, st.sampled_from([TABLE, BARE]))
def test_no_request_raises_anything_but_ocierror(
    method: str, path: str, query: str, host: str, table: RoutingTable
) -> None:
    try:
        endpoint = parse_endpoint(method, on_the_wire(path), on_the_wire(query))
        if endpoint is None:
            return
        route = resolve(endpoint.name, endpoint.namespace, resolve_host(host, table), table)
    except OciError as error:
        refused_with(error, 400, 404, 405)
        return
    assert route.upstream in NAMES


@given(names, namespaces, hosts, st.sampled_from([TABLE, BARE]))
def test_a_route_leads_to_a_configured_upstream_and_a_valid_name(
    name: str, namespace: str, host: str, table: RoutingTable
) -> None:
    try:
        route = resolve(name, namespace, resolve_host(host, table), table)
    except OciError as error:
        refused_with(error, 400, 404)
        return
    assert route.upstream in NAMES
    assert check_repository(route.repository) == route.repository
    assert len(route.repository) <= MAX_NAME + len("library/")
    place = table.by_name(route.upstream)
    assert place is not None
    assert not place.library or "/" in route.repository


@given(repository, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_path_and_ns_that_contradict_each_other_are_400(name: str, by_path: str, by_namespace: str) -> None:
    assume(by_path != by_namespace)
    assume("." not in name and name.split("/", maxsplit=1)[0] != "localhost")
    try:
        resolve(f"{by_path}/{name}", by_namespace, resolve_host(PLAIN_HOST, TABLE), TABLE)
    except OciError as error:
        refused_with(error, 400)
    else:
        raise AssertionError("a contradiction was settled")


@given(repository, st.sampled_from(NAMES))
def test_every_way_to_name_a_registry_means_the_same(name: str, registry: str) -> None:
    assume("." not in name.split("/", maxsplit=1)[0] and name.split("/", maxsplit=1)[0] != "localhost")
    by_path = resolve(f"{registry}/{name}", "", resolve_host(PLAIN_HOST, TABLE), TABLE)
    by_namespace = resolve(name, registry, resolve_host(PLAIN_HOST, TABLE), TABLE)
    assert (by_path.upstream, by_path.repository) == (by_namespace.upstream, by_namespace.repository)
    hosts = next(place.hosts for place in PLACES if place.name == registry)
    for host in hosts:
        by_host = resolve(name, "", resolve_host(host, TABLE), TABLE)
        assert (by_host.upstream, by_host.repository) == (by_path.upstream, by_path.repository)


@given(repository, repository, st.sampled_from(NAMES), st.sampled_from(["", *NAMES]))
def test_a_grant_for_one_repository_never_covers_another(asked: str, pulled: str, upstream: str, bound: str) -> None:
    assume(
        "." not in pulled.split("/", maxsplit=1)[0]
        and "localhost" not in (pulled.split("/", maxsplit=1)[0], asked.split("/", maxsplit=1)[0])
    )
    route = resolve(pulled, upstream, resolve_host(PLAIN_HOST, TABLE), TABLE)
    library = upstream == "docker.io"
    covered = Grant((asked,), "gw", 0.0, bound).allows(route, library)
    full = asked if "/" in asked or not library else f"library/{asked}"
    assert covered == (full == route.repository and bound in ("", upstream))
