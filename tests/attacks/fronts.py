"""Ways to a gateway: directly, behind nginx and behind Caddy, with the configurations that the documents print.

Each is a context manager that takes a folder and a gateway, which has to trust proxies of 127.0.0.1, and gives the URL.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs.markdown import example, replaced
from tests.support.gateway import Gateway
from tests.support.processes import free_port
from tests.support.reverse_proxies import caddy, nginx

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FRONTS", "Front"]

Front = Callable[[Path, Gateway], AbstractContextManager[str]]


@contextlib.contextmanager
def directly(_: Path, gateway: Gateway) -> Iterator[str]:
    yield gateway.url


@contextlib.contextmanager
def behind_nginx(folder: Path, gateway: Gateway) -> Iterator[str]:
    port = free_port()
    site = replaced(
        example("docs/clients.md", "nginx", "proxy_pass"),
        ("127.0.0.1:5000", gateway.host),
        # the kernel of this machine has 4 MiB for each client of nginx, too, and all tests share it
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} sndbuf=64k;"),
        ("    listen [::]:443 ssl;\n", ""),
        ("    ssl_certificate     /etc/ssl/hub.example.com/fullchain.pem;\n", ""),
        ("    ssl_certificate_key /etc/ssl/hub.example.com/privkey.pem;\n", ""),
    )
    with nginx(folder, port, site, connections=16_384):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def behind_caddy(folder: Path, gateway: Gateway) -> Iterator[str]:
    port = free_port()
    caddyfile = replaced(
        example("docs/internet.md", "text", "reverse_proxy"),
        ("127.0.0.1:5000", gateway.host),
        ("hub.example.com", f"http://127.0.0.1:{port}"),
    )
    with caddy(folder, port, caddyfile):
        yield f"http://127.0.0.1:{port}"


FRONTS: tuple[Front, ...] = (directly, behind_nginx, behind_caddy)
