"""Method + Host + path + `?ns=`  ->  what is asked of which upstream.

Pure. Three ways name the registry and one resolver settles them (docs/design.md, "Routing"):
a host name that an upstream lists, `?ns=`, or a registry host as first path segment; else the default upstream.
Signals that contradict each other are refused with 400, an unknown registry or host name with 404: the world of
upstreams is closed. Not here: who may pull (access.py).
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from hubferry.core import reference
from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request
from hubferry.core.settings import Settings


class Kind(Enum):
    """What an endpoint of the registry protocol is for."""

    BASE = auto()
    MANIFEST = auto()
    BLOB = auto()
    TAGS = auto()
    REFERRERS = auto()
    TOKEN = auto()
    SEARCH = auto()
    PING = auto()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The syntax of a request: its kind, the repository as the client wrote it, tag or digest, and `?ns=`."""

    kind: Kind
    name: str = ""
    reference: str = ""
    namespace: str = ""
    query: tuple[tuple[str, str], ...] = ()

    def param(self, name: str) -> str:
        """The first value of a query parameter, or an empty string."""
        return next((value for key, value in self.query if key == name), "")


@dataclass(frozen=True, slots=True)
class Place:
    """An upstream as routing sees it: its registry host, the host names that lead to it, `library/` or not."""

    name: str
    hosts: tuple[str, ...] = ()
    library: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One repository of one upstream.

    `repository` is the upstream's name for it, `named` what the client wrote (with a registry host in front if
    it wrote one), `namespace` the `?ns=` to be echoed as `OCI-Namespace`.
    """

    upstream: str
    repository: str
    named: str
    namespace: str = ""


@dataclass(frozen=True)
class RoutingTable:
    """The closed world: every upstream, the default one, and the gateway's own public host name."""

    places: tuple[Place, ...]
    default: str
    public_host: str = ""
    _by_name: dict[str, Place] = field(init=False, repr=False, compare=False)
    _by_host: dict[str, Place] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {reference.normal_host(place.name): place for place in self.places})
        by_host = {reference.normal_host(host): place for place in self.places for host in place.hosts}
        object.__setattr__(self, "_by_host", by_host)

    def by_name(self, registry: str) -> Place | None:
        """The upstream of a registry host, aliases of Docker Hub included."""
        return self._by_name.get(reference.normal_host(registry))

    def by_host(self, host: str) -> Place | None:
        """The upstream that lists a Host header, with its port or without."""
        host = reference.normal_host(host)
        return self._by_host.get(host) or self._by_host.get(reference.host_without_port(host))

    @property
    def host_names(self) -> list[str]:
        """Every host name that an upstream lists, sorted."""
        return sorted(self._by_host)

    @property
    def registries(self) -> list[str]:
        """Every registry host, sorted."""
        return sorted(self._by_name)


def table_of(settings: Settings) -> RoutingTable:
    """The routing table of resolved settings."""
    places = tuple(Place(name, up.hosts, up.library) for name, up in settings.upstreams.items())
    public_host = urlsplit(settings.server.public_url).netloc.lower()
    return RoutingTable(places, settings.default_upstream, public_host)


_RESOURCE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>.*)")
_KINDS = {"manifests": Kind.MANIFEST, "blobs": Kind.BLOB, "tags": Kind.TAGS, "referrers": Kind.REFERRERS}
_FIXED = {
    "/v2/": Kind.BASE,
    "/v2": Kind.BASE,  # never redirected: docker keys the challenge to the final URL
    "/token": Kind.TOKEN,
    "/v2/auth": Kind.TOKEN,
    "/v1/_ping": Kind.PING,
    "/v1/search": Kind.SEARCH,
}


def is_token_path(path: str) -> bool:
    """Whether a POST to this path carries a form."""
    return _FIXED.get(path) is Kind.TOKEN


READS = ("GET", "HEAD")
MAX_QUERY = 4096


def parse_endpoint(method: str, path: str, query: str) -> Endpoint | None:
    """The registry endpoint that a request names, or None when the path is not one of the registry protocol.

    Raises OciError: 400 for a bad path, name, tag, digest or query; 405 UNSUPPORTED for writing; 404 for a path
    under `/v2/` that no endpoint has.
    """
    decoded = reference.decode_path(path)
    kind = _FIXED.get(decoded)
    if kind is None and not decoded.startswith("/v2/"):
        return None
    if method not in READS and not (kind is Kind.TOKEN and method == "POST"):
        raise OciError(
            405,
            Code.UNSUPPORTED,
            f"{method} is not supported: hubferry is read-only; push to the registry itself",
            headers=(("allow", "GET, HEAD"),),
        )
    params = _parse_query(query)
    if kind is not None:
        return Endpoint(kind, namespace=_namespace(params), query=params)
    return _parse_resource(decoded, params)


def _parse_query(query: str) -> tuple[tuple[str, str], ...]:
    try:
        if len(query) > MAX_QUERY:
            raise ValueError("too long")
        return tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=32, errors="strict"))
    except (ValueError, UnicodeError) as error:
        raise OciError(400, Code.UNSUPPORTED, "the query of the URL is too long or not valid UTF-8") from error


def _namespace(params: tuple[tuple[str, str], ...]) -> str:
    named = {value for key, value in params if key == "ns" and value}
    if len(named) > 1:
        raise contradiction("?ns= is given twice with different registries", *sorted(named))
    return named.pop() if named else ""


def _parse_resource(path: str, params: tuple[tuple[str, str], ...]) -> Endpoint:
    match = _RESOURCE.fullmatch(path)
    if match is None:
        # `_catalog` is here as well: it would list what others pull, and no client needs it to pull
        raise OciError(404, Code.NAME_UNKNOWN, "no such endpoint: see /v2/<name>/manifests/<tag or digest>")
    kind, name, what = _KINDS[match["kind"]], match["name"], match["reference"]
    if kind is Kind.TAGS:
        if what != "list":
            raise OciError(404, Code.NAME_UNKNOWN, "no such endpoint: tags are at /v2/<name>/tags/list")
        what = ""
    elif kind is Kind.MANIFEST:
        reference.check_reference(what)
    else:
        reference.check_digest(what)
    return Endpoint(kind, name, what, _namespace(params), params)


def resolve_host(request: Request, table: RoutingTable) -> Place | None:
    """The upstream that the Host header names, or None when it names the gateway itself.

    Raises OciError 404 naming the known ones when a host table is configured and this host is not in it. Addresses,
    `localhost` and the public URL's host always name the gateway.
    """
    host = request.host
    place = table.by_host(host)
    if place is None and table.host_names and not _is_gateway(host, table):
        known_hosts = table.host_names + ([table.public_host] if table.public_host else [])
        raise OciError(
            404,
            Code.NAME_UNKNOWN,
            f"no upstream is configured for the host name {host}: use one of {', '.join(known_hosts)}",
            detail={"hosts": known_hosts},
        )
    return place


def _is_gateway(host: str, table: RoutingTable) -> bool:
    host = host.lower()
    bare = reference.host_without_port(host).strip("[]")
    if bare == "localhost" or host == table.public_host:
        return True
    if bare == reference.host_without_port(table.public_host):
        return True
    try:
        ip_address(bare)
    except ValueError:
        return False
    return True


def resolve(name: str, namespace: str, request: Request, table: RoutingTable) -> Route:
    """The one repository that a request means: `name` as the client wrote it, `namespace` from `?ns=`.

    Raises OciError: 404 NAME_UNKNOWN for an unknown registry or host name, 400 for contradicting signals and
    for a name that breaks the grammar.
    """
    by_host = resolve_host(request, table)
    by_namespace = known(namespace, table) if namespace else None
    by_path, rest = _split(name, table)
    # The host name of the public URL is the gateway's own: listing it for an upstream only says what it means
    # when nothing else does. Any other listed host name means its upstream and nothing else.
    host_is_firm = by_host is not None and not _is_gateway(request.host, table)

    if by_namespace and by_host and host_is_firm and by_host != by_namespace:
        raise contradiction(
            f"the host name means {by_host.name}, ?ns= means {by_namespace.name}",
            by_host.name,
            by_namespace.name,
        )
    if by_path and by_namespace and by_path != by_namespace:
        raise contradiction(
            f"the path means {by_path.name}, ?ns= means {by_namespace.name}", by_path.name, by_namespace.name
        )
    # Docker Hub has no namespace with a dot, so on the default upstream's host name a registry host in the path
    # has one meaning only; another upstream's host name with a foreign registry is a mistake.
    if by_path and by_host and host_is_firm and by_path != by_host and by_host.name != table.default:
        raise contradiction(
            f"the host name means {by_host.name}, the path means {by_path.name}", by_host.name, by_path.name
        )

    place = by_path or by_namespace or by_host or table.by_name(table.default)
    if place is None:  # settings guarantee a default; an empty table knows nothing
        raise _unknown_registry(table.default, table)
    repository = rest if by_path else name
    first, slash, _ = repository.partition("/")
    if place.name == table.default and slash and reference.names_registry(first):
        if second := table.by_name(first):
            raise contradiction(f"the path means {place.name} and {second.name}", place.name, second.name)
        raise _unknown_registry(first, table)
    if place.library:
        repository = reference.complete_library(repository)
    reference.check_repository(repository, place.name)
    return Route(place.name, repository, name, namespace)


def _split(name: str, table: RoutingTable) -> tuple[Place | None, str]:
    first, slash, rest = name.partition("/")
    if slash and reference.names_registry(first):
        return table.by_name(first), rest
    return None, name


def known(registry: str, table: RoutingTable) -> Place:
    """The upstream of a registry host. Raises OciError 404 NAME_UNKNOWN."""
    place = table.by_name(registry)
    if place is None:
        raise _unknown_registry(registry, table)
    return place


def _unknown_registry(registry: str, table: RoutingTable) -> OciError:
    return OciError(
        404,
        Code.NAME_UNKNOWN,
        f"the registry {registry[:255]} is not configured here: use one of {', '.join(table.registries)}, "
        f"or add [upstreams.{json_key(registry)}] to the configuration",
        detail={"registries": table.registries},
    )


def json_key(registry: str) -> str:
    """A registry host quoted as a TOML key."""
    return '"' + registry[:255].replace("\\", "\\\\").replace('"', '\\"') + '"'


def contradiction(message: str, *registries: str) -> OciError:
    """The 400 for two signals that name different registries."""
    return OciError(
        400,
        Code.NAME_INVALID,
        f"contradicting registries: {message}; leave one of them out",
        detail={"registries": list(registries)},
    )
