"""The home page, robots.txt, and the headers that are sent with them.

The page looks like hubferry's own, says what it is, and asks for no input; robots are kept out. A domain whose pages
look like Docker Hub's gets flagged as a fraud (docs/design.md, "Pages").
"""

from jinja2 import Environment

from hubferry import __version__
from hubferry.core.client import public_base
from hubferry.core.http import Request
from hubferry.core.routing import RoutingTable
from hubferry.pages.template import HOME

SECURITY = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
}
# compiled when the module is imported: a Worker has a second of CPU time for that, but only 10 ms for a request
_PAGE = Environment(autoescape=True).from_string(HOME)
ROBOTS = "User-agent: *\nDisallow: /\n"


class HomePage:
    """The home page of one gateway, which differs by the host name that it is asked for at."""

    def __init__(self, table: RoutingTable, public_url: str) -> None:
        self._table = table
        self._public_url = public_url

    def render(self, asked: Request) -> str:
        """Return the HTML for a request, given as the client made it (see core.client.behind_proxy)."""
        place = self._table.by_host(asked.host)
        base = public_base(asked, self._public_url, host_is_listed=place is not None)
        place = place or self._table.by_name(self._table.default)
        return _PAGE.render(
            base=base,
            host=base.partition("://")[2],
            registry=place,
            registries=[name for name in self._table.registries if place is None or name != place.name],
            version=__version__,
        )
