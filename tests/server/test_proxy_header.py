"""A connection until its header has come: how long it may take, and to whom it is handed on."""

import asyncio
import contextlib
from ipaddress import ip_network
from typing import Any, cast

import pytest

from hubferry.server import proxy_header
from hubferry.server.protocol import BoundedHttpProtocol
from hubferry.server.proxy_header import ProxyHeaders
from tests.support.waiting import until

LINE = b"PROXY TCP4 192.0.2.1 198.51.100.1 5555 443\r\n"
SHORT_S = 0.01


class FakeTransport:
    """A transport from an address; `protocol` is whose it is."""

    def __init__(self, peer: tuple[str, int] | None) -> None:
        self._peer = peer
        self.is_aborted = False
        self.protocol: object = None

    def get_extra_info(self, name: str) -> object:
        return self._peer if name == "peername" else None

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol


class FakeHttp:
    """The protocol that a connection is handed on to."""

    def __init__(self) -> None:
        self.said_client: tuple[str, int] | None = None
        self.transport: object = None
        self.received = b""

    def connection_made(self, transport: object) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_header, "HEAD_TIMEOUT_S", SHORT_S)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(ProxyHeaders, "tell", lambda _, peer, problem: found.append((peer, problem)))
    return found


def begin(peer: tuple[str, int] | None) -> tuple[asyncio.Protocol, FakeTransport, list[FakeHttp]]:
    """A new connection from an address, where 10.0.0.0/8 are balancers; and what it was handed on to."""
    handed: list[FakeHttp] = []

    def make(**_: Any) -> BoundedHttpProtocol:
        handed.append(FakeHttp())
        return cast("BoundedHttpProtocol", handed[-1])

    transport = FakeTransport(peer)
    beginning = ProxyHeaders(make, [ip_network("10.0.0.0/8")])()
    beginning.connection_made(cast("asyncio.Transport", transport))
    return beginning, transport, handed


def test_a_header_that_does_not_come_ends_the_connection(told: list[tuple[str, str]]) -> None:
    async def scene() -> None:
        beginning, transport, handed = begin(("10.0.0.5", 1))
        beginning.data_received(LINE[:20])
        await until(lambda: transport.is_aborted, "the end of the connection")
        assert handed == []

    asyncio.run(scene())
    assert told == [("10.0.0.5", "no header came in time")]


@pytest.mark.parametrize("pieces", [[LINE + b"GET"], [LINE[:9], LINE[9:], b"GET"], [LINE[:-1], LINE[-1:] + b"GET"]])
def test_a_connection_is_handed_on_with_what_follows_and_lasts(
    told: list[tuple[str, str]], pieces: list[bytes]
) -> None:
    async def scene() -> None:
        beginning, transport, handed = begin(("10.0.0.5", 1))
        protocol: Any = beginning
        for piece in pieces:
            protocol.data_received(piece)
            protocol = transport.protocol or beginning
        (http,) = handed
        assert transport.protocol is http
        assert (http.said_client, http.transport, http.received) == (("192.0.2.1", 5555), transport, b"GET")
        await asyncio.sleep(5 * SHORT_S)
        assert not transport.is_aborted, "the time is over for the header, and not for the connection"

    asyncio.run(scene())
    assert told == []


def test_an_end_before_the_header_is_no_fault(told: list[tuple[str, str]]) -> None:
    """A balancer that only looks whether somebody listens."""

    async def scene() -> None:
        beginning, transport, handed = begin(("10.0.0.5", 1))
        beginning.connection_lost(None)
        await asyncio.sleep(5 * SHORT_S)
        assert (transport.is_aborted, handed) == (False, [])

    asyncio.run(scene())
    assert told == []


@pytest.mark.parametrize(("peer", "is_handed_on"), [(("192.0.2.1", 1), True), (("10.0.0.5", 1), False), (None, False)])
def test_who_needs_no_header_is_handed_on_at_once(peer: tuple[str, int] | None, *, is_handed_on: bool) -> None:
    async def scene() -> None:
        beginning, transport, handed = begin(peer)
        assert bool(handed) is is_handed_on
        with contextlib.suppress(IndexError):
            assert handed[0].said_client is None
        beginning.connection_lost(None)
        assert not transport.is_aborted

    asyncio.run(scene())
