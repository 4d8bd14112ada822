"""The paths outside the registry protocol: the home page, robots.txt, a health check. The same for both shells.

A page is a value (status, headers, bytes), and a shell sends it like any other answer. With a web framework in the
server every page would have to be written twice: the Worker has no framework, and pays for each import at its start.
"""

from dataclasses import dataclass

from hubferry.core.http import Headers, Request
from hubferry.core.routing import RoutingTable
from hubferry.pages.home import ROBOTS, SECURITY, HomePage

TEXT = "text/plain; charset=utf-8"
NO_STORE: Headers = (("cache-control", "no-store"),)


@dataclass(frozen=True, slots=True)
class Page:
    """A complete answer: status, headers with lower-case names, and the whole body."""

    status: int
    headers: Headers
    body: bytes


def page(status: int, content_type: str, body: bytes, headers: Headers = ()) -> Page:
    """Return a page with this content type; its `content-length` is added."""
    return Page(status, (("content-type", content_type), ("content-length", str(len(body))), *headers), body)


def missing(request: Request) -> Page:
    """Return the 404 page for a path that does not exist."""
    return page(404, TEXT, f"nothing is at {request.path[:512]}: see /\n".encode())


class Site:
    """All pages of one gateway."""

    def __init__(self, table: RoutingTable, public_url: str) -> None:
        self._home = HomePage(table, public_url)

    def answer(self, request: Request) -> Page:
        """Return the page for a request, or a 404 page when there is none at its path.

        The request is given as the client made it (see core.client.behind_proxy).
        """
        if request.method not in ("GET", "HEAD"):
            return page(405, TEXT, b"only GET and HEAD are answered here\n", (("allow", "GET, HEAD"),))
        if request.path == "/":
            html = self._home.render(request).encode()
            return page(200, "text/html; charset=utf-8", html, tuple(SECURITY.items()))
        if request.path == "/robots.txt":
            return page(200, TEXT, ROBOTS.encode())
        if request.path == "/healthz":
            return page(200, TEXT, b"ok\n", NO_STORE)
        return missing(request)
