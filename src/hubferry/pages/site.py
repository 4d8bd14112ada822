"""The paths outside the registry protocol: pages, robots.txt, a health check. The same for both shells.

A page is a value (gateway.answer.Answer), and a shell sends it like any other answer. With a web framework in the
server every page would have to be written twice: the Worker has no framework, and pays for each import at its start.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from hubferry.core.errors import OciError, TokenNeeded
from hubferry.core.http import MAX_FORM_BYTES, Request
from hubferry.core.routing import RoutingTable
from hubferry.core.settings import Settings
from hubferry.gateway.answer import AccessRecord, Answer
from hubferry.gateway.gateway import Gateway
from hubferry.pages.board import Board
from hubferry.pages.home import HomePage
from hubferry.pages.image import ImagePage
from hubferry.pages.page import ASSETS, NO_STORE, PageRequest, missing, parameters_of, plain
from hubferry.pages.places import Places
from hubferry.pages.search import SearchPage
from hubferry.pages.status import IMAGES, MAX_ORDER_BYTES, STATUS, StatusPages
from hubferry.ports.shell import UNLIMITED, Clock, Visit

ROBOTS = "User-agent: *\nDisallow: /"
LINKS: tuple[tuple[str, str], ...] = (("/", "home"), ("/search", "search"))

Show = Callable[[PageRequest, Visit], Awaitable[Answer]]


def form_limit(path: str) -> int:
    """Return how many bytes the form that is sent to a path may have; 0: the path takes none."""
    return {"/": MAX_FORM_BYTES, IMAGES: MAX_ORDER_BYTES}.get(path, 0)


class Site:
    """All pages of one gateway."""

    def __init__(
        self, settings: Settings, table: RoutingTable, gateway: Gateway, clock: Clock, board: Board | None = None
    ) -> None:
        """`board` is what operators see; None: there is no status page."""
        places = Places(table, settings.server.public_url, has_users=settings.access.login == "users")
        searchable = sorted(
            (name for name, upstream in settings.upstreams.items() if upstream.search_url),
            key=lambda name: (name != settings.default_upstream, name),
        )
        self._status = None if board is None else StatusPages(places, board)
        self._pages: dict[str, Show] = {
            "/": HomePage(places, gateway.visitors, gateway.is_down).show,
            "/search": SearchPage(places, gateway.visitors, tuple(searchable)).show,
            "/image": ImagePage(places, gateway.visitors, clock).show,
        }

    async def answer(self, request: Request, visit: Visit = UNLIMITED, arrived: Request | None = None) -> Answer:
        """Return the page for a request, or a 404 page when there is none at its path.

        The request is given as the client made it (see core.client.behind_proxy), with the body of a form. `visit` is
        told who asks for a page that costs more than itself, and may refuse that client. `arrived` is the request as
        it came in; None: nobody is an operator.
        """
        allowed = ("GET", "HEAD", "POST") if form_limit(request.path) else ("GET", "HEAD")
        if request.method not in allowed:
            return plain(405, f"only {', '.join(allowed)} are answered here", (("allow", ", ".join(allowed)),))
        if request.path == "/robots.txt":
            return plain(200, ROBOTS)
        if request.path == "/healthz":
            return plain(200, "ok", NO_STORE)
        if (asset := ASSETS.get(request.path)) is not None:
            return asset
        show, links = self._pages.get(request.path), LINKS
        if self._status is not None and arrived is not None:
            if self._status.has(request.path):
                show = partial(self._status.show, arrived)
            if show is not None and self._status.is_for(request, arrived):
                links = (*LINKS, (STATUS, "status"))
        if show is None:
            return missing(request)
        asked = PageRequest(request, parameters_of(request), links)
        try:
            return await show(asked, visit)
        except OciError as error:
            shown = asked.problem(error.status, error.message, error.headers)
            record = AccessRecord().ended("error", error.message)
            if isinstance(error, TokenNeeded):  # a browser that has not logged in yet is asked to
                record = AccessRecord().ended("challenge")
            return replace(shown, record=record)
