"""Decide where an upstream may send us: which redirects, token realms and addresses are followed or refused.

Pure. Rules (docs/design.md, "Closed world"; CVE-2020-15157, CVE-2026-33540, CVE-2026-14646):
- a redirect is resolved against the current URL; it must not lead from https to http, and at most five are followed;
- `Authorization` is sent along only to the same scheme, host and port;
- a token realm must be on the challenger's own host or registrable domain, or on the upstream's allow-list;
- an address must be globally reachable, unless the operator allows private addresses for that upstream.
Not here: looking names up and dialling exactly the address that was checked (transport/addresses.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urljoin, urlsplit

from hubferry.core.reference import is_address, is_host
from hubferry.core.settings import UpstreamSettings

MAX_HOPS = 5
MAX_URL = 8192  # characters; signed CDN URLs have about 2,000

RegistrableDomain = Callable[[str], str | None]
"""Maps a host name to its registrable domain by the Public Suffix List, or to None when it is a suffix itself."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the operator allows for one upstream: plain http, private addresses, further hosts for its token realm."""

    allow_http: bool = False
    allow_private_addresses: bool = False
    realm_hosts: tuple[str, ...] = ()


def trust_of(upstream: UpstreamSettings) -> Trust:
    """Return what the settings of an upstream allow."""
    return Trust(
        # for an upstream that is itself on plain http, a redirect or realm on plain http makes nothing worse
        allow_http=any(url.startswith("http:") for url in (upstream.url, *upstream.mirrors)),
        allow_private_addresses=upstream.allow_private_addresses,
        realm_hosts=upstream.realm_hosts,
    )


@dataclass(frozen=True, slots=True)
class Refused:
    """A URL that is not followed. `reason` says why, for the operator's log and for the message to the client."""

    reason: str


def origin(url: str) -> tuple[str, str, int]:
    """Return the origin of a URL: scheme, host in lower case, and port.

    A credential is sent only to the origin that it was obtained for. Raises ValueError for a port that is no number.
    """
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or ""), parts.port or (443 if parts.scheme == "https" else 80)


def decide_hop(current: str, location: str | None, hops: int, trust: Trust) -> str | Refused:
    """Decide whether a redirect is followed, and return the absolute URL to follow, or why it is refused.

    `current` is the URL that answered with the redirect, `location` its `Location` header, and `hops` the number of
    redirects that were followed before.
    """
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
    return parts._replace(fragment="").geturl()


def decide_realm(challenger: str, realm: str, trust: Trust, registrable_domain: RegistrableDomain) -> Refused | None:
    """Decide whether a token realm may be asked: None when it may, else the reason why not.

    `challenger` is the URL whose answer named the realm.
    """
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
    if domain is not None and not is_address(host) and domain == registrable_domain(own):
        return None
    return Refused(f"a token realm on {host}, which is neither {own} nor of its domain, nor in realm_hosts")


def _after(current: str, trust: Trust) -> Trust:
    """Return the trust for what follows after the URL `current`: after https, plain http is never allowed."""
    return replace(trust, allow_http=False) if current.startswith("https:") else trust


def _check_url(url: str, parts: SplitResult, trust: Trust) -> str:
    """Return what is wrong with a URL, in words that fit behind "a redirect to", or an empty string."""
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


def literal_problem(host: str) -> str:
    """Return what is wrong with a host that is written as an address or as a private name such as `localhost`.

    An empty string means that nothing is wrong. Other names are not checked here.
    """
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
    """Return why an address may not be dialled, or an empty string. Only globally reachable unicast addresses may.

    An IPv6 address that contains an IPv4 address (mapped, 6to4, Teredo, NAT64) counts as that IPv4 address.
    """
    for inner in _embedded(address):
        special = inner.is_multicast or inner.is_reserved or any(inner in network for network in SPECIAL)
        is_given_out = isinstance(inner, IPv4Address) or inner in _GLOBAL_UNICAST
        if special or not is_given_out or not inner.is_global:
            return f"the private or special address {address}"
    return ""


# Networks that some versions of `ipaddress` take for global although they are in IANA's special-purpose registries, or
# that are special without being in a registry.
SPECIAL = (
    ip_network("192.0.0.0/24"),  # IETF protocol assignments; Oracle Cloud's metadata is in it
    ip_network("192.88.99.0/24"),  # 6to4 relays (RFC 7526)
    ip_network("168.63.129.16/32"),  # Azure's platform, as seen from within its virtual machines
    ip_network("2001::/23"),  # IETF protocol assignments; Teredo's addresses were replaced by their IPv4 ones before
    ip_network("3fff::/20"),  # documentation (RFC 9637)
)
_GLOBAL_UNICAST = ip_network("2000::/3")  # the only part of IPv6 from which addresses are allocated
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
