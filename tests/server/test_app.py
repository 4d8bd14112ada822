"""The ASGI application when something fails inside: nobody is sent details, or a body that looks complete."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any, cast

import pytest

from hubferry.core.body_memory import MemoryRequest
from hubferry.core.http import Request
from hubferry.gateway.answer import Answer
from hubferry.ports.shell import Visit
from hubferry.server.app import App
from hubferry.server.body_memory import MOST_BYTES, SMALL_BYTES
from hubferry.server.log import AccessLog
from tests.support.scenes import run_scene

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/v2/",
    "raw_path": b"/v2/",
    "query_string": b"",
    "headers": [(b"host", b"hub.example.com")],
    "scheme": "http",
    "client": ("192.0.2.1", 1234),
    "extensions": {},
}


class Refused(Exception):
    """A server's, for a message that does not follow the one before."""


class FakeServer:
    """An ASGI server that takes one head and then a body, as uvicorn does."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = b""
        self.is_complete = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if (message["type"] == "http.response.start") is (self.status is not None):
            raise Refused
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")
        self.is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)


class Site:
    """A page, and how often it was made."""

    def __init__(self, page: Answer) -> None:
        self.page = page
        self.made = 0

    async def answer(self, _: Request, __: Visit, ___: Request) -> Answer:
        self.made += 1
        return self.page


class BrokenSite:
    async def answer(self, _: Request, __: Visit, ___: Request) -> Answer:
        raise ZeroDivisionError("the secret of the house")


class BrokenBody:
    """It gives a piece, and then fails in a way that nobody thought of."""

    def __init__(self) -> None:
        self.pieces = [b"a piece"]

    async def read(self) -> bytes | None:
        if not self.pieces:
            raise ZeroDivisionError("the secret of the house")
        return self.pieces.pop()

    async def next_region(self) -> None:
        return None

    async def close(self) -> None:
        pass


class FakeGateway:
    def __init__(self, answer: Answer | None) -> None:
        self._answer = answer

    def revision(self) -> int:
        return 0

    async def handle(self, _: Request, __: Visit) -> Answer | None:
        return self._answer


async def nothing() -> None:
    pass


def served(answer: Answer | None, capsys: pytest.CaptureFixture[str]) -> tuple[FakeServer, dict[str, Any]]:
    """What the server got, and the line of the access log."""
    server = FakeServer()
    gateway, site = cast("Any", FakeGateway(answer)), cast("Any", BrokenSite())
    app = App(gateway, site, AccessLog(readable=False, least="info"), (), nothing, count_fills=lambda: 0)
    run_scene(app(SCOPE, cast("Any", nothing), server.send))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["event"] == "request"]
    return server, line


def test_a_page_that_fails_is_a_502_without_details(capsys: pytest.CaptureFixture[str]) -> None:
    server, line = served(None, capsys)
    assert (server.status, server.is_complete) == (502, True)
    assert json.loads(server.body)["errors"][0]["message"].startswith("hubferry failed inside")
    assert b"secret" not in server.body
    assert (line["status"], line["outcome"]) == (502, "error")


def test_a_body_that_fails_after_its_head_is_left_incomplete(capsys: pytest.CaptureFixture[str]) -> None:
    server, line = served(Answer(200, (("content-length", "100"),), BrokenBody()), capsys)
    assert (server.status, server.body, server.is_complete) == (200, b"a piece", False)
    assert (line["status"], line["outcome"]) == (200, "error")


def test_a_large_page_waits_for_memory_as_every_large_body_does() -> None:
    """What is in the config of an image can make its page several MiB long."""
    page = bytes(SMALL_BYTES + 1)
    site, server = Site(Answer(200, (("content-length", str(len(page))),), page)), FakeServer()
    gateway = cast("Any", FakeGateway(None))
    app = App(gateway, cast("Any", site), AccessLog(readable=False, least="error"), (), nothing, count_fills=lambda: 0)
    others = MemoryRequest("192.0.2.2", MOST_BYTES)

    async def scene() -> None:
        assert app._body_memory.take_now(others)
        asked = asyncio.create_task(app(SCOPE, cast("Any", nothing), server.send))
        for _ in range(10):  # turns of the event loop
            await asyncio.sleep(0)
        assert (site.made, server.status) == (1, None)
        app._body_memory.give_back(others)
        await asked

    run_scene(scene())
    assert (server.status, server.body, site.made) == (200, page, 2)
