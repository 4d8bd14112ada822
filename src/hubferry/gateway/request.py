"""A client's request, resolved once: its endpoint, its upstream and repository, by which name the gateway is called."""

from dataclasses import dataclass

from hubferry.core import client, routing
from hubferry.core import headers as head
from hubferry.core.access import UserLogin
from hubferry.core.http import Request
from hubferry.core.ranges import ByteRange, parse_range
from hubferry.core.referrers import check_artifact_type
from hubferry.core.routing import Endpoint, EndpointKind, HostMeaning, Route, RoutingTable
from hubferry.core.tags import Page, parse_page
from hubferry.pull.results import BlobQuery, ManifestQuery

OF_A_REPOSITORY = frozenset({EndpointKind.MANIFEST, EndpointKind.BLOB, EndpointKind.TAGS, EndpointKind.REFERRERS})

OF_A_REGISTRY = frozenset({EndpointKind.API_ROOT, EndpointKind.SEARCH})  # `?ns=` says of which


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """One page of what refers to a digest, of this artifact type (empty: of any)."""

    digest: str
    artifact_type: str
    page: Page


@dataclass(frozen=True, slots=True)
class RegistryRequest:
    """A request whose endpoint, host and route are known.

    `base_url` is what realms name (core.client.public_base), `home` the upstream that the host name means when no image
    is named, `upstream` the one that the request is about; what a token request is about, Login.question decides.
    `route` is None unless it is about a repository. `login` is that of the client secret in the path.
    """

    received: Request
    endpoint: Endpoint
    host: HostMeaning
    base_url: str
    home: str
    upstream: str
    route: Route | None
    login: UserLogin | None = None

    @property
    def service(self) -> str:
        """The `service` of challenges and tokens: this gateway under the name that the client used."""
        return client.service_of(self.base_url)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None when it is missing; `name` in lower case."""
        return self.received.header(name)

    @property
    def wants_body(self) -> bool:
        """Return whether the client wants the body: it did not send HEAD."""
        return self.received.method != "HEAD"

    def manifest_query(self) -> ManifestQuery:
        """Return the question for the manifest that the request names."""
        accept = head.accept(self.received.headers)
        return ManifestQuery(self.endpoint.reference, accept, wants_content=self.wants_body)

    def blob_query(self) -> BlobQuery:
        """Return the question for the blob that the request names. Raises OciError 400 for several ranges."""
        return BlobQuery(
            self.endpoint.reference,
            self.byte_range(self.endpoint.reference),
            self.wants_body,
            client=self.received.peer,
        )

    def page(self) -> Page:
        """Return which page of a list is wanted (`n` and `last`). Raises OciError 400."""
        return parse_page(self.endpoint.param("n"), self.endpoint.param("last"))

    def referrers_page(self) -> ReferrersPage:
        """Return which page of the referrers of a digest is wanted. Raises OciError 400."""
        types = [value for key, value in self.endpoint.query if key == "artifactType"]
        # of several none is asked for: registries differ in what that means, and clients filter what was not filtered
        artifact_type = check_artifact_type(types[0]) if len(types) == 1 else ""
        return ReferrersPage(self.endpoint.reference, artifact_type, self.page())

    def byte_range(self, etag: str) -> ByteRange | None:
        """Return which bytes are wanted of content with this entity tag, None: all of them. Raises OciError 400.

        RFC 9110 section 13.1.5: If-Range names the tag, or means a full body. The tag of a blob is its digest.
        """
        if_range = self.header("if-range")
        if not self.wants_body or (if_range is not None and not head.etag_matches(if_range, etag)):
            return None
        return parse_range(self.header("range"))


def resolve_request(
    received: Request,
    endpoint: Endpoint,
    host: HostMeaning,
    table: RoutingTable,
    public_url: str,
    *,
    login: UserLogin | None = None,
) -> RegistryRequest:
    """Return what a request means; `public_url` is the configured one, `login` that of the client secret in the path.

    Raises OciError: 404 for an unknown registry, 400 for contradicting signals and a name that breaks the grammar.
    """
    listed = host.upstream
    base_url = client.public_base(received, public_url, host_is_listed=listed is not None)
    if login is not None:  # only who has the secret is shown it again
        base_url += f"/{received.secret}"
    home = listed.name if listed is not None else table.default
    route = None
    if endpoint.kind in OF_A_REPOSITORY:
        route = routing.resolve(endpoint.name, endpoint.namespace, host, table)
        upstream = route.upstream
    elif endpoint.namespace and endpoint.kind in OF_A_REGISTRY:
        upstream = routing.known(endpoint.namespace, table).name
    else:
        upstream = home
    return RegistryRequest(received, endpoint, host, base_url, home, upstream, route, login)
