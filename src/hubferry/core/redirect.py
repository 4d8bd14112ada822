"""Where an upstream may send us: redirects, token realms and addresses, and what survives the hop.

Pure. Rules (docs/design.md, "Closed world"; CVE-2020-15157, CVE-2026-33540, CVE-2026-14646):
- a redirect resolves against the current URL, stays on https if it began there, and is the fifth at most;
- `Authorization` goes along only to the same scheme, host and port;
- a realm is on the challenger's own host or registrable domain, or on the upstream's allow-list;
- no address that is not globally reachable, unless the operator allows it for that upstream.
Not here: looking names up and pinning the address (upstream/addresses.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urljoin, urlsplit

from hubferry.core.reference import is_host
from hubferry.core.settings import UpstreamSettings

MAX_HOPS = 5
MAX_URL = 8192  # signed CDN URLs have about 2,000 characters

RegistrableDomain = Callable[[str], str | None]
"""A host name -> its registrable domain by the Public Suffix List, or None when it is a suffix itself."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What an upstream's operator allows: plain http, private addresses, further hosts for its realm."""

    allow_http: bool = False
    allow_private_addresses: bool = False
    realm_hosts: tuple[str, ...] = ()


def trust_of(upstream: UpstreamSettings) -> Trust:
    """What the settings of an upstream allow."""
    return Trust(
        # an upstream that is itself plain http has nothing left to lose by a plain redirect or realm
        allow_http=any(url.startswith("http:") for url in (upstream.url, *upstream.mirrors)),
        allow_private_addresses=upstream.allow_private_addresses,
        realm_hosts=upstream.realm_hosts,
    )


@dataclass(frozen=True, slots=True)
class Hop:
    """A redirect to be followed: its absolute URL, and whether `Authorization` may go along."""

    url: str
    same_origin: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A URL that is not followed, and why, for the operator's log and the client's message."""

    reason: str


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host in lower case, port: what must agree for a credential to go along.

    Raises ValueError for a port that is no number.
    """
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or ""), parts.port or (443 if parts.scheme == "https" else 80)


def decide_hop(current: str, location: str | None, hops: int, trust: Trust) -> Hop | Refused:
    """Follow or refuse a redirect; `hops` is how many were followed before."""
    if hops >= MAX_HOPS:
        return Refused(f"more than {MAX_HOPS} redirects")
    if not location:
        return Refused("a redirect without a Location")
    try:
        if not location.isascii() or not location.isprintable():  # urljoin would clean it and hide that
            raise ValueError("control characters")
        target = urljoin(current, location)
        parts = urlsplit(target)
        problem = _check_url(target, parts, _after(current, trust))
    except ValueError:
        return Refused("a redirect to something that is no URL")
    if problem:
        return Refused(f"a redirect to {problem}")
    url = parts._replace(fragment="").geturl()
    return Hop(url, same_origin=origin(current) == origin(url))


def decide_realm(challenger: str, realm: str, trust: Trust, registrable_domain: RegistrableDomain) -> Refused | None:
    """None when a realm may be asked for a token on behalf of the challenger's URL, else why not."""
    try:
        parts = urlsplit(realm)
        problem = _check_url(realm, parts, _after(challenger, trust))
    except ValueError:
        return Refused("a token realm that is no URL")
    if problem:
        return Refused(f"a token realm at {problem}")
    host, own = parts.hostname or "", urlsplit(challenger).hostname or ""
    if host == own or host in trust.realm_hosts:
        return None
    domain = registrable_domain(host)
    if domain is not None and not _is_address(host) and domain == registrable_domain(own):
        return None
    return Refused(f"a token realm on {host}, which is neither {own} nor of its domain, nor in realm_hosts")


def _after(current: str, trust: Trust) -> Trust:
    """Once on https, always on https, whatever is allowed for an upstream on plain http."""
    return replace(trust, allow_http=False) if current.startswith("https:") else trust


def _check_url(url: str, parts: SplitResult, trust: Trust) -> str:
    """What is wrong with a URL, in words that follow "a redirect to", or an empty string."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "a URL with characters or a length that no URL has"
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return "something that is neither https nor http"
    if parts.scheme == "http" and not trust.allow_http:
        return f"plain http on {parts.hostname}"
    if parts.username is not None or parts.password is not None:
        return "a URL with credentials in it"
    if not is_host(parts.netloc):
        return "a host that is none"
    if not trust.allow_private_addresses and (problem := literal_problem(parts.hostname)):
        return problem
    return ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def literal_problem(host: str) -> str:
    """What is wrong with a host that is written as an address or as `localhost`, or an empty string."""
    host = host.rstrip(".")
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return f"the private name {host}"
    try:
        address = ip_address(host)
    except ValueError:
        # 127.1, 0x7f000001, 2130706433: getaddrinfo reads them as addresses, ip_address does not
        return f"the odd address {host}" if host.rpartition(".")[2][:1].isdigit() else ""
    return address_problem(address)


def address_problem(address: IPv4Address | IPv6Address) -> str:
    """Why an address may not be dialled, or an empty string: only globally reachable unicast addresses may.

    IPv4 inside IPv6 (mapped, 6to4, Teredo, NAT64) counts as the IPv4 address that it leads to.
    """
    for inner in _embedded(address):
        special = inner.is_multicast or inner.is_reserved or any(inner in network for network in SPECIAL)
        is_given_out = isinstance(inner, IPv4Address) or inner in _GLOBAL_UNICAST
        if special or not is_given_out or not inner.is_global:
            return f"the private or special address {address}"
    return ""


# What some versions of `ipaddress` take for global (IANA's special-purpose registries), or what is in no registry.
SPECIAL = (
    ip_network("192.0.0.0/24"),  # IETF protocol assignments; Oracle Cloud's metadata is in it
    ip_network("192.88.99.0/24"),  # 6to4 relays (RFC 7526)
    ip_network("168.63.129.16/32"),  # Azure's platform, as seen from within its virtual machines
    ip_network("2001::/23"),  # IETF protocol assignments; Teredo is unpacked before
    ip_network("3fff::/20"),  # documentation (RFC 9637)
)
_GLOBAL_UNICAST = ip_network("2000::/3")  # all of IPv6 that is given out to anybody
_NAT64 = int(IPv6Address("64:ff9b::"))


def _embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address.sixtofour:
        return [address.sixtofour]
    if address.teredo:
        return list(address.teredo)
    if int(address) >> 32 == _NAT64 >> 32:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address]
