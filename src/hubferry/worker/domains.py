"""The registrable domains of a few registries, in place of the Public Suffix List.

Reading that list takes more CPU time than a request may use on the free plan. Of the registries that hubferry knows,
only those below have their token service on another host of the same domain. For others there is `realm_hosts`.
"""

KNOWN = ("docker.io", "docker.com", "gitlab.com")


def registrable_domain(host: str) -> str | None:
    """Return the domain of KNOWN that a host is or is below, None without one: a core.redirect.RegistrableDomain."""
    host = host.rstrip(".").lower()
    return next((domain for domain in KNOWN if host == domain or host.endswith(f".{domain}")), None)
