"""What a request must look like before anything is done with it, and what the gateway is called in its answer.

Pure. Refusals here touch no upstream. Not here: the path (routing.py), who may pull (access.py).
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
MAX_HEADERS = 100  # clients send ten, proxies add as many

# what reverse proxies add, one or the other
FORWARDING = (
    "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip",
)  # fmt: skip

Network = IPv4Network | IPv6Network


def check_request(request: Request) -> None:
    """Raises OciError: 431 for over 100 headers or 16 KiB, 400 for a Host that is none or a body where none belongs.

    A body behind GET is how requests are smuggled past a proxy that reads it differently (CVE-2025-43859).
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
    """The request as the client made it, when it came through a reverse proxy that the operator trusts.

    The nearest untrusted address of X-Forwarded-For is the client; -Proto and -Host are believed as they are.
    """
    if request.peer.lower().startswith("::ffff:"):
        request = replace(request, peer=plain_address(request.peer))
    if not trusted or not is_in(request.peer, trusted):
        return request
    chain = ",".join(get_all(request.headers, "x-forwarded-for")).split(",")
    peer = request.peer
    for hop in reversed([h.strip() for h in chain if h.strip()]):
        peer = hop
        if not is_in(hop, trusted):
            break
    scheme = (get(request.headers, "x-forwarded-proto") or request.scheme).partition(",")[0].strip().lower()
    host = (get(request.headers, "x-forwarded-host") or request.host).strip()
    return replace(request, peer=peer, scheme=scheme if scheme in ("http", "https") else "http", host=host)


def comes_from(request: Request, trusted: Sequence[Network], allowed: Sequence[Network]) -> bool:
    """Whether a request, as it arrived, was made by a client in one of the `allowed` networks.

    What was forwarded by somebody who is not trusted, or who does not say for whom, may come from anybody.
    """
    peer = plain_address(request.peer)
    is_forwarded = any(get(request.headers, name) is not None for name in FORWARDING)
    said = "".join(get_all(request.headers, "x-forwarded-for")).strip(" \t,")
    if is_forwarded and not (said and is_in(peer, trusted)):
        return False
    return is_in(behind_proxy(request, trusted).peer, allowed)


def plain_address(peer: str) -> str:
    """`::ffff:10.0.0.9` -> `10.0.0.9`: how IPv4 peers appear on a socket that takes both."""
    return peer[7:] if peer.lower().startswith("::ffff:") and "." in peer else peer


def address_group(peer: str) -> str:
    """Whose address it is: an IPv4 address, or the /64 that one customer of a network has at least.

    Everything that is counted by client is counted by this. Other texts stay as they are, MAX_PEER characters of them.
    """
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer[:MAX_PEER]
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))


def is_in(peer: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks; a text that is no address is in none."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in networks)


def public_base(request: Request, public_url: str, *, host_is_listed: bool) -> str:
    """`https://hub.example.com`: what realms and pages name, without a slash at the end.

    A host name that an upstream lists stays itself, because it decides where a token request goes; otherwise the
    configured public URL, otherwise what the client said.
    """
    if public_url and not host_is_listed:
        return public_url.rstrip("/")
    scheme = urlsplit(public_url).scheme if public_url else request.scheme
    return f"{scheme}://{request.host}"


def service_of(base: str) -> str:
    """The `service` of challenges and tokens: the host (and port) of the public base, in lower case."""
    return urlsplit(base).netloc.lower()


def cors_headers(origin: str | None, allowed: Sequence[str], *, preflight: bool) -> Headers:
    """The `access-control-*` headers for an origin that the operator listed; none for any other."""
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
