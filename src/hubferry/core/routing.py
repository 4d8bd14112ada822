"""Routing: method + Host + path + `?ns=`  ->  which endpoint of which repository on which upstream.

Pure. A request can name the registry in three ways (docs/design.md, "Routing"): by a host name that an upstream lists,
by `?ns=`, or by a registry host as the first path segment. Without any of them it means the default upstream. Signals
that contradict each other are refused with 400, and an unknown registry or host name with 404, because only configured
upstreams are ever asked. Not here: who may pull (access.py).
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qsl, urlsplit

from hubferry.core import reference
from hubferry.core.errors import Code, OciError
from hubferry.core.masking import has_secret
from hubferry.core.settings import Settings


class EndpointKind(Enum):
    """The kinds of endpoints: those of the registry protocol, and images as files. No path is parsed as a PAGE."""

    API_ROOT = auto()
    MANIFEST = auto()
    BLOB = auto()
    TAGS = auto()
    REFERRERS = auto()
    TOKEN = auto()
    SEARCH = auto()
    PING = auto()
    DOWNLOAD = auto()
    PAGE = auto()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A request as it is written, before it is resolved to an upstream.

    `name` is the repository as the client wrote it, `reference` the tag or digest, `namespace` the value of `?ns=`, and
    `query` all query parameters, decoded.
    """

    kind: EndpointKind
    name: str = ""
    reference: str = ""
    namespace: str = ""
    query: tuple[tuple[str, str], ...] = ()

    def param(self, name: str) -> str:
        """Return the first value of a query parameter, or an empty string."""
        return next(iter(self.params(name)), "")

    def params(self, name: str) -> list[str]:
        """Return every value of a query parameter, in their order."""
        return [value for key, value in self.query if key == name]


@dataclass(frozen=True, slots=True)
class RoutedUpstream:
    """An upstream as far as routing needs it.

    `name` is its registry host, `hosts` are the host names of the gateway that lead to it, and `library` says whether
    names of one part are completed with `library/`.
    """

    name: str
    hosts: tuple[str, ...] = ()
    library: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """The repository that a request means, on one upstream.

    `repository` is the name that the upstream has for it. `named` is what the client wrote, with a registry host in
    front if it wrote one. `namespace` is the value of `?ns=`, which the answer repeats as `OCI-Namespace`.
    """

    upstream: str
    repository: str
    named: str
    namespace: str = ""


@dataclass(frozen=True)
class RoutingTable:
    """Every upstream, the name of the default one, and the gateway's own public host name (empty: none is set)."""

    upstreams: tuple[RoutedUpstream, ...]
    default: str
    public_host: str = ""
    _by_name: dict[str, RoutedUpstream] = field(init=False, repr=False, compare=False)
    _by_host: dict[str, RoutedUpstream] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {reference.normal_host(one.name): one for one in self.upstreams})
        by_host = {reference.normal_host(host): one for one in self.upstreams for host in one.hosts}
        object.__setattr__(self, "_by_host", by_host)

    def by_name(self, registry: str) -> RoutedUpstream | None:
        """Return the upstream with this registry host, or None. Docker Hub's other names are understood."""
        return self._by_name.get(reference.normal_host(registry))

    def by_host(self, host: str) -> RoutedUpstream | None:
        """Return the upstream that lists this Host header, with or without its port, or None."""
        host = reference.normal_host(host)
        return self._by_host.get(host) or self._by_host.get(reference.host_without_port(host))

    @property
    def host_names(self) -> list[str]:
        """Every host name that some upstream lists, sorted."""
        return sorted(self._by_host)

    @property
    def registries(self) -> list[str]:
        """The registry hosts of all upstreams, sorted."""
        return sorted(self._by_name)


def table_of(settings: Settings) -> RoutingTable:
    """Return the routing table for resolved settings."""
    upstreams = tuple(RoutedUpstream(name, up.hosts, up.library) for name, up in settings.upstreams.items())
    public_host = urlsplit(settings.server.public_url).netloc.lower()
    return RoutingTable(upstreams, settings.default_upstream, public_host)


_RESOURCE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>.*)")
_KINDS = {
    "manifests": EndpointKind.MANIFEST,
    "blobs": EndpointKind.BLOB,
    "tags": EndpointKind.TAGS,
    "referrers": EndpointKind.REFERRERS,
}
_FIXED = {
    "/v2/": EndpointKind.API_ROOT,
    "/v2": EndpointKind.API_ROOT,  # not redirected to /v2/: docker would remember the challenge under the final URL
    "/token": EndpointKind.TOKEN,
    "/v2/auth": EndpointKind.TOKEN,
    "/v1/_ping": EndpointKind.PING,
    "/v1/search": EndpointKind.SEARCH,
    "/download": EndpointKind.DOWNLOAD,
}


def is_token_path(path: str) -> bool:
    """Return whether this is the path of a token endpoint, where a POST carries a form."""
    return _FIXED.get(path) is EndpointKind.TOKEN


READS = ("GET", "HEAD")
MAX_QUERY = 8192  # sixteen images with the longest names, each with its digest, for /download


def parse_endpoint(method: str, path: str, query: str) -> Endpoint | None:
    """Return the registry endpoint that a request names, or None when the path is not part of the registry protocol.

    Raises OciError: 400 for an invalid path, tag, digest or query; 405 UNSUPPORTED for a method that writes; 404 for a
    path under `/v2/` that is no endpoint.
    """
    decoded = reference.decode_path(path)
    kind = _FIXED.get(decoded)
    if kind is None and not decoded.startswith("/v2/"):
        return None
    if method not in READS and not (kind is EndpointKind.TOKEN and method == "POST"):
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
        # this includes `_catalog`: it would show what others pull, and no client needs it to pull
        raise OciError(404, Code.NAME_UNKNOWN, "no such endpoint: see /v2/<name>/manifests/<tag or digest>")
    kind, name, what = _KINDS[match["kind"]], match["name"], match["reference"]
    if kind is EndpointKind.TAGS:
        if what != "list":
            raise OciError(404, Code.NAME_UNKNOWN, "no such endpoint: tags are at /v2/<name>/tags/list")
        what = ""
    elif kind is EndpointKind.MANIFEST:
        reference.check_reference(what)
    else:
        reference.check_digest(what)
    return Endpoint(kind, name, what, _namespace(params), params)


@dataclass(frozen=True, slots=True)
class HostMeaning:
    """What a Host header means: the upstream that lists it, or None for a name that is only the gateway's own.

    `is_exclusive`: the host name means this upstream and no other. It is false for the gateway's own names (such as the
    host of the public URL), even when an upstream lists them. The upstream is then only the one that a request means
    when neither path nor `?ns=` names a registry.
    """

    upstream: RoutedUpstream | None = None
    is_exclusive: bool = False


def resolve_host(host: str, table: RoutingTable) -> HostMeaning:
    """Return what a Host header means.

    Addresses, `localhost` and the host of the public URL always mean the gateway itself. When some upstream lists host
    names, any other host name that is not listed raises OciError 404 with the known ones.
    """
    upstream = table.by_host(host)
    is_gateway = _is_gateway(host, table)
    if upstream is None and table.host_names and not is_gateway:
        public = {reference.normal_host(table.public_host)} if table.public_host else set()
        known_hosts = sorted(public.union(table.host_names))
        raise OciError(
            404,
            Code.NAME_UNKNOWN,
            f"no upstream is configured for the host name {host}: use one of {', '.join(known_hosts)}",
            detail={"hosts": known_hosts},
        )
    return HostMeaning(upstream, is_exclusive=upstream is not None and not is_gateway)


def is_own_name(host: str, table: RoutingTable) -> bool:
    """Return whether a Host header is certainly a name of this gateway, and not one that somebody else has chosen.

    A name that anybody may lead to the gateway's address (DNS rebinding) is none, although it is answered.
    """
    return table.by_host(host) is not None or _is_gateway(host, table)


def _is_gateway(host: str, table: RoutingTable) -> bool:
    host = host.lower()
    bare = reference.host_without_port(host).strip("[]")
    if bare == "localhost" or host == table.public_host:
        return True
    if bare == reference.host_without_port(table.public_host):
        return True
    return reference.is_address(bare)


def resolve(name: str, namespace: str, host: HostMeaning, table: RoutingTable) -> Route:
    """Return the one repository that a request means.

    `name` is the repository as the client wrote it, `namespace` the value of `?ns=`. Raises OciError: 404 NAME_UNKNOWN
    for an unknown registry, 400 for contradicting signals and for a name that breaks the grammar.
    """
    if has_secret(name):  # an upstream must not see it
        problem = "a client secret stands in the URL of a mirror, in front of /v2/, and not in the name of an image"
        raise OciError(400, Code.NAME_INVALID, problem)
    by_host = host.upstream
    by_namespace = known(namespace, table) if namespace else None
    by_path, rest = _split(name, table)
    if by_namespace and by_host and host.is_exclusive and by_host != by_namespace:
        raise contradiction(
            f"the host name means {by_host.name}, ?ns= means {by_namespace.name}",
            by_host.name,
            by_namespace.name,
        )
    if by_path and by_namespace and by_path != by_namespace:
        raise contradiction(
            f"the path means {by_path.name}, ?ns= means {by_namespace.name}", by_path.name, by_namespace.name
        )
    # Docker Hub has no namespace with a dot. So on a host name of the default upstream, a registry host in the path can
    # only mean that registry. On a host name of another upstream it is a mistake.
    if by_path and by_host and host.is_exclusive and by_path != by_host and by_host.name != table.default:
        raise contradiction(
            f"the host name means {by_host.name}, the path means {by_path.name}", by_host.name, by_path.name
        )

    upstream = by_path or by_namespace or by_host or table.by_name(table.default)
    if upstream is None:  # settings guarantee a default upstream, but a table can be empty
        raise _unknown_registry(table.default, table)
    repository = rest if by_path else name
    first, slash, _ = repository.partition("/")
    if upstream.name == table.default and slash and reference.names_registry(first):
        if second := table.by_name(first):
            raise contradiction(f"the path means {upstream.name} and {second.name}", upstream.name, second.name)
        raise _unknown_registry(first, table)
    if upstream.library:
        repository = reference.complete_library(repository)
    reference.check_repository(repository, upstream.name)
    return Route(upstream.name, repository, name, namespace)


def _split(name: str, table: RoutingTable) -> tuple[RoutedUpstream | None, str]:
    first, slash, rest = name.partition("/")
    if slash and reference.names_registry(first):
        return table.by_name(first), rest
    return None, name


def known(registry: str, table: RoutingTable) -> RoutedUpstream:
    """Return the upstream with this registry host. Raises OciError 404 NAME_UNKNOWN when there is none."""
    upstream = table.by_name(registry)
    if upstream is None:
        raise _unknown_registry(registry, table)
    return upstream


def _unknown_registry(registry: str, table: RoutingTable) -> OciError:
    return OciError(
        404,
        Code.NAME_UNKNOWN,
        f"the registry {registry[:255]} is not configured here: use one of {', '.join(table.registries)}, "
        f"or add [upstreams.{json_key(registry)}] to the configuration",
        detail={"registries": table.registries},
    )


def json_key(registry: str) -> str:
    """Return a registry host as a quoted TOML key, cut to 255 characters."""
    return '"' + registry[:255].replace("\\", "\\\\").replace('"', '\\"') + '"'


def contradiction(message: str, *registries: str) -> OciError:
    """Return the OciError 400 for two signals that name different registries."""
    return OciError(
        400,
        Code.NAME_INVALID,
        f"contradicting registries: {message}; leave one of them out",
        detail={"registries": list(registries)},
    )
