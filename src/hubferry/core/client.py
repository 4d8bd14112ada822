"""Check the shape of a client's request, find out the client's address, and name the gateway in answers.

Pure. A request that is refused here causes no request to an upstream. Not here: the path (routing.py), who may pull
(access.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from hubferry.core.errors import Code, OciError
from hubferry.core.http import Headers, Request, get, get_all
from hubferry.core.logged import MAX_PEER
from hubferry.core.reference import is_host

MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100  # clients send about ten, and proxies add about ten more

# headers that reverse proxies add; a proxy adds at least one of them
FORWARDING = (
    "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip",
)  # fmt: skip

Network = IPv4Network | IPv6Network


def check_request(request: Request) -> None:
    """Refuse a request that is too large or malformed.

    Raises OciError: 431 for more than 100 headers or 16 KiB of them; 400 for a missing or invalid Host, and for a body
    with a method that has none. A GET with a body is how requests are smuggled past a proxy that reads it differently
    (CVE-2025-43859).
    """
    if len(request.headers) > MAX_HEADERS:
        raise OciError(431, Code.UNSUPPORTED, f"the request has more than {MAX_HEADERS} headers")
    size = len(request.path) + len(request.query) + sum(len(k) + len(v) + 4 for k, v in request.headers)
    if size > MAX_HEADER_BYTES:
        raise OciError(431, Code.UNSUPPORTED, f"the request headers are larger than {MAX_HEADER_BYTES} bytes")
    if not is_host(request.host):
        raise OciError(400, Code.UNSUPPORTED, "the Host header is missing, given twice, or not a host name")
    lengths = get_all(request.headers, "content-length")
    has_body = get(request.headers, "transfer-encoding") is not None or any(length != "0" for length in lengths)
    if has_body and request.method in ("GET", "HEAD", "OPTIONS"):
        raise OciError(400, Code.UNSUPPORTED, f"{request.method} with a body is not supported")


def behind_proxy(request: Request, trusted: Sequence[Network]) -> Request:
    """Return the request as the client made it, before a reverse proxy that the operator trusts passed it on.

    The last address in X-Forwarded-For that is not itself a trusted proxy is the client. X-Forwarded-Proto and -Host
    are believed as they are. A request from anybody else is returned unchanged, apart from an IPv4 address that is
    written as IPv6.
    """
    if request.peer.lower().startswith("::ffff:"):
        request = replace(request, peer=plain_address(request.peer))
    if not trusted or not is_in(request.peer, trusted):
        return request
    chain = ",".join(get_all(request.headers, "x-forwarded-for")).split(",")
    peer = request.peer
    for hop in reversed([_hop_address(h.strip()) for h in chain if h.strip()]):
        peer = hop
        if not is_in(hop, trusted):
            break
    scheme = (get(request.headers, "x-forwarded-proto") or request.scheme).partition(",")[0].strip().lower()
    host = (get(request.headers, "x-forwarded-host") or request.host).strip()
    return replace(request, peer=peer, scheme=scheme if scheme in ("http", "https") else "http", host=host)


def _hop_address(text: str) -> str:
    """Return the address of an entry in X-Forwarded-For, which some proxies write with its port."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return plain_address(text.partition(":")[0] if text.count(":") == 1 else text)


def comes_from(request: Request, trusted: Sequence[Network], allowed: Sequence[Network]) -> bool:
    """Return whether a request, as it arrived, was made by a client in one of the `allowed` networks.

    False for a request that was forwarded by a proxy that is not trusted or that does not name the client: it may come
    from anybody.
    """
    peer = plain_address(request.peer)
    is_forwarded = any(get(request.headers, name) is not None for name in FORWARDING)
    said = "".join(get_all(request.headers, "x-forwarded-for")).strip(" \t,")
    if is_forwarded and not (said and is_in(peer, trusted)):
        return False
    return is_in(behind_proxy(request, trusted).peer, allowed)


def plain_address(peer: str) -> str:
    """`::ffff:10.0.0.9` -> `10.0.0.9`. On a socket for both IPv4 and IPv6, IPv4 peers appear in the former form."""
    return peer[7:] if peer.lower().startswith("::ffff:") and "." in peer else peer


def address_group(peer: str) -> str:
    """Return the group that an address is counted under: the IPv4 address itself, or the IPv6 /64 around it.

    A /64 is the least that one customer of a network has. Every limit per client counts by this group. A text that is
    no address is returned as it is, cut to MAX_PEER characters.
    """
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer[:MAX_PEER]
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))


def is_in(peer: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of the networks; False for a text that is no address."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any((mapped or address) in network for network in networks)


def public_base(request: Request, public_url: str, *, host_is_listed: bool) -> str:
    """Return the gateway's own URL for realms and pages, such as `https://hub.example.com`, without a final slash.

    When the request's host name is one that an upstream lists, the URL keeps that host name, because it decides which
    upstream a token request is for. Otherwise the URL is the configured `public_url` or, without one, what the client
    used.
    """
    if public_url and not host_is_listed:
        return public_url.rstrip("/")
    scheme = urlsplit(public_url).scheme if public_url else request.scheme
    return f"{scheme}://{request.host}"


def service_of(base: str) -> str:
    """Return the `service` of challenges and tokens: host and port of `base` (see `public_base`), in lower case."""
    return urlsplit(base).netloc.lower()


def cors_headers(origin: str | None, allowed: Sequence[str], *, preflight: bool) -> Headers:
    """Return the `access-control-*` headers for an origin that the operator allowed, and none for any other.

    `allowed` is `server.cors_origins`; `*` allows every origin. `preflight` is true for an OPTIONS request.
    """
    if origin is None or not (origin in allowed or "*" in allowed):
        return (("vary", "Origin"),) if allowed and "*" not in allowed else ()
    shared = (("access-control-allow-origin", origin), ("vary", "Origin"))
    if not preflight:
        exposed = "Docker-Content-Digest, WWW-Authenticate, Link, Content-Range, OCI-Filters-Applied"
        return (*shared, ("access-control-expose-headers", exposed))
    return (
        *shared,
        ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
        ("access-control-allow-headers", "Accept, Authorization, If-None-Match, Range"),
        ("access-control-max-age", "86400"),
    )
