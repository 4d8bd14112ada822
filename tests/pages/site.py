"""A site of pages without a process: requests in, answers out."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import urlencode

from hubferry.clock import SystemClock
from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request
from hubferry.core.routing import table_of
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.gateway.answer import Answer
from hubferry.pages.site import Site

HOSTS: dict[str, object] = {
    "server": {"public_url": "https://gw.example.com"},
    "upstreams": {"docker.io": {"hosts": ["hub.example.com"]}, "ghcr.io": {"hosts": ["ghcr.example.com"]}},
}
EVERY_KIND = ("gw.example.com", "hub.example.com", "ghcr.example.com", "10.0.0.5:5000", "localhost:5000")


class FakeVisitors:
    """Who has a text rewritten, and whether it is counted as a long one."""

    def __init__(self) -> None:
        self.admitted: list[tuple[str, bool]] = []

    def admit(self, received: Request, _: object, *, is_costly: bool) -> None:
        self.admitted.append((received.peer, is_costly))
        if len(self.admitted) > 2:
            raise OciError(429, Code.TOOMANYREQUESTS, "slow down", headers=(("retry-after", "9"),))


class FakeGateway:
    """A gateway some of whose upstreams are down."""

    def __init__(self, *down: str) -> None:
        self.is_down = down.__contains__
        self.visitors = FakeVisitors()


def site(tables: dict[str, Any] | None = None, *down: str) -> Site:
    settings = resolve([SettingsSource("test", tables or {})])
    return Site(settings, table_of(settings), cast("Any", FakeGateway(*down)), SystemClock())


def ask(
    asked: Site,
    target: str = "/",
    host: str = "gw.example.com",
    form: dict[str, str] | None = None,
    scheme: str = "http",
    *,
    method: str = "",
    **headers: str,
) -> Answer:
    """The answer to a GET, or to a POST of a form."""
    path, _, query = target.partition("?")
    sent = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    body = b"" if form is None else urlencode(form).encode()
    method = method or ("GET" if form is None else "POST")
    request = Request(method, path, query, sent, scheme, host, "192.0.2.1", body)
    return asyncio.run(asked.answer(request))


def html(answer: Answer) -> str:
    assert isinstance(answer.body, bytes)
    return answer.body.decode()
