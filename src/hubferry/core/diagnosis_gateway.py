"""Judge what a gateway says of itself: its health, and the realm that it sends clients to for their tokens.

Pure. A reverse proxy that does not pass on the client's Host and scheme makes the gateway name a realm that clients
cannot reach, or send their passwords to in the clear.
"""

from collections.abc import Sequence
from ipaddress import ip_address

from hubferry.core.diagnosis import FAKE, Seen
from hubferry.core.finding import Finding
from hubferry.core.logged import logged
from hubferry.core.redirect import literal_problem, origin

HEALTHY = b"ok"
PUBLIC_URL = 'or set public_url = "{gateway}" in [server]'
SCHEME = "have the reverse proxy send X-Forwarded-Proto, and name its address in trusted_proxies in [server]; "
HOST = (
    "have the reverse proxy pass on the client's Host (nginx: proxy_set_header Host $http_host), or send "
    "X-Forwarded-Host and be one of trusted_proxies in [server]; "
)


def judge_gateway_names(host: str, addresses: Sequence[str]) -> Finding:
    """Judge the addresses of a gateway's host. It may be private; a fake one leads through a proxy program."""
    shown = ", ".join(addresses[:4])
    if any(ip_address(address) in network for address in addresses for network in FAKE):
        problem = f"{host} is {shown}, a fake-ip answer: a proxy program such as Clash is between you and the gateway"
        return Finding("names", "warning", problem, "exempt the name from fake-ip, so that pulls go there directly")
    return Finding("names", "ok", f"{host} is {shown}")


def judge_health(seen: Seen) -> Finding:
    """Judge the answer to `GET /healthz`."""
    if seen.status == 200 and seen.beginning.strip() == HEALTHY:
        return Finding("health", "ok", f"{seen.url} says that it is up")
    said = f"{seen.url} answers {seen.status}"
    if seen.status in (502, 503, 504):
        remedy = "the reverse proxy does not reach hubferry: see that it runs, and the address in the proxy's settings"
        return Finding("health", "failed", said, remedy)
    remedy = "see whether this is the address of hubferry, and whether the reverse proxy passes on every path"
    return Finding("health", "warning", f"{said}, and not what hubferry says", remedy)


def judge_realm(gateway: str, realm: str) -> Finding:
    """Judge the realm of a gateway's challenge: clients can use it if it is where they reached the gateway.

    `gateway` is the URL that the client used. Another public name may be what the operator wants (public_url).
    """
    try:
        scheme, host, port = origin(realm)
    except ValueError:
        scheme, host, port = "", "", 0
    used = origin(gateway)
    shown = logged(realm, 200)
    if (scheme, host, port) == used:
        return Finding("realm", "ok", f"clients are sent to {shown} for their tokens")
    problem = f"clients that use {gateway} are sent to {shown} for their tokens"
    either = PUBLIC_URL.format(gateway=gateway)
    if scheme != "https" and used[0] == "https":
        return Finding("realm", "failed", f"{problem}, without TLS", SCHEME + either)
    if host == used[1] and scheme != used[0]:
        remedy = f"use {scheme}://{host} yourself, if clients do, with --gateway; {either}"
        return Finding("realm", "warning", problem, remedy)
    if host == used[1] or not host or "." not in host or literal_problem(host):
        return Finding("realm", "failed", f"{problem}, which is not reached from everywhere", HOST + either)
    remedy = f"if that is the name that clients use, give it with --gateway {scheme}://{host}; otherwise {HOST}{either}"
    return Finding("realm", "warning", problem, remedy)
