"""How much the kernel takes for a client that does not read."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hubferry.core.pace import PROVEN_BYTES, LargePieces
from hubferry.server.bodies import ZERO_COPY_SEND, ClientGone
from hubferry.server.file_send import FileSend, SentBytes
from hubferry.server.kernel_memory import KERNEL_BYTES, SLOW_S, KernelBuffer
from hubferry.server.run import bind
from tests.support.processes import free_port

SMALL_WINDOW = 4096
SPARE = 512 * 1024  # what is on its way to the client and not unsent, and what one call may take at once


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW)
        yield client


@pytest.fixture
def connection(client: socket.socket) -> Iterator[socket.socket]:
    """A connection that a gateway accepted; its client takes nothing by itself."""
    port = free_port()
    with bind(f"127.0.0.1:{port}") as listener:
        client.connect(("127.0.0.1", port))
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            accepted.setblocking(False)
            yield accepted


def taken_bytes(connection: socket.socket) -> int:
    """How much the kernel takes now."""
    taken = 0
    try:
        while True:
            taken += connection.send(bytes(64 * 1024))
    except BlockingIOError:
        return taken


def test_little_is_taken_for_a_client_until_it_has_read(connection: socket.socket) -> None:
    buffer = KernelBuffer(LargePieces(1), connection)
    buffer.took(PROVEN_BYTES - 1)
    assert taken_bytes(connection) < KERNEL_BYTES + SPARE
    buffer.took(1)
    assert taken_bytes(connection) > 2 * (KERNEL_BYTES + SPARE)
    buffer.give_back()
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == KERNEL_BYTES


def is_free(large: LargePieces) -> bool:
    return large.is_free


def test_only_so_many_have_a_large_buffer_and_who_is_slow_has_it_no_longer(connection: socket.socket) -> None:
    large = LargePieces(1)
    buffers = [KernelBuffer(large, connection) for _ in range(2)]
    for buffer in buffers:
        buffer.took(PROVEN_BYTES)
    assert not is_free(large)
    buffers[1].give_back()
    assert not is_free(large), "that one had none"
    buffers[0].waited(time.monotonic())
    assert not is_free(large)
    buffers[0].waited(time.monotonic() - SLOW_S)
    assert is_free(large)
    buffers[0].took(PROVEN_BYTES - 1)
    assert is_free(large), "it begins anew"
    buffers[0].took(1)
    assert not is_free(large)
    buffers[0].give_back()
    buffers[0].give_back()
    assert is_free(large)


class FakeTransport:
    """The transport of uvicorn's connection, as far as FileSend needs it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.is_closed = False

    def get_extra_info(self, _: str) -> socket.socket:
        return self.connection

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        """It has no buffer."""

    def is_closing(self) -> bool:
        return self.is_closed


class FakeCycle:
    """A request of uvicorn whose answer is sent."""

    chunked_encoding = False
    disconnected = False

    def __init__(self, connection: socket.socket, size_bytes: int) -> None:
        self.transport = FakeTransport(connection)
        self.expected_content_length = size_bytes


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_file_is_sent_with_a_large_buffer_that_is_given_back(
    tmp_path: Path, connection: socket.socket, client: socket.socket, *, is_gone: bool
) -> None:
    """Also when the client is gone before the end."""
    file = tmp_path / "file"
    file.write_bytes(bytes(2 * PROVEN_BYTES))
    large = LargePieces(1)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        cycle = FakeCycle(connection, 2 * PROVEN_BYTES)
        send = FileSend(cast("RequestResponseCycle", cycle), loop, SentBytes(), large)
        client.setblocking(False)
        reading = loop.create_task(read(client, PROVEN_BYTES if is_gone else 2 * PROVEN_BYTES))
        with file.open("rb") as opened, contextlib.suppress(ClientGone):
            await send({"type": ZERO_COPY_SEND, "file": opened.fileno(), "offset": 0, "count": PROVEN_BYTES + 1})
            assert not large.is_free
            await send({"type": ZERO_COPY_SEND, "file": opened.fileno(), "offset": 0, "count": PROVEN_BYTES - 1})
            assert not is_gone
        cycle.transport.is_closed = is_gone
        send.close()
        await reading

    async def read(client: socket.socket, size_bytes: int) -> None:
        while size_bytes > 0:
            size_bytes -= len(await asyncio.get_running_loop().sock_recv(client, size_bytes))
        if is_gone:
            client.close()

    asyncio.run(scene())
    assert large.is_free
