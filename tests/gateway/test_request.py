"""A request, settled: which upstream and repository it means, how the gateway is called, and what it asks of pull/."""

from dataclasses import replace

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.headers import ACCEPT_MANIFESTS
from hubferry.core.http import Headers, Request
from hubferry.core.ranges import ByteRange
from hubferry.core.referrers import MAX_ARTIFACT_TYPE
from hubferry.core.routing import Endpoint, EndpointKind, RoutedUpstream, RoutingTable, resolve_host
from hubferry.core.tags import MAX_LAST, MAX_PAGE, Page
from hubferry.gateway.request import OF_A_REPOSITORY, RegistryRequest, resolve_request
from hubferry.pull.results import EVERY_MANIFEST, BlobQuery, ManifestQuery
from tests.gateway.fakes import GATEWAY, blob_request

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
TABLE = RoutingTable(
    (
        RoutedUpstream("docker.io", ("hub.example",), library=True),
        RoutedUpstream("ghcr.io", ("ghcr.example",)),
        RoutedUpstream("quay.io"),
    ),
    "docker.io",
    "gw.example:5000",
)
KINDS = sorted(OF_A_REPOSITORY, key=lambda kind: kind.name)
WITHOUT_REPOSITORY = [kind for kind in EndpointKind if kind not in OF_A_REPOSITORY]


def settled(
    kind: EndpointKind,
    name: str = "",
    *,
    host: str = GATEWAY,
    ns: str = "",
    url: str = "",
    scheme: str = "http",
    table: RoutingTable = TABLE,
) -> RegistryRequest:
    received = Request("GET", "", "", (), scheme, host, "192.0.2.1")
    return resolve_request(received, Endpoint(kind, name, DIGEST, ns), resolve_host(host, table), table, url)


# --- the repository that is meant ------------------------------------------------------------------------

REPOSITORIES: dict[str, tuple[str, str, str, tuple[str, str, str]]] = {
    # name: name as written, host, ?ns= -> (upstream, repository, home)
    "the default one": ("nginx", GATEWAY, "", ("docker.io", "library/nginx", "docker.io")),
    "one of a user": ("alice/app", GATEWAY, "", ("docker.io", "alice/app", "docker.io")),
    "by path": ("ghcr.io/a/b", GATEWAY, "", ("ghcr.io", "a/b", "docker.io")),
    "by path, under another name of Docker Hub": (
        "index.docker.io/nginx", GATEWAY, "", ("docker.io", "library/nginx", "docker.io"),
    ),
    "by ?ns=": ("a/b", GATEWAY, "quay.io", ("quay.io", "a/b", "docker.io")),
    "by host name": ("a/b", "ghcr.example", "", ("ghcr.io", "a/b", "ghcr.io")),
    "by host name and port": ("a/b", "ghcr.example:8443", "", ("ghcr.io", "a/b", "ghcr.io")),
    "by all three": ("ghcr.io/a/b", "ghcr.example", "ghcr.io", ("ghcr.io", "a/b", "ghcr.io")),
    "another one by path, on the host name of the default one": (
        "ghcr.io/a/b", "hub.example", "", ("ghcr.io", "a/b", "docker.io"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "host", "ns", "meant"), REPOSITORIES.values(), ids=REPOSITORIES.keys())
def test_path_host_and_namespace_say_which_repository_is_meant(
    kind: EndpointKind, name: str, host: str, ns: str, meant: tuple[str, str, str]
) -> None:
    request = settled(kind, name, host=host, ns=ns)
    assert request.route is not None
    assert (request.route.upstream, request.route.repository, request.home) == meant
    assert (request.route.named, request.route.namespace) == (name, ns)
    assert request.upstream == request.route.upstream


UNSETTLED: dict[str, tuple[EndpointKind, str, str, str, int]] = {
    "a registry in the path that is not configured": (EndpointKind.MANIFEST, "gcr.io/a", GATEWAY, "", 404),
    "a registry in ?ns= that is not configured": (EndpointKind.BLOB, "a", GATEWAY, "gcr.io", 404),
    "also where no repository is named": (EndpointKind.API_ROOT, "", GATEWAY, "gcr.io", 404),
    "path and ?ns= contradict each other": (EndpointKind.TAGS, "ghcr.io/a", GATEWAY, "quay.io", 400),
    "host name and ?ns= contradict each other": (EndpointKind.TAGS, "a", "ghcr.example", "quay.io", 400),
    "host name and path contradict each other": (EndpointKind.TAGS, "quay.io/a", "ghcr.example", "", 400),
    "a name that breaks the grammar": (EndpointKind.REFERRERS, "Nginx", GATEWAY, "", 400),
}


@pytest.mark.parametrize(("kind", "name", "host", "ns", "status"), UNSETTLED.values(), ids=UNSETTLED.keys())
def test_what_means_no_repository_is_refused(kind: EndpointKind, name: str, host: str, ns: str, status: int) -> None:
    with pytest.raises(OciError) as caught:
        settled(kind, name, host=host, ns=ns)
    assert caught.value.status == status


@pytest.mark.parametrize("kind", WITHOUT_REPOSITORY)
@pytest.mark.parametrize(
    ("host", "ns", "upstream", "home"),
    [
        (GATEWAY, "", "docker.io", "docker.io"),
        ("ghcr.example", "", "ghcr.io", "ghcr.io"),
        (GATEWAY, "quay.io", "quay.io", "docker.io"),
        (GATEWAY, "index.docker.io", "docker.io", "docker.io"),
        ("ghcr.example", "quay.io", "quay.io", "ghcr.io"),
    ],
)
def test_without_a_repository_the_host_or_the_namespace_says_whom_it_is_about(
    kind: EndpointKind, host: str, ns: str, upstream: str, home: str
) -> None:
    request = settled(kind, host=host, ns=ns)
    assert request.route is None
    # what a token is for is decided by its scopes (login.py), so that ?ns= is no more than a hint there; a ping of the
    # old protocol is about the gateway
    is_named = kind in (EndpointKind.API_ROOT, EndpointKind.SEARCH)
    assert (request.upstream, request.home) == (upstream if is_named else home, home)


@pytest.mark.parametrize("kind", [EndpointKind.TOKEN, EndpointKind.PING])
def test_a_namespace_that_nobody_knows_is_no_matter_where_it_says_nothing(kind: EndpointKind) -> None:
    assert settled(kind, ns="gcr.io").upstream == "docker.io"


# --- what the gateway is called --------------------------------------------------------------------------

NAMES: dict[str, tuple[str, str, str, str, str]] = {
    # name: scheme, host, public URL -> base URL, service
    "as the client called it": ("http", "10.0.0.1:5000", "", "http://10.0.0.1:5000", "10.0.0.1:5000"),
    "over TLS": ("https", "10.0.0.1", "", "https://10.0.0.1", "10.0.0.1"),
    "its public URL": ("http", "10.0.0.1", "https://gw.example:5000/", "https://gw.example:5000", "gw.example:5000"),
    "an upstream's host name, which is more": (
        "http", "GHCR.example", "https://gw.example:5000", "https://GHCR.example", "ghcr.example",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("scheme", "host", "url", "base_url", "service"), NAMES.values(), ids=NAMES.keys())
def test_the_name_that_realms_and_tokens_have(scheme: str, host: str, url: str, base_url: str, service: str) -> None:
    request = settled(EndpointKind.API_ROOT, host=host, url=url, scheme=scheme)
    assert (request.base_url, request.service) == (base_url, service)


# --- what it asks for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "wants"), [("GET", True), ("HEAD", False), ("POST", True)])
def test_only_a_head_wants_no_body(method: str, wants: bool) -> None:
    request = blob_request(DIGEST, method=method)
    assert request.wants_body is wants
    assert request.manifest_query().wants_content is wants
    assert request.blob_query().wants_body is wants


def test_of_a_header_the_first_value_counts() -> None:
    request = blob_request(DIGEST, ("x", "1"), ("x", "2"))
    assert (request.header("x"), request.header("y")) == ("1", None)


ACCEPTS: dict[str, tuple[Headers, str]] = {
    "none": ((), EVERY_MANIFEST),
    "whatever there is": ((("accept", "*/*"),), EVERY_MANIFEST),
    "one": ((("accept", ACCEPT_MANIFESTS[0]),), ACCEPT_MANIFESTS[0]),
    "several lines are one list": ((("accept", "a/b"), ("accept", "c/d, e/f")), "a/b, c/d, e/f"),
}


@pytest.mark.parametrize(("lines", "accept"), ACCEPTS.values(), ids=ACCEPTS.keys())
def test_a_manifest_is_asked_for_by_reference_and_accept(lines: Headers, accept: str) -> None:
    assert blob_request(DIGEST, *lines).manifest_query() == ManifestQuery(DIGEST, accept)


RANGES: dict[str, tuple[str, str | None, str | None, ByteRange | None]] = {
    # name: method, Range, If-Range -> what is asked for
    "none": ("GET", None, None, None),
    "from somewhere on": ("GET", "bytes=5-", None, ByteRange(5, None)),
    "the end": ("GET", "bytes=-5", None, ByteRange(None, 5)),
    "one that is none": ("GET", "bytes=5-1", None, None),
    "of this blob": ("GET", "bytes=5-9", f'"{DIGEST}"', ByteRange(5, 9)),
    "of this blob, not quoted": ("GET", "bytes=5-9", DIGEST, ByteRange(5, 9)),
    "of another blob: all of this one": ("GET", "bytes=5-9", f'"{OTHER}"', None),
    "of a blob as it was at some time: all of it": ("GET", "bytes=5-9", "Wed, 21 Oct 2015 07:28:00 GMT", None),
    "of nothing: all of it": ("GET", "bytes=5-9", "", None),
    "a HEAD has none": ("HEAD", "bytes=5-9", None, None),
    "a HEAD has not several either": ("HEAD", "bytes=1-2,5-9", None, None),
    "several of another blob: all of this one": ("GET", "bytes=1-2,5-9", f'"{OTHER}"', None),
}


@pytest.mark.parametrize(("method", "said", "if_range", "wanted"), RANGES.values(), ids=RANGES.keys())
def test_a_range_holds_for_the_blob_that_if_range_names(
    method: str, said: str | None, if_range: str | None, wanted: ByteRange | None
) -> None:
    pairs = (("range", said), ("if-range", if_range))
    lines = [(name, value) for name, value in pairs if value is not None]
    query = blob_request(DIGEST, *lines, method=method).blob_query()
    assert query == BlobQuery(DIGEST, wanted, wants_body=method == "GET", client="192.0.2.1")


@pytest.mark.parametrize("if_range", [None, DIGEST])
def test_several_ranges_are_refused(if_range: str | None) -> None:
    lines = [("range", "bytes=0-1,5-6")] + ([("if-range", if_range)] if if_range else [])
    with pytest.raises(OciError) as caught:
        blob_request(DIGEST, *lines).blob_query()
    assert caught.value.status == 400


def asking(*query: tuple[str, str]) -> RegistryRequest:
    """A request for what refers to DIGEST, with these parameters."""
    return replace(blob_request(DIGEST), endpoint=Endpoint(EndpointKind.REFERRERS, "nginx", DIGEST, query=query))


LISTS: dict[str, tuple[tuple[tuple[str, str], ...], Page]] = {
    "all": ((), Page(None, "")),
    "some": ((("n", "5"),), Page(5, "")),
    "none of them": ((("n", "0"),), Page(0, "")),
    "no more than there may be": ((("n", "100000"),), Page(MAX_PAGE, "")),
    "what comes after": ((("last", "a"), ("n", "5")), Page(5, "a")),
    "the first of each counts": ((("n", "1"), ("n", "x"), ("last", "a"), ("last", "b")), Page(1, "a")),
    "an empty number is none": ((("n", ""),), Page(None, "")),
}


@pytest.mark.parametrize(("query", "page"), LISTS.values(), ids=LISTS.keys())
def test_a_page_of_a_list(query: tuple[tuple[str, str], ...], page: Page) -> None:
    assert asking(*query).page() == page
    assert asking(*query).referrers_page().page == page


BAD_PAGES = [("n", "-1", Code.PAGINATION_NUMBER_INVALID), ("n", "x", Code.PAGINATION_NUMBER_INVALID)]
BAD_PAGES += [("last", "x" * (MAX_LAST + 1), Code.NAME_INVALID)]


@pytest.mark.parametrize(("name", "value", "code"), BAD_PAGES, ids=["negative", "no number", "too long"])
def test_a_page_that_is_none_is_refused(name: str, value: str, code: Code) -> None:
    request = asking((name, value))
    for ask in (request.page, request.referrers_page):
        with pytest.raises(OciError) as caught:
            ask()
        assert (caught.value.status, caught.value.code) == (400, code)


LONGEST = "a/" + "b" * (MAX_ARTIFACT_TYPE - 2)
TYPES = [
    ((), ""),
    (("",), ""),
    (("a/b",), "a/b"),
    ((LONGEST,), LONGEST),
    (("a/b", "c/d"), ""),
    (("a/b", "a/b"), ""),
    ((LONGEST + "b", "c/d"), ""),
]


@pytest.mark.parametrize(("types", "asked"), TYPES)
def test_of_several_artifact_types_none_is_asked_for(types: tuple[str, ...], asked: str) -> None:
    page = asking(*(("artifactType", one) for one in types)).referrers_page()
    assert (page.digest, page.artifact_type) == (DIGEST, asked)


def test_an_artifact_type_that_no_media_type_can_be_is_refused() -> None:
    with pytest.raises(OciError) as caught:
        asking(("artifactType", LONGEST + "b")).referrers_page()
    assert caught.value.status == 400
