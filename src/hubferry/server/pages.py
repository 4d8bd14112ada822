"""What people see: the home page, robots.txt; and for machines a health check and the metrics.

The page is hubferry's own, names itself, asks for nothing, and robots are denied: pages that look like Docker
Hub's get domains flagged (docs/design.md, "Pages").
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from hubferry import __version__
from hubferry.core import http
from hubferry.core.client import public_base
from hubferry.core.routing import RoutingTable

PAGE_REQUEST = "hubferry.request"  # key of the ASGI scope: the request as the client made it, behind its proxies

SECURITY = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
}


PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"

# the metrics, for a request as it arrived; None: not for this client
ReadMetrics = Callable[[http.Request], Awaitable[bytes | None]]


def build_pages(table: RoutingTable, public_url: str, read_metrics: ReadMetrics | None = None) -> Starlette:
    """The pages of one gateway."""
    environment = Environment(loader=PackageLoader("hubferry", "pages"), autoescape=select_autoescape(default=True))
    home_page = environment.get_template("home.html")

    async def home(request: Request) -> Response:
        asked = request.scope[PAGE_REQUEST]
        place = table.by_host(asked.host)
        base = public_base(asked, public_url, host_is_listed=place is not None)
        place = place or table.by_name(table.default)
        text = home_page.render(
            base=base,
            host=base.partition("://")[2],
            registry=place,
            registries=[name for name in table.registries if place is None or name != place.name],
            version=__version__,
        )
        return HTMLResponse(text, headers=SECURITY)

    async def robots(_: Request) -> Response:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})

    async def metrics(request: Request) -> Response:
        arrived = replace(request.scope[PAGE_REQUEST], peer=request.client.host if request.client else "")
        text = await read_metrics(arrived) if read_metrics is not None else None
        if text is None:
            raise HTTPException(404)
        return Response(text, media_type=PROMETHEUS_TEXT, headers={"cache-control": "no-store"})

    async def missing(request: Request, _: Exception) -> Response:
        return PlainTextResponse(f"nothing is at {request.url.path}: see /\n", status_code=404)

    return Starlette(
        routes=[
            Route("/", home, methods=["GET"]),
            Route("/robots.txt", robots, methods=["GET"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
        ],
        exception_handlers={404: missing},
    )
