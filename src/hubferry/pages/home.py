"""The home page, robots.txt, and what goes along with them.

The page is hubferry's own, names itself, asks for nothing, and robots are denied: pages that look like Docker
Hub's get domains flagged (docs/design.md, "Pages").
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
# compiled when the module is imported: a Worker has a second for that, and 10 ms for a request
_PAGE = Environment(autoescape=True).from_string(HOME)
ROBOTS = "User-agent: *\nDisallow: /\n"


class HomePage:
    """The home page of one gateway."""

    def __init__(self, table: RoutingTable, public_url: str) -> None:
        self._table = table
        self._public_url = public_url

    def render(self, asked: Request) -> str:
        """HTML for a request as the client made it, behind its proxies."""
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
