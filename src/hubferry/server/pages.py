"""What people see: the home page, robots.txt, and a health check for machines.

The page is hubferry's own, names itself, asks for nothing, and robots are denied: pages that look like Docker
Hub's get domains flagged (docs/design.md, "Pages").
"""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from hubferry import __version__
from hubferry.core.reference import is_host
from hubferry.core.routing import RoutingTable

SECURITY = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
}


def build_pages(table: RoutingTable, public_url: str) -> Starlette:
    """The pages of one gateway."""
    environment = Environment(
        loader=PackageLoader("hubferry", "pages"), autoescape=select_autoescape(default=True)
    )
    home_page = environment.get_template("home.html")

    async def home(request: Request) -> Response:
        host = request.headers.get("host", "")
        host = host if is_host(host) else "localhost"
        scheme = public_url.partition(":")[0] if public_url else request.url.scheme
        place = table.by_host(host)
        registry = place.name if place else table.default
        text = home_page.render(
            host=host,
            scheme=scheme,
            registry=registry,
            registries=_others(table, registry),
            version=__version__,
        )
        return HTMLResponse(text, headers=SECURITY)

    async def robots(_: Request) -> Response:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})

    async def missing(request: Request, _: Exception) -> Response:
        return PlainTextResponse(f"nothing is at {request.url.path}: see /\n", status_code=404)

    return Starlette(
        routes=[
            Route("/", home, methods=["GET"]),
            Route("/robots.txt", robots, methods=["GET"]),
            Route("/healthz", health, methods=["GET"]),
        ],
        exception_handlers={404: missing},
    )


def _others(table: RoutingTable, registry: str) -> Sequence[str]:
    return [name for name in table.registries if name != registry]
