"""What a stranger could do with a gateway of this configuration, in sentences; and whether somebody must confirm it.

Pure. A stranger is anybody who can connect and has no login. `hubferry config check` prints the sentences. A server
that listens beyond this machine and restricts nobody does not start, unless it is public on purpose (`server.public`).
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from hubferry.core.access_values import ANYONE, GROUP, USER, USERS, AccessRule
from hubferry.core.settings import Settings
from hubferry.core.values import parse_listen

REMEDY = (
    'restrict it with access.networks, access.login = "users", access.allow or [limits]; '
    "or confirm it with server.public = true or --public"
)


def is_loopback(address: str) -> bool:
    """Return whether only this machine can connect to an address of `server.listen`."""
    host, _ = parse_listen(address)
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def problem_of_openness(settings: Settings) -> str:
    """Return why a server does not start without `server.public`, as one line; empty: it does."""
    access, limits = settings.access, settings.limits
    beyond = [one for one in settings.server.listen if not is_loopback(one)]
    is_open_to_all = any(rule.allow and ANYONE in rule.who and "**" in rule.what for rule in access.rules.rows)
    restricted = (
        access.networks and not any(map(_is_everybody, access.networks)),
        access.deny_networks,
        access.login == "users" and not is_open_to_all,
        access.allow,
        access.deny,
        access.login != "users" and access.rules.rows,
        limits.requests.count or limits.downloads or limits.bytes_per_day.size_bytes,
        limits.rate.bytes_per_s or limits.total_rate.bytes_per_s,
    )
    if settings.server.public or not beyond or any(restricted):
        return ""
    return f"whoever reaches {', '.join(beyond)} could pull anything, as much as they like: {REMEDY}"


def describe_exposure(settings: Settings) -> Iterator[str]:
    """Yield what a stranger could do, in sentences."""
    yield from _who_connects(settings)
    yield from _what_is_pulled(settings)
    yield from _how_much(settings)
    yield from _what_else(settings)


def _is_everybody(network: str) -> bool:
    return ip_network(network).prefixlen == 0


def _who_connects(settings: Settings) -> Iterator[str]:
    server, access = settings.server, settings.access
    beyond = [one for one in server.listen if not is_loopback(one)]
    if beyond:
        yield f"Everybody who can reach {', '.join(beyond)} can connect."
    else:
        yield f"Only this machine can connect ({', '.join(server.listen)}), and whom a proxy on it passes on."
    if access.networks:
        yield f"Only clients in {', '.join(access.networks)} are answered."
    if access.deny_networks:
        yield f"Clients in {', '.join(access.deny_networks)} are not answered."
    if (access.networks or access.deny_networks) and not (server.trusted_proxies or server.proxy_protocol or beyond):
        yield "Behind a proxy every client has the proxy's address, unless trusted_proxies or proxy_protocol names it."


def _what_is_pulled(settings: Settings) -> Iterator[str]:
    access = settings.access
    upstreams = ", ".join(settings.upstreams)
    if access.login == "users":
        opening = [
            f"rule {number} lets {_whom(rule)} pull {', '.join(rule.what)}"
            for number, rule in enumerate(access.rules.rows, 1)
            if rule.allow and _strangers(rule)
        ]
        if opening:
            yield f"Without a login: {'; '.join(opening)}."
            yield from _accounts(settings)
        else:
            yield "Without a login nobody can pull anything."
        for issuer in access.issuers.rows:
            if not issuer.claims:
                yield f"Whoever can get a token of {issuer.issuer} for {issuer.audience} is logged in."
        return
    if access.allow:
        yield f"Without a login everybody can pull {', '.join(access.allow)}{_and_rules(settings)}."
    else:
        but = f", but not {', '.join(access.deny)}" if access.deny else ""
        yield f"Without a login everybody can pull every image of {upstreams}{but}{_and_rules(settings)}."
    yield from _accounts(settings)


def _accounts(settings: Settings) -> Iterator[str]:
    accounts = [name for name, up in settings.upstreams.items() if up.username or up.accounts_file]
    if accounts:
        yield f"That includes the private images that the gateway's own accounts of {', '.join(accounts)} may pull."


def _and_rules(settings: Settings) -> str:
    return ", as far as access.rules allow it" if settings.access.rules.rows else ""


def _strangers(rule: AccessRule) -> list[str]:
    """Return whom of those that a rule is for need no login: anyone, and networks."""
    return [one for one in rule.who if one != USERS and not one.startswith((USER, GROUP))]


def _whom(rule: AccessRule) -> str:
    strangers = _strangers(rule)
    return "everybody" if ANYONE in strangers else f"clients in {', '.join(strangers)}"


def _how_much(settings: Settings) -> Iterator[str]:
    limits = settings.limits
    free = [
        name
        for name, is_free in (
            ("requests", not limits.requests.count),
            ("downloads at a time", not limits.downloads),
            ("bytes", not limits.bytes_per_day.size_bytes),
        )
        if is_free
    ]
    if free:
        yield f"A client may have any number of {', '.join(free)} ([limits])."


def _what_else(settings: Settings) -> Iterator[str]:
    server = settings.server
    is_encrypted = bool(server.tls_cert) or server.public_url.startswith("https://")
    if settings.access.login != "open" and not is_encrypted and not all(map(is_loopback, server.listen)):
        yield "Passwords and tokens travel unencrypted: set tls_cert, or public_url to the https URL of a proxy."
    for option, believed in (("trusted_proxies", server.trusted_proxies), ("proxy_protocol", server.proxy_protocol)):
        if any(map(_is_everybody, believed)):
            yield f"Everybody can say which address it has ({option})."
    if any(map(_is_everybody, server.metrics_from)):
        yield "Everybody who can connect can read the metrics (metrics_from)."
    if any(map(_is_everybody, settings.pages.operators.networks)):
        yield "Everybody who can connect can see what is pulled, and remove what is kept (pages.operators)."
    inside = [name for name, up in settings.upstreams.items() if up.allow_private_addresses]
    if inside:
        yield f"{', '.join(inside)} may lead the gateway to addresses of your own network (allow_private_addresses)."
