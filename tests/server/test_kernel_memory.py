"""How much the kernel takes for a client that does not read."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hubferry.core.pace import PROVEN_BYTES
from hubferry.server.kernel_memory import KERNEL_BYTES, MOST_LARGE, KernelMemory
from hubferry.server.run import bind
from tests.support.processes import free_port

SMALL_WINDOW = 4096
SPARE = 512 * 1024  # what is on its way to the client and not unsent, and what one call may take at once


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    """A connection that a gateway accepted; its client takes nothing."""
    with ExitStack() as stack:
        port = free_port()
        listener = stack.enter_context(bind(f"127.0.0.1:{port}"))
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW)
        client.connect(("127.0.0.1", port))
        listener.setblocking(True)
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        yield stack.enter_context(accepted)


def taken_bytes(connection: socket.socket) -> int:
    """How much the kernel takes now."""
    taken = 0
    try:
        while True:
            taken += connection.send(bytes(64 * 1024))
    except BlockingIOError:
        return taken


def test_little_is_taken_for_a_client_until_it_has_read(connection: socket.socket) -> None:
    memory = KernelMemory()
    assert not memory.enlarge(connection, PROVEN_BYTES - 1)
    assert taken_bytes(connection) < KERNEL_BYTES + SPARE
    assert memory.enlarge(connection, PROVEN_BYTES)
    assert taken_bytes(connection) > 2 * (KERNEL_BYTES + SPARE)
    memory.give_back(connection)
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == KERNEL_BYTES


def test_only_so_many_have_a_large_buffer(connection: socket.socket) -> None:
    memory = KernelMemory()
    assert all(memory.enlarge(connection, PROVEN_BYTES) for _ in range(MOST_LARGE))
    assert not memory.enlarge(connection, PROVEN_BYTES)
    memory.give_back(None)
    assert memory.enlarge(connection, PROVEN_BYTES)
