"""Make a TCP connection to whichever of several addresses answers first (RFC 8305, "happy eyeballs").

An address that does not answer delays the others by STAGGER_S and no more: the next one is dialled while it goes on.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

STAGGER_S = 0.5  # longer than a round trip round the world, so that a healthy address is not dialled in vain

Connect = Callable[[str, int], Awaitable[socket.socket]]


async def connect_tcp(address: str, port: int) -> socket.socket:
    """Return a connected, non-blocking socket. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except OSError as error:
        sock.close()
        # the loop's own text says "Connect call failed" and an address, which must not be shown when it is a proxy's
        raise OSError(error.errno, os.strerror(error.errno)) if error.errno else error from None
    except BaseException:
        sock.close()
        raise
    return sock


async def dial(
    addresses: Sequence[str], port: int, *, connect: Connect = connect_tcp, stagger_s: float = STAGGER_S
) -> tuple[socket.socket, str]:
    """Return the first connection that is made, and its address; the others are closed.

    Raises the OSError of the first address that failed when all have failed. The caller limits the whole in time.
    """
    waiting = list(addresses)
    running: dict[asyncio.Task[socket.socket], str] = {}
    failure: OSError | None = None
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.ensure_future(_awaited(connect, address, port))] = address
            timeout_s = stagger_s if waiting else None
            done, _ = await asyncio.wait(running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                address = running.pop(task)
                try:
                    return task.result(), address
                except OSError as error:
                    failure = failure or error
    finally:
        for task in running:
            task.add_done_callback(_discard)  # not awaited: a cancellation here could lose the connection that won
            task.cancel()
    raise failure or OSError("the name has no address")


async def _awaited(connect: Connect, address: str, port: int) -> socket.socket:
    """Turn any awaitable into a coroutine, which a task needs."""
    return await connect(address, port)


def _discard(task: asyncio.Task[socket.socket]) -> None:
    """Close a connection that was made too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
