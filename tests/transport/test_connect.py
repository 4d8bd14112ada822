"""New connections: over the addresses of a name, past dead ones, by what was learned of them; one look-up for all."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any
from unittest import mock

import pytest

from hubferry.clock import SystemClock
from hubferry.core.no_proxy import NoProxy
from hubferry.core.settings import UpstreamSettings
from hubferry.core.values import Duration
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.transport.connect import Connector, Destination
from tests.support.waiting import turns

HOST = "registry.test"
LIMIT = Duration(30.0)  # what a hanging test takes; nothing here is measured against it
NOBODY, SOMEBODY = "127.0.0.9", "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((SOMEBODY, 0)) as listener:
        yield listener


class Resolver:
    """Answers for every name; `asked` is how often. It answers when `may_answer` is set."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def resolve(self, _host: str, port: int) -> list[Any]:
        self.asked += 1
        await self.may_answer.wait()
        if not self._addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self._addresses]


@asynccontextmanager
async def resolving(*addresses: str) -> AsyncIterator[Resolver]:
    resolver = Resolver(*addresses)
    with mock.patch("hubferry.transport.addresses.resolve", resolver.resolve):
        async with asyncio.timeout(LIMIT.seconds):
            yield resolver


def connector(*, connect_timeout: Duration = LIMIT, **settings: Any) -> Connector:
    upstream = UpstreamSettings(url=f"http://{HOST}", connect_timeout=connect_timeout, **settings)
    return Connector({HOST: upstream}, NoProxy(), SystemClock())


def run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def test_an_address_where_nobody_listens_is_passed_over_and_then_comes_last(listener: socket.socket) -> None:
    async def scene() -> None:
        port = listener.getsockname()[1]
        place = Destination(HOST, "http", HOST, port)
        async with resolving(NOBODY, SOMEBODY):
            made = connector(allow_private_addresses=True)
            for _ in range(2):
                with closing(await made.connect(place)) as wire:
                    assert wire.is_quiet
            order = made._standing.order(HOST, [NOBODY, SOMEBODY], SystemClock().monotonic())
            assert order == [SOMEBODY, NOBODY]

    run(scene)


def test_who_asks_for_a_name_that_is_being_looked_up_waits_for_the_same_answer(listener: socket.socket) -> None:
    async def scene() -> None:
        place = Destination(HOST, "http", HOST, listener.getsockname()[1])
        async with resolving(SOMEBODY) as resolver:
            resolver.may_answer.clear()
            made = connector(allow_private_addresses=True)
            asking = [asyncio.create_task(made.connect(place)) for _ in range(5)]
            await turns()  # all of them wait for the answer
            assert resolver.asked == 1
            asking[0].cancel()  # one who gives up takes nobody else's answer away
            await asyncio.sleep(0)
            resolver.may_answer.set()
            done = await asyncio.gather(*asking, return_exceptions=True)
            assert resolver.asked == 1
            assert isinstance(done[0], asyncio.CancelledError)
            for wire in done[1:]:
                assert not isinstance(wire, BaseException)
                wire.close()
            with closing(await made.connect(place)):
                assert resolver.asked == 2, "an answer is not kept"

    run(scene)


@pytest.mark.parametrize(("addresses", "cause"), [((), Cause.DNS), (("8.8.8.8", SOMEBODY), Cause.ADDRESS)])
def test_a_name_that_is_none_or_leads_inside_is_not_dialled(addresses: tuple[str, ...], cause: Cause) -> None:
    async def scene() -> None:
        async with resolving(*addresses):
            for _ in range(2):
                with pytest.raises(UpstreamFailure) as raised:
                    await connector().connect(Destination(HOST, "http", HOST, 1))
                assert raised.value.cause is cause

    run(scene)


def test_a_name_that_was_fine_and_then_leads_inside_is_checked_again() -> None:
    """DNS rebinding: what is dialled is what was checked, each time."""
    dialled: list[list[str]] = []

    async def refuse(addresses: list[str], _port: int) -> None:
        dialled.append(list(addresses))
        raise ConnectionRefusedError

    async def scene() -> None:
        made, place = connector(), Destination(HOST, "http", HOST, 1)
        with mock.patch("hubferry.transport.connect.dial", refuse):
            for addresses, cause in (("8.8.8.8",), Cause.TCP), ((SOMEBODY,), Cause.ADDRESS):
                async with resolving(*addresses):
                    with pytest.raises(UpstreamFailure) as raised:
                        await made.connect(place)
                    assert raised.value.cause is cause

    run(scene)
    assert dialled == [["8.8.8.8"]]


def test_a_resolver_that_never_answers_is_a_timeout_that_names_its_limit() -> None:
    async def scene() -> None:
        async with resolving(SOMEBODY) as resolver:
            resolver.may_answer.clear()
            with pytest.raises(UpstreamFailure) as raised:
                await connector(connect_timeout=Duration(0.01)).connect(Destination(HOST, "http", HOST, 1))
            assert raised.value.cause is Cause.TIMEOUT
            assert "no connection within 0.01s (connect_timeout)" in str(raised.value)

    run(scene)


def test_an_address_whose_tls_fails_comes_last(listener: socket.socket) -> None:
    async def scene() -> None:
        port = listener.getsockname()[1]
        async with resolving(SOMEBODY, NOBODY):
            made = connector(allow_private_addresses=True, tls_timeout=Duration(0.01))
            with pytest.raises(UpstreamFailure) as raised:
                await made.connect(Destination(HOST, "https", HOST, port))
            assert "no TLS handshake within 0.01s (tls_timeout)" in str(raised.value)
            order = made._standing.order(HOST, [SOMEBODY, NOBODY], SystemClock().monotonic())
            assert order == [NOBODY, SOMEBODY]

    run(scene)
