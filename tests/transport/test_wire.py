"""A connected socket, read on demand: pieces, ends, limits of patience, and TLS, which tells an end from a cut."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any, cast

import pytest

from hubferry.core.arrival_rate import ArrivalRate
from hubferry.transport.wire import BUFFER_BYTES, PIECE_BYTES, PIECES_BYTES, SLICE_BYTES, Buffers, Trickled, Wire
from tests.support.tls import Authority
from tests.support.waiting import turns

LIMIT_S = 30.0  # what a hanging test takes; nothing here is measured against it
HOST = "registry.test"


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scene()

    asyncio.run(limited())


@contextmanager
def connected(buffers: Buffers | None = None) -> Iterator[tuple[Wire, socket.socket]]:
    """A wire, and the other side of it."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with closing(theirs), closing(Wire(ours, buffers or Buffers())) as wire:
        yield wire, theirs


async def begun(receiving: asyncio.Task[bytes]) -> None:
    """Let a task come to where it waits."""
    await turns(3)
    assert not receiving.done()


async def received(wire: Wire, size_bytes: int) -> bytes:
    """As many bytes as are expected, or fewer at the end."""
    data = bytearray()
    while len(data) < size_bytes and (piece := await wire.receive()):
        assert len(piece) <= BUFFER_BYTES
        data += piece
    return bytes(data)


def test_what_has_arrived_is_given_and_no_more_than_wanted() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            peer.send(b"abcdef")
            assert [await wire.receive(size) for size in (2, 1, 100)] == [b"ab", b"c", b"def"]

    run(scene)


def test_who_reads_waits_for_the_next_bytes_and_the_end_is_empty() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            receiving = asyncio.create_task(wire.receive())
            await begun(receiving)
            peer.send(b"abc")
            assert await receiving == b"abc"
            peer.close()
            assert [await wire.receive(), await wire.receive()] == [b"", b""]

    run(scene)


def test_nothing_is_taken_from_the_socket_before_somebody_reads() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            with contextlib.suppress(BlockingIOError):
                while peer.send(b"x" * 65536):
                    pass
            await turns(3)
            with pytest.raises(BlockingIOError):
                peer.send(b"x")
            assert await wire.receive(1000) == b"x" * 1000

    run(scene)


def test_all_of_what_is_sent_arrives_whatever_fits_into_the_socket() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            data = bytes(range(256)) * 16384
            sending = asyncio.create_task(wire.send(data))
            got = bytearray()
            while len(got) < len(data):
                got += await asyncio.get_running_loop().sock_recv(peer, 65536)
            await sending
            assert bytes(got) == data

    run(scene)


def test_who_sends_to_nobody_is_told() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            peer.close()
            with pytest.raises(OSError, match=r"pipe|reset"):
                await wire.send(b"x")

    run(scene)


# how many bodies are received; how many bytes of one at once
PIECES = {
    0: PIECE_BYTES,
    1: PIECE_BYTES,
    PIECES_BYTES // PIECE_BYTES: PIECE_BYTES,
    2 * PIECES_BYTES // PIECE_BYTES: PIECE_BYTES // 2,
    PIECES_BYTES // SLICE_BYTES: SLICE_BYTES,
    10 * PIECES_BYTES // SLICE_BYTES: SLICE_BYTES,
}


@pytest.mark.parametrize(("bodies", "piece_bytes"), PIECES.items())
def test_the_more_bodies_are_received_the_less_each_may_hold(bodies: int, piece_bytes: int) -> None:
    async def scene() -> None:
        buffers = Buffers()
        with connected(buffers) as (wire, peer), connected(buffers) as (other, _):
            for _ in range(bodies):
                other.count_body(1)
            assert buffers.piece_bytes == piece_bytes
            sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(peer, b"x" * (PIECE_BYTES + 1)))
            for _ in range(2):
                assert len(await wire.receive(PIECE_BYTES)) <= piece_bytes
            sending.cancel()
            for _ in range(bodies):
                other.count_body(-1)
            assert buffers.piece_bytes == PIECE_BYTES

    run(scene)


def test_patience_ends_in_a_timeout_and_the_wire_can_be_read_afterwards() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            wire.patience_s = 0.0
            with pytest.raises(TimeoutError) as raised:
                await wire.receive()
            assert not isinstance(raised.value, Trickled)
            wire.patience_s = None
            receiving = asyncio.create_task(wire.receive())
            await begun(receiving)
            peer.send(b"abc")
            assert await receiving == b"abc"

    run(scene)


def test_patience_is_not_needed_for_what_is_there() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            wire.patience_s = 0.0
            peer.send(b"abc")
            assert await wire.receive() == b"abc"

    run(scene)


class Judge:
    """Stands for core.arrival_rate: notes what it is told, and says what it is to say."""

    def __init__(self, *, is_stalled: bool) -> None:
        self._is_stalled = is_stalled
        self.told: list[tuple[int, bool]] = []

    def is_stalled(self, size_bytes: int, waited_s: float) -> bool:
        self.told.append((size_bytes, waited_s > 0))
        return self._is_stalled


def test_what_comes_is_judged_with_the_wait_for_it() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            judge = Judge(is_stalled=False)
            wire.arrival_rate = cast("ArrivalRate", judge)
            peer.send(b"abc")
            assert await wire.receive() == b"abc"
            receiving = asyncio.create_task(wire.receive())
            await begun(receiving)
            peer.send(b"de")
            assert await receiving == b"de"
            assert judge.told == [(3, False), (2, True)]

    run(scene)


def test_what_comes_too_slowly_is_as_good_as_nothing() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            wire.arrival_rate = cast("ArrivalRate", Judge(is_stalled=True))
            peer.send(b"abc")
            with pytest.raises(Trickled):
                await wire.receive()

    run(scene)


def test_who_stops_reading_leaves_the_wire_as_it_was() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            for _ in range(2):
                receiving = asyncio.create_task(wire.receive())
                await begun(receiving)
                receiving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await receiving
            assert wire.is_quiet
            peer.send(b"abc")
            assert await wire.receive() == b"abc"

    run(scene)


def test_a_socket_is_watched_only_while_somebody_waits_for_it() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        with closing(peer), closing(Wire(ours, Buffers())) as wire:
            receiving = asyncio.create_task(wire.receive())
            await begun(receiving)
            peer.send(b"abc")
            assert await receiving == b"abc"
            assert not loop.remove_reader(ours)
            wire.patience_s = 0.0
            with pytest.raises(TimeoutError):
                await wire.receive()
            assert not loop.remove_reader(ours)
            wire.patience_s = None
            receiving = asyncio.create_task(wire.receive())
            await begun(receiving)
            wire.close()  # its number may be another socket's now
            receiving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await receiving
            with pytest.raises(ValueError, match="Invalid file descriptor"):  # the loop knows nothing of it
                loop.remove_reader(ours)

    run(scene)


async def nothing(_wire: Wire, _peer: socket.socket) -> None:
    """Nothing happens to the connection."""


async def speaks(_wire: Wire, peer: socket.socket) -> None:
    peer.send(b"x")


async def ends(_wire: Wire, peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_WR)


async def is_closed(wire: Wire, _peer: socket.socket) -> None:
    wire.close()


async def spoke_and_was_heard(wire: Wire, peer: socket.socket) -> None:
    peer.send(b"x")
    await wire.receive()


Happens = Callable[[Wire, socket.socket], Awaitable[None]]
QUIET: list[tuple[Happens, bool]] = [
    (nothing, True),
    (spoke_and_was_heard, True),
    (speaks, False),
    (ends, False),
    (is_closed, False),
]


@pytest.mark.parametrize(("happens", "is_quiet"), QUIET)
def test_an_idle_wire_is_usable_while_it_is_open_and_nothing_came_unasked(happens: Happens, *, is_quiet: bool) -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            await happens(wire, peer)
            assert [wire.is_quiet, wire.is_quiet] == [is_quiet, is_quiet], "looking changes nothing"
            if happens is speaks:
                assert await wire.receive() == b"x"

    run(scene)


def test_without_tls_an_end_cannot_be_told_from_a_cut() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            assert not wire.has_proper_ends
            peer.close()
            assert await wire.receive() == b""
            assert not wire.ended_cleanly

    run(scene)


def test_a_wire_may_be_closed_twice_and_is_closed_for_the_other_side_at_once() -> None:
    async def scene() -> None:
        with connected() as (wire, peer):
            wire.close()
            wire.close()
            assert peer.recv(1) == b""
            with pytest.raises(OSError, match="Bad file descriptor"):
                await wire.receive()

    run(scene)


@pytest.fixture(scope="module")
def own_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server_context(own_authority: Authority) -> ssl.SSLContext:
    context = own_authority.issue([HOST]).server_context()
    context.num_tickets = 0  # type: ignore[misc, unused-ignore]  # they come after the handshake, when they come
    return context


@pytest.fixture(scope="module")
def client_context(own_authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=own_authority.ca_file)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve, server: ssl.SSLContext | None, buffers: Buffers | None = None) -> AsyncIterator[Wire]:
    """A wire to a server that does `serve` for it; both are closed in the end."""
    serving: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)
        writer.transport.abort()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server)
    async with listening:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, listening.sockets[0].getsockname())
        with closing(Wire(sock, buffers or Buffers())) as wire:
            yield wire
        for task in serving:
            if task is not None:
                await task


DATA = bytes(range(256)) * 8192  # 2 MiB, more than any buffer holds


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def test_under_tls_everything_arrives_as_it_was_sent(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        async with served(echo, server_context) as wire:
            await wire.start_tls(client_context, HOST)
            assert wire.has_proper_ends
            sending = asyncio.create_task(wire.send(DATA))
            assert await received(wire, len(DATA)) == DATA
            await sending
            assert wire.is_quiet
            await wire.send(b"once more")
            assert await received(wire, 9) == b"once more"

    run(scene)


def test_connections_that_share_their_buffers_do_not_mix_their_bytes(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        buffers = Buffers()

        async def fetch(first: int) -> None:
            content = b"".join(number.to_bytes(4, "big") for number in range(first, first + 500_000))

            async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(content)
                await writer.drain()

            async with served(serve, server_context, buffers) as wire:
                await wire.start_tls(client_context, HOST)
                pieces: list[bytes] = []
                while sum(map(len, pieces)) < len(content) and (piece := await wire.receive()):
                    pieces.append(piece)
                assert b"".join(pieces) == content, "a piece stays as it was when the next ones come"

        await asyncio.gather(*(fetch(number * 10**6) for number in range(3)))

    run(scene)


@pytest.mark.parametrize("is_clean", [True, False], ids=["closed", "cut"])
def test_under_tls_an_end_is_told_from_a_cut(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, *, is_clean: bool
) -> None:
    async def scene() -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"abc")
            await writer.drain()
            if is_clean:
                writer.close()
                await writer.wait_closed()

        async with served(serve, server_context) as wire:
            await wire.start_tls(client_context, HOST)
            assert await received(wire, 100) == b"abc"
            assert [await wire.receive(), await wire.receive()] == [b"", b""]
            assert wire.ended_cleanly == is_clean
            if not is_clean:
                assert not wire.is_quiet

    run(scene)


async def looks_quiet(wire: Wire) -> bool:
    return wire.is_quiet


def test_what_comes_unasked_under_tls_makes_a_wire_unusable(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        may_end = asyncio.Event()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"abc")
            await writer.drain()
            await may_end.wait()

        async with served(serve, server_context) as wire:
            await wire.start_tls(client_context, HOST)
            while await looks_quiet(wire):  # noqa: ASYNC110 - the bytes are on their way
                await asyncio.sleep(0)
            assert await wire.receive() == b"abc"
            assert await looks_quiet(wire)
            may_end.set()

    run(scene)


def test_a_server_that_is_not_the_host_is_refused(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        async with served(echo, server_context) as wire:
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                await wire.start_tls(client_context, "other.test")

    run(scene)


def test_a_server_of_an_unknown_authority_is_refused(server_context: ssl.SSLContext) -> None:
    async def scene() -> None:
        async with served(echo, server_context) as wire:
            with pytest.raises(ssl.SSLCertVerificationError):
                await wire.start_tls(ssl.create_default_context(), HOST)

    run(scene)


async def hangs_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(10)


async def speaks_plainly(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("serve", [hangs_up, speaks_plainly])
def test_a_server_that_speaks_no_tls_is_an_error_and_no_endless_wait(
    serve: Serve, client_context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        async with served(serve, None) as wire:
            with pytest.raises(OSError):  # noqa: PT011 - ssl.SSLError is one; which depends on what comes first
                await wire.start_tls(client_context, HOST)

    run(scene)
