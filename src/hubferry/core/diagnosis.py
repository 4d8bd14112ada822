"""Judge what was seen on the way to an upstream or to a gateway: its name, the connection, the registry behind it.

Pure: takes what was seen, returns a Finding. False DNS answers can be told only in part: by addresses that no registry
has (NETWORKS), and by whoever answers there not having a certificate for the name. Not here: looking (doctor/),
what is wrong with a machine (diagnosis_machine.py) or with what a gateway says of itself (diagnosis_gateway.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

from hubferry.core.challenge import parse_challenges
from hubferry.core.exchange import choose
from hubferry.core.finding import Finding
from hubferry.core.headers import media_type
from hubferry.core.http import Headers, get, get_all
from hubferry.core.logged import logged
from hubferry.core.masking import mask_userinfo
from hubferry.core.redirect import address_problem
from hubferry.core.reference import is_address

Side = Literal["upstream", "gateway"]

FAKE = (
    ip_network("198.18.0.0/15"),  # the default of Clash, Mihomo, Surge, sing-box and v2ray
    ip_network("fc00::/18"),  # sing-box and v2ray
    ip_network("fdfe:dcba:9876::/64"),  # Mihomo
)
BLOCKED = (ip_network("0.0.0.0/8"), ip_network("127.0.0.0/8"), ip_network("::/127"))
# Addresses that the Great Firewall puts into its answers (Hoang et al., "How Great is the Great Firewall?", USENIX
# Security 2021): Facebook's, Twitter's and Dropbox's, and Teredo's. No registry has one of them.
FALSE = (
    *map(ip_network, ("31.13.64.0/18", "66.220.144.0/20", "69.63.176.0/20", "69.171.224.0/19", "157.240.0.0/16")),
    *map(ip_network, ("173.252.64.0/18", "104.244.40.0/21", "199.16.156.0/22", "199.59.148.0/22", "192.133.76.0/22")),
    *map(ip_network, ("162.125.0.0/16", "108.160.160.0/20", "2001::/32", "2a03:2880::/32")),
)

_OTHER_RESOLVER = "use another resolver, or set proxy for this upstream: a proxy resolves names itself"
_AROUND = "if registries are blocked here, set proxy or mirrors for this upstream: docs/links.md"
_CLOCK = "see that this machine's clock is right (`date -u`)"
# what went wrong (see `kind_of_failure`) -> what to do
REMEDIES: dict[Side, dict[str, str]] = {
    "upstream": {
        "DNS": f"see what `getent ahosts {{host}}` says; {_OTHER_RESOLVER}",
        "ADDRESS": "if it is in your own network, set allow_private_addresses = true",
        "TCP": f"see whether a firewall is in between; {_AROUND}",
        "TIMEOUT": f"see whether a firewall is in between; {_AROUND}",
        "CUT": f"a firewall may cut what it knows by its name; {_AROUND}",
        "PROXY": "see the proxy's log, and the proxy setting of this upstream",
        "PROTOCOL": f"what answers there is no registry; {_AROUND}",
        "WRONG": "something in between changes what it passes on: reach it by https, or through a proxy",
        "other name": (
            f"whoever answers there is somebody else, by a false DNS answer or as a portal: log in to it; {_AROUND}"
        ),
        "unknown authority": (
            "if it has an authority of its own, or your company's proxy has, name the certificate with ca_file; "
            "otherwise somebody listens in: set proxy or mirrors"
        ),
        "out of date": f"{_CLOCK}; if it is, whoever answers there has an old certificate",
        "TLS": f"what answers there speaks no TLS for this name: a false DNS answer, or a firewall; {_AROUND}",
    },
    "gateway": {
        "DNS": "see what `getent ahosts {host}` says here, and whether the gateway's name has an address",
        "ADDRESS": "give the gateway's own address or name with --gateway",
        "TCP": "see that it runs, listens beyond its own machine (listen in [server]), and that no firewall is there",
        "TIMEOUT": "see that it runs, and that no firewall is in between",
        "CUT": "see the log of the reverse proxy before it, and whether the port speaks TLS at all",
        "PROXY": "see the proxy's log",
        "PROTOCOL": "what answers there is no gateway: see the address, and whether it is http or https",
        "WRONG": "something changes what it passes on: look at reverse proxies and caches before the gateway",
        "other name": (
            "its certificate is for other names: use one of these with --gateway, or get a certificate for this one"
        ),
        "unknown authority": (
            "name the authority's certificate with --ca-file; clients need it too: "
            "docs/clients.md#tls-and-reverse-proxies"
        ),
        "out of date": f"{_CLOCK}; if it is, renew the gateway's certificate",
        "TLS": "see whether the gateway is plain http there: then give http:// with --gateway",
    },
}
_CERTIFICATES = {
    "mismatch": "other name",
    "self-signed": "unknown authority",
    "self signed": "unknown authority",
    "local issuer": "unknown authority",
    "expired": "out of date",
    "not yet valid": "out of date",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer, as far as it is judged: the URL that gave it, and the first bytes of its body."""

    url: str
    status: int
    headers: Headers
    beginning: bytes = b""


def judge_names(name: str, host: str, addresses: Sequence[str], *, allow_private: bool) -> Finding:
    """Judge the addresses that a resolver gave for an upstream's host; `allow_private` as the setting."""
    shown = ", ".join(addresses[:4])
    for address in map(ip_address, addresses):
        if any(address in network for network in FALSE):
            problem = f"{host} is {address}, an address that false DNS answers have, and no registry"
            return Finding(name, "failed", problem, f"{_OTHER_RESOLVER}, or set mirrors: docs/links.md")
        if not allow_private and (problem := address_problem(address)):
            kind, remedy = _private(address)
            return Finding(name, "failed", f"{host} is {address}, {kind}: hubferry connects to no such address", remedy)
    return Finding(name, "ok", f"{host} is {shown}")


def _private(address: IPv4Address | IPv6Address) -> tuple[str, str]:
    """Return what an address that is not public means in a DNS answer, and what to do."""
    if any(address in network for network in FAKE):
        return (
            "a fake-ip answer of a proxy program such as Clash or sing-box",
            "set proxy to that program's own port, such as http://127.0.0.1:7890, or exempt the name from fake-ip",
        )
    if any(address in network for network in BLOCKED):
        return "the answer of a resolver or hosts file that blocks it", _OTHER_RESOLVER
    return (
        "a private or special address",
        "if the registry is in your own network, set allow_private_addresses = true; otherwise the answer is false: "
        + _OTHER_RESOLVER,
    )


def kind_of_failure(cause: str, detail: str) -> str:
    """Return which row of REMEDIES is about a failure; `cause` is the name of a ports.upstream.Cause."""
    if cause != "TLS":
        return cause
    return next((kind for words, kind in _CERTIFICATES.items() if words in detail), "TLS")


@dataclass(frozen=True, slots=True)
class Failure:
    """A connection or request that failed: the name of a ports.upstream.Cause, the host, and a sentence about it."""

    cause: str
    host: str
    text: str
    detail: str = ""


def judge_failure(name: str, side: Side, failure: Failure) -> Finding:
    """Judge a connection or request that failed: say what to do."""
    remedy = REMEDIES[side][kind_of_failure(failure.cause, failure.detail)].format(host=failure.host)
    text = str(logged(failure.text))
    if side == "upstream" and failure.cause == "ADDRESS" and is_address(failure.detail.rpartition(" ")[2]):
        kind, remedy = _private(ip_address(failure.detail.rpartition(" ")[2]))
        text += f", {kind}"
    return Finding(name, "failed", text, remedy)


# the answer to GET /v2/ -> what to do
_REGISTRY: dict[Side, dict[str, str]] = {
    "upstream": {
        "page": "open it in a browser: log in to the network's portal, or set proxy or mirrors for this upstream",
        "no challenge": "see whether its URL is that of a registry",
        "too many": "wait, or set an account: docs/links.md",
        "broken": "the registry, or what is before it, has a problem: try again later",
        "other": "see whether url is the registry's own address; a 403 may be a firewall's: set proxy or mirrors",
    },
    "gateway": {
        "page": "open it in a browser: this is no hubferry, or its reverse proxy answers by itself",
        "no challenge": "have the reverse proxy pass on everything below /v2/, and WWW-Authenticate in answers",
        "too many": "the gateway limits its clients ([limits]): wait",
        "broken": "the reverse proxy does not reach hubferry, or hubferry has a problem: see the logs of both",
        "other": "see whether this is the address of hubferry, and whether its rules admit this machine (networks)",
    },
}


def judge_registry(name: str, side: Side, seen: Seen) -> Finding:
    """Judge the answer to `GET /v2/`: a registry says 200, or 401 with a challenge that can be answered."""
    challenge = choose(parse_challenges(get_all(seen.headers, "www-authenticate")))
    is_page = media_type(get(seen.headers, "content-type")) == "text/html" or seen.beginning.lstrip()[:1] == b"<"
    said, remedies = f"{logged(mask_userinfo(seen.url), 200)} answers {seen.status}", _REGISTRY[side]
    if seen.status == 401 and challenge is not None:
        return Finding(name, "ok", f"{said} with a challenge ({challenge.scheme})")
    if seen.status == 200 and not is_page:
        return Finding(name, "ok", f"{said} without a challenge")
    if seen.status < 400 and (is_page or seen.status >= 300):
        what = "a redirect that is not followed" if seen.status >= 300 else "a web page"
        text = f"{said} with {what}, as a captive portal or a blocking page does"
        return Finding(name, "failed", text, remedies["page"])
    if seen.status == 401:
        return Finding(name, "failed", f"{said} without a challenge", remedies["no challenge"])
    if seen.status == 429:
        return Finding(name, "warning", f"{said}: too many requests", remedies["too many"])
    if seen.status >= 500:
        return Finding(name, "failed", said, remedies["broken"])
    return Finding(name, "failed", f"{said}, which no registry does", remedies["other"])
