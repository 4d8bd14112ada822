"""The pages as routes of the server: the home page, robots.txt; and for machines a health check and the metrics."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from hubferry.core import http
from hubferry.core.routing import RoutingTable
from hubferry.pages.home import ROBOTS, SECURITY, HomePage

PAGE_REQUEST = "hubferry.request"  # key of the ASGI scope: the request as the client made it, behind its proxies

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"

# the metrics, for a request as it arrived; None: not for this client
ReadMetrics = Callable[[http.Request], Awaitable[bytes | None]]


def build_pages(table: RoutingTable, public_url: str, read_metrics: ReadMetrics | None = None) -> Starlette:
    """The pages of one gateway."""
    home_page = HomePage(table, public_url)

    async def home(request: Request) -> Response:
        return HTMLResponse(home_page.render(request.scope[PAGE_REQUEST]), headers=SECURITY)

    async def robots(_: Request) -> Response:
        return PlainTextResponse(ROBOTS)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})

    async def metrics(request: Request) -> Response:
        arrived = replace(request.scope[PAGE_REQUEST], peer=request.client.host if request.client else "")
        text = await read_metrics(arrived) if read_metrics is not None else None
        if text is None:
            raise HTTPException(404)
        return Response(text, media_type=PROMETHEUS_TEXT, headers={"cache-control": "no-store"})

    async def missing(request: Request, _: Exception) -> Response:
        path = request.scope[PAGE_REQUEST].path[:512]  # not request.url, which fails for a query that is no UTF-8
        return PlainTextResponse(f"nothing is at {path}: see /\n", status_code=404)

    return Starlette(
        routes=[
            Route("/", home, methods=["GET"]),
            Route("/robots.txt", robots, methods=["GET"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
        ],
        exception_handlers={404: missing},
    )
