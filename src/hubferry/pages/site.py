"""The paths outside the registry protocol: pages, robots.txt, a health check. The same for both shells.

A page is a value (gateway.answer.Answer), and a shell sends it like any other answer. With a web framework in the
server every page would have to be written twice: the Worker has no framework, and pays for each import at its start.
"""

from collections.abc import Callable

from hubferry.core.http import MAX_FORM_BYTES, Request
from hubferry.core.routing import RoutingTable
from hubferry.core.settings import Settings
from hubferry.gateway.answer import Answer
from hubferry.gateway.gateway import Gateway
from hubferry.pages.home import HomePage
from hubferry.pages.page import ASSETS, NO_STORE, PageRequest, missing, parameters_of, plain

ROBOTS = "User-agent: *\nDisallow: /"
LINKS = (("/", "home"),)

Show = Callable[[PageRequest], Answer]


def form_limit(path: str) -> int:
    """Return how many bytes the form that is sent to a path may have; 0: the path takes none."""
    return MAX_FORM_BYTES if path == "/" else 0


class Site:
    """All pages of one gateway."""

    def __init__(self, settings: Settings, table: RoutingTable, gateway: Gateway) -> None:
        home = HomePage(
            table,
            settings.server.public_url,
            has_users=settings.access.login == "users",
            is_down=gateway.is_down,
        )
        self._pages: dict[str, Show] = {"/": home.show}

    async def answer(self, request: Request) -> Answer:
        """Return the page for a request, or a 404 page when there is none at its path.

        The request is given as the client made it (see core.client.behind_proxy), with the body of a form.
        """
        if request.method not in ("GET", "HEAD") and not (request.method == "POST" and form_limit(request.path)):
            return plain(405, "only GET and HEAD are answered here", (("allow", "GET, HEAD"),))
        if request.path == "/robots.txt":
            return plain(200, ROBOTS)
        if request.path == "/healthz":
            return plain(200, "ok", NO_STORE)
        if (asset := ASSETS.get(request.path)) is not None:
            return asset
        show = self._pages.get(request.path)
        return missing(request) if show is None else show(PageRequest(request, parameters_of(request), LINKS))
