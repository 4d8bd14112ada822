"""The Transport port over sockets: exchanges with a server on this machine, and what becomes of their connections."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest

from hubferry.core.exchange import Send
from hubferry.core.http import Headers
from hubferry.core.settings import UpstreamSettings
from hubferry.core.values import Duration, Size
from hubferry.ports.shell import Uncounted
from hubferry.ports.upstream import Cause, TooLarge, UpstreamFailure
from hubferry.transport import client as client_module
from hubferry.transport.client import IDLE_S, SocketTransport, StreamedResponse
from tests.gateway.fakes import FakeClock, FakeResponse
from tests.support.waiting import until

LIMIT_S = 30.0  # what a hanging test takes; nothing here is measured against it
AT_ONCE = Duration(0.01)  # a limit that is exceeded on purpose
NAME, OTHER = "a.test", "b.test"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(body: bytes, *lines: bytes, length: int | None = None) -> bytes:
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % (len(body) if length is None else length), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@dataclass
class Step:
    """What the server does for one request: the pieces that it sends, and whether it hangs up then."""

    pieces: tuple[bytes, ...]
    hangs_up: bool = False
    go_on: asyncio.Event | None = None  # waited for before the last piece
    was_sent: asyncio.Event | None = None  # set after the last piece


class Server:
    """Does its steps one after the other, whatever connection a request comes on; `requests` are by connection."""

    def __init__(self) -> None:
        self.requests: list[list[bytes]] = []
        self.ended: list[asyncio.Event] = []
        self.url = ""
        self._steps: list[Step] = []

    def does(self, *steps: bytes | Step) -> None:
        self._steps += [step if isinstance(step, Step) else Step((step,)) for step in steps]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: list[bytes] = []
        ended = asyncio.Event()
        self.requests.append(requests)
        self.ended.append(ended)
        try:
            while True:
                requests.append(await reader.readuntil(b"\r\n\r\n"))
                step = self._steps.pop(0)
                for number, piece in enumerate(step.pieces):
                    if step.go_on is not None and number == len(step.pieces) - 1:
                        await step.go_on.wait()
                    writer.write(piece)
                    await writer.drain()
                if step.was_sent is not None:
                    step.was_sent.set()
                if step.hangs_up:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has closed it
        finally:
            writer.close()
            ended.set()

    @property
    def used(self) -> list[int]:
        """How many requests came on each connection."""
        return [len(requests) for requests in self.requests]


class Counted(Uncounted):
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int | None]] = []
        self.gave: dict[str, int] = {}

    def upstream_asked(self, upstream: str, method: str, status: int | None) -> None:
        self.asked.append((upstream, method, status))

    def upstream_gave(self, upstream: str, size_bytes: int) -> None:
        self.gave[upstream] = self.gave.get(upstream, 0) + size_bytes


class Stage:
    """A client and a server."""

    def __init__(self, server: Server, **settings: Any) -> None:
        self.server = server
        self.clock = FakeClock()
        self.metrics = Counted()
        upstream = UpstreamSettings(url=server.url, allow_private_addresses=True, **settings)
        self.client = SocketTransport({NAME: upstream, OTHER: upstream}, self.clock, self.metrics)

    async def send(self, method: str = "GET", *, path: str = "/", upstream: str = NAME) -> StreamedResponse:
        return await self.client.send(upstream, Send(method, self.server.url + path, ()))

    async def fetch(self, method: str = "GET", *, upstream: str = NAME) -> bytes:
        return await self.client.read(await self.send(method, upstream=upstream), 2**20)

    async def failure(self, asking: Awaitable[object]) -> UpstreamFailure:
        with pytest.raises(UpstreamFailure) as raised:
            await asking
        return raised.value


@asynccontextmanager
async def staged(**settings: Any) -> AsyncIterator[Stage]:
    server = Server()
    async with asyncio.timeout(LIMIT_S):
        listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
        async with listening:
            server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            stage = Stage(server, **settings)
            yield stage
            await stage.client.close()
            for ended in server.ended:
                await ended.wait()  # no connection is left open by what a test did


def run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


REQUESTS: dict[str, tuple[str, Headers, bytes]] = {
    "no path": ("", (), b"GET / HTTP/1.1"),
    "a path": ("/v2/", (("accept", "a/b"),), b"GET /v2/ HTTP/1.1"),
    "a query": ("/v2/?a=b&c", (), b"GET /v2/?a=b&c HTTP/1.1"),
    "a query without a path": ("?a=b", (), b"GET /?a=b HTTP/1.1"),
    "a fragment is not sent": ("/v2/#x", (), b"GET /v2/ HTTP/1.1"),
}


@pytest.mark.parametrize(("path", "headers", "line"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_is_sent_to_the_host_of_its_url(path: str, headers: Headers, line: bytes) -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(EMPTY)
            await stage.client.send(NAME, Send("GET", stage.server.url + path, headers))
            host = stage.server.url.removeprefix("http://").encode()
            more = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
            assert stage.server.requests == [[line + b"\r\nHost: " + host + b"\r\n" + more + b"\r\n"]]

    run(scene)


def test_an_answer_has_its_status_its_headers_and_its_body_and_all_are_counted() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(answer(b"abc", b"A: b", b"a: c"))
            response = await stage.send()
            assert response.status == 200
            assert response.headers == (("content-length", "3"), ("a", "b"), ("a", "c"))
            assert await stage.client.read(response, 3) == b"abc"
            assert stage.metrics.asked == [(NAME, "GET", 200)]
            assert stage.metrics.gave == {NAME: 3}

    run(scene)


def test_a_body_is_read_as_it_arrives() -> None:
    async def scene() -> None:
        async with staged() as stage:
            go_on = asyncio.Event()
            stage.server.does(Step((answer(b"abc", length=6), b"def"), go_on=go_on))
            response = await stage.send()
            assert response.body.host == "127.0.0.1"
            assert await response.body.read() == b"abc"
            go_on.set()
            assert await response.body.read() == b"def"
            assert await response.body.read() is None
            assert stage.metrics.gave == {NAME: 6}

    run(scene)


# what two exchanges are, one after the other; on how many connections they are
KEPT: dict[str, tuple[bytes, str, int]] = {
    "a body that was read": (answer(b"abc"), "read", 1),
    "chunks that were read": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "read", 1),
    "no body": (EMPTY, "close", 1),
    "an empty body": (answer(b""), "read", 1),
    "a redirect with an empty body": (
        b"HTTP/1.1 307 Go\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n",
        "close",
        1,
    ),
    "no body, that nobody closes": (EMPTY, "leave", 1),
    "HEAD": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD", 1),
    "a small body that nobody read": (answer(b"abc"), "close", 1),
    "the end of a body that nobody read": (answer(b"abc", length=4), "close", 2),
    "the server does not keep it": (answer(b"abc", b"Connection: close"), "read", 2),
    "more than was declared": (answer(b"abcd", length=3), "read", 2),
}


@pytest.mark.parametrize(("first", "way", "connections"), KEPT.values(), ids=KEPT.keys())
def test_a_connection_is_used_again_once_its_answer_has_ended(first: bytes, way: str, connections: int) -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(first, answer(b"second"))
            response = await stage.send("HEAD" if way == "HEAD" else "GET")
            if way == "read":
                await stage.client.read(response, 100)
            elif way == "close":
                await response.body.close()
            assert await stage.fetch() == b"second"
            assert len(stage.server.requests) == connections
            if connections == 2:
                await stage.server.ended[0].wait()

    run(scene)


def test_a_connection_is_used_for_the_upstream_that_it_was_made_for_alone() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(*[answer(b"abc")] * 4)
            for upstream in (NAME, OTHER, NAME, OTHER):
                assert await stage.fetch(upstream=upstream) == b"abc"
            assert stage.server.used == [2, 2]

    run(scene)


def test_exchanges_at_the_same_time_have_connections_of_their_own() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(*[answer(b"abc")] * 5)
            assert await asyncio.gather(*(stage.fetch() for _ in range(3))) == [b"abc"] * 3
            assert await asyncio.gather(*(stage.fetch() for _ in range(2))) == [b"abc"] * 2
            assert len(stage.server.requests) == 3

    run(scene)


@pytest.mark.parametrize(("idle_s", "connections"), [(IDLE_S - 1, 1), (IDLE_S, 2)])
def test_a_connection_is_kept_for_a_while(idle_s: float, connections: int) -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(answer(b"abc"), answer(b"abc"))
            await stage.fetch()
            stage.clock.pass_s(idle_s)
            await stage.fetch()
            assert len(stage.server.requests) == connections

    run(scene)


def test_a_body_that_is_closed_twice_gives_its_connection_back_once() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(*[answer(b"abc")] * 3)
            response = await stage.send()
            await response.body.close()
            await response.body.close()
            assert await response.body.read() is None
            assert [*await asyncio.gather(stage.fetch(), stage.fetch())] == [b"abc", b"abc"]
            assert sorted(stage.server.used) == [1, 2]

    run(scene)


def test_a_connection_that_the_server_has_closed_is_not_used() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(Step((answer(b"abc"),), hangs_up=True), answer(b"abc"))
            await stage.fetch()
            await stage.server.ended[0].wait()
            assert await stage.fetch() == b"abc"
            assert stage.server.used == [1, 1]

    run(scene)


def test_what_the_server_said_unasked_is_not_taken_for_an_answer() -> None:
    async def scene() -> None:
        async with staged() as stage:
            go_on, was_sent = asyncio.Event(), asyncio.Event()
            stage.server.does(Step((answer(b"abc"), answer(b"unasked")), go_on=go_on, was_sent=was_sent))
            stage.server.does(answer(b"asked for"))
            assert await stage.fetch() == b"abc"
            go_on.set()
            await was_sent.wait()
            assert await stage.fetch() == b"asked for"
            assert stage.server.used == [1, 1]

    run(scene)


def test_a_connection_that_dies_before_it_answers_again_is_replaced_once() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(answer(b"abc"), Step((), hangs_up=True), answer(b"abc"))
            await stage.fetch()
            assert await stage.fetch() == b"abc"
            assert stage.server.used == [2, 1]
            stage.server.does(Step((), hangs_up=True), Step((), hangs_up=True))
            failure = await stage.failure(stage.fetch())
            assert (failure.cause, failure.host) == (Cause.CUT, "127.0.0.1")
            assert stage.server.used == [2, 2, 1]
            assert stage.metrics.asked == [(NAME, "GET", 200), (NAME, "GET", 200), (NAME, "GET", None)]

    run(scene)


def test_a_new_connection_that_does_not_answer_is_not_replaced() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(Step((), hangs_up=True))
            failure = await stage.failure(stage.fetch())
            assert failure.cause is Cause.CUT
            assert failure.detail in ("closed without an answer", "Connection reset by peer")
            assert stage.server.used == [1]

    run(scene)


def test_a_connection_that_dies_within_an_answer_is_not_replaced() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(answer(b"abc"), Step((b"HTTP/1.1 200",), hangs_up=True))
            await stage.fetch()
            assert (await stage.failure(stage.fetch())).cause is Cause.CUT
            assert stage.server.used == [2]

    run(scene)


# what a server sends, the limit that is short, what went wrong
FAILED: dict[str, tuple[Step, str, Cause, str]] = {
    "no answer": (Step(()), "response_timeout", Cause.TIMEOUT, "no response header within 0.01s (response_timeout)"),
    "half a head": (
        Step((b"HTTP/1.1 200 OK\r\n",)),
        "response_timeout",
        Cause.TIMEOUT,
        "no response header within 0.01s (response_timeout)",
    ),
    "half a body": (
        Step((answer(b"abc", length=4),)),
        "read_timeout",
        Cause.TIMEOUT,
        "no more of the body within 0.01s (read_timeout)",
    ),
    "a body that breaks off": (Step((answer(b"abc", length=5),), hangs_up=True), "", Cause.CUT, "2 bytes are missing"),
    "no HTTP": (Step((b"SSH-2.0-x\n",)), "", Cause.PROTOCOL, "an answer that is not HTTP/1.1"),
    "chunks that are none": (
        Step((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",)),
        "",
        Cause.PROTOCOL,
        "Invalid character in chunk size",
    ),
}


@pytest.mark.parametrize(("step", "limit", "cause", "detail"), FAILED.values(), ids=FAILED.keys())
def test_an_exchange_that_fails_says_why_and_closes_its_connection(
    step: Step, limit: str, cause: Cause, detail: str
) -> None:
    async def scene() -> None:
        limits = {limit: AT_ONCE} if limit else {}
        async with staged(**limits) as stage:
            stage.server.does(step)
            failure = await stage.failure(stage.fetch())
            assert (failure.cause, failure.detail, failure.host) == (cause, detail, "127.0.0.1")
            await stage.server.ended[0].wait()

    run(scene)


def test_where_nobody_listens_there_is_nothing_to_connect_to() -> None:
    async def scene() -> None:
        async with staged() as stage:
            with socket.socket() as reserved:
                reserved.bind(("127.0.0.1", 0))
                port = reserved.getsockname()[1]
                url = f"http://127.0.0.1:{port}/"
                failure = await stage.failure(stage.client.send(NAME, Send("HEAD", url, ())))
            assert (failure.cause, failure.detail) == (Cause.TCP, f"Connection refused (port {port})")
            assert stage.metrics.asked == [(NAME, "HEAD", None)]

    run(scene)


def test_a_body_that_comes_too_slowly_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, float]] = []

    class Stalled:
        def __init__(self, min_bytes_per_s: int, window_s: float) -> None:
            asked.append((min_bytes_per_s, window_s))

        def is_stalled(self, _size_bytes: int, _waited_s: float) -> bool:
            return True

    monkeypatch.setattr(client_module, "ArrivalRate", Stalled)

    async def scene() -> None:
        async with staged(read_timeout=Duration(20.0), min_rate=Size(2048)) as stage:
            go_on = asyncio.Event()
            stage.server.does(Step((answer(b"abc", length=6), b"def"), go_on=go_on))
            response = await stage.send()
            assert await response.body.read() == b"abc", "what came with the head was not waited for"
            go_on.set()
            failure = await stage.failure(stage.client.read(response, 100))
            assert (failure.cause, failure.host) == (Cause.TIMEOUT, "127.0.0.1")
            assert failure.detail == "its body came slower than min_rate for 20s of waiting"
            assert asked == [(2048, 20.0)]

    run(scene)


def test_a_body_that_is_over_makes_those_of_others_no_smaller() -> None:
    async def scene() -> None:
        async with staged() as stage:
            buffers = stage.client._connector._buffers
            stage.server.does(answer(b"abc"), answer(b"abc", length=4), EMPTY)
            for _ in range(2):
                response = await stage.send()
                assert buffers.bodies == 1
                await response.body.close()
                await response.body.close()
                assert buffers.bodies == 0
            await stage.send()
            assert buffers.bodies == 0, "no body was received"

    run(scene)


@pytest.mark.parametrize(("limit_bytes", "fits"), [(6, True), (5, False), (0, False)])
def test_a_body_that_is_read_whole_has_a_limit(limit_bytes: int, *, fits: bool) -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(Step((answer(b"abc", length=6), b"def")))
            response = await stage.send()
            if fits:
                assert await stage.client.read(response, limit_bytes) == b"abcdef"
            else:
                with pytest.raises(TooLarge, match=f"more than {limit_bytes} bytes"):
                    await stage.client.read(response, limit_bytes)
            assert await response.body.read() is None, "it is closed either way"

    run(scene)


def test_many_small_pieces_do_not_take_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "WHOLE_S", 0.01)

    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(answer(b"abc", length=4))
            failure = await stage.failure(stage.fetch())
            assert (failure.cause, failure.detail) == (Cause.TIMEOUT, "a small body took too long")
            await stage.server.ended[0].wait()

    run(scene)


def test_a_body_of_another_client_is_a_mistake() -> None:
    async def scene() -> None:
        async with staged() as stage:
            with pytest.raises(TypeError, match="another client"):
                await stage.client.read(FakeResponse(200), 100)

    run(scene)


@pytest.mark.parametrize("at", ["head", "body"])
def test_who_leaves_closes_the_connection(at: str) -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(Step(()) if at == "head" else answer(b"abc", length=4))
            asking = asyncio.create_task(stage.fetch())
            await until(lambda: stage.server.used == [1] and (at == "head" or bool(stage.metrics.gave)))
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await stage.server.ended[0].wait()

    run(scene)


def test_no_more_connections_are_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_IDLE", 2)

    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(*[answer(b"abc")] * 6)
            responses = [await stage.send() for _ in range(3)]
            for response in responses:
                await response.body.close()
            await stage.server.ended[2].wait()
            for response in [await stage.send() for _ in range(3)]:
                await response.body.close()
            assert stage.server.used == [2, 2, 1, 1]

    run(scene)


def test_connections_that_were_idle_for_long_are_closed_without_being_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "IDLE_S", 0.0)

    async def scene() -> None:
        async with staged() as stage:
            for number in range(2):  # and again, after none was left
                stage.server.does(answer(b"abc"))
                await stage.fetch()
                await stage.server.ended[number].wait()

    run(scene)


def test_a_client_that_is_closed_closes_what_lies_idle() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.server.does(*[answer(b"abc")] * 2)
            await asyncio.gather(stage.fetch(), stage.fetch(upstream=OTHER))
            assert not any(ended.is_set() for ended in stage.server.ended)
            await stage.client.close()
            for ended in stage.server.ended:
                await ended.wait()

    run(scene)


def test_idle_connections_are_bounded_for_all_destinations_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile upstream redirects to as many hosts as it likes."""
    monkeypatch.setattr(client_module, "MAX_ALL_IDLE", 3)

    class IdleWire:
        is_quiet = True

        def __init__(self) -> None:
            self.closed = 0

        def close(self) -> None:
            self.closed += 1

    async def scene() -> None:
        clock = FakeClock()
        transport = SocketTransport({}, clock, Counted())
        wires = [IdleWire() for _ in range(5)]
        for number, wire in enumerate(wires):
            clock.pass_s(1)
            transport.keep(cast("Any", f"host {number % 4}"), cast("Any", wire))
        assert [wire.closed for wire in wires] == [1, 1, 0, 0, 0], "the longest idle ones"
        for place in ("host 2", "host 3", "host 0"):  # of a destination whose connections are all in use nothing stays
            assert transport._take(cast("Any", place)) is not None
        for number in range(4):
            transport.keep(cast("Any", f"other {number}"), cast("Any", IdleWire()))
        assert sum(map(len, transport._idle.values())) == 3
        await transport.close()

    asyncio.run(scene())
