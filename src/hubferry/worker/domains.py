"""Which host names belong together, where there is no room for the Public Suffix List.

Reading that list costs more than a request may on the free plan. Of the registries that hubferry knows only those
below have their token service on another host of the same domain; for others there is `realm_hosts`.
"""

KNOWN = ("docker.io", "docker.com", "gitlab.com")


def registrable_domain(host: str) -> str | None:
    """See core.redirect.RegistrableDomain."""
    host = host.rstrip(".").lower()
    return next((domain for domain in KNOWN if host == domain or host.endswith(f".{domain}")), None)
