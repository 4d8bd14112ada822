"""Send parts of files to a client without reading them: ASGI's extension "Zero Copy Send" over uvicorn.

It uses sendfile, as nginx does. Between two cores of one machine that takes half the CPU time of reading and writing,
and nothing is held in memory for a client that does not read. It works over plain TCP only, because TLS has to read the
bytes that it encrypts. The transport and sendfile write to the same socket, so each waits until the bytes of the other
are gone.

While large parts follow one another the socket is corked (TCP_CORK). Otherwise every 64 KiB that the kernel splices
becomes a packet that wakes the client, which reduces the throughput to a third.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hubferry.core.pace import LargePieces
from hubferry.server.bodies import ZERO_COPY_SEND, ClientGone, CutShort, Message, Receive, Send
from hubferry.server.kernel_memory import KernelBuffer

Asgi = Callable[[Any, Receive, Send], Awaitable[None]]

EXTENSIONS: dict[str, dict[str, object]] = {ZERO_COPY_SEND: {}}
CORKED_BYTES = 256 * 1024  # a smaller part is for a slow client or from a slowly growing file: it is sent at once
# only Linux has it; the kernel sends what is held back after 0.2 s at the latest
_CORK: int | None = getattr(socket, "TCP_CORK", None)
GONE = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


@dataclass(slots=True)
class SentBytes:
    """How many bytes of bodies were handed to a client's connection so far; of answers sent again, also their heads.

    `is_blocked` is true while the socket has no room for the next part of a file.
    """

    size_bytes: int = 0
    is_blocked: bool = False


class FileSend:
    """The ASGI `send` of one request. Messages that are no part of a file are passed to uvicorn's own `send`."""

    def __init__(
        self, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop, sent: SentBytes, large: LargePieces
    ) -> None:
        self._cycle = cycle
        self._buffer = KernelBuffer(large, cycle.transport.get_extra_info("socket"))
        self._loop = loop
        self._sent = sent
        self._socket = -1
        self._is_corked = False

    async def __call__(self, message: Message) -> None:
        """Send one message completely.

        Raises ClientGone when the client hung up, and CutShort when the file or the socket cannot be used.
        """
        if message["type"] != ZERO_COPY_SEND:
            await self._cycle.send(message)  # type: ignore[arg-type]
            self._sent.size_bytes += len(message.get("body", b""))
            return
        cycle, count = self._cycle, message["count"]
        if cycle.chunked_encoding or count > cycle.expected_content_length:
            raise RuntimeError("parts of files are for bodies with a length, and fit in it")
        if self._socket < 0:
            self._open(cycle)
        while cycle.transport.get_write_buffer_size():
            await cycle.flow.drain()
            await asyncio.sleep(0)
        self._cork(count >= CORKED_BYTES)
        await self._send_file(message["file"], message["offset"], count)
        cycle.expected_content_length -= count

    def _open(self, cycle: RequestResponseCycle) -> None:
        # `drain` then waits until the transport has nothing left to send
        cycle.transport.set_write_buffer_limits(0)
        # the event loop refuses to watch a descriptor that a transport uses, but accepts a duplicate of it
        try:
            self._socket = os.dup(cycle.transport.get_extra_info("socket").fileno())
        except OSError as error:
            if cycle.transport.is_closing():
                raise ClientGone("the client hung up") from None
            raise CutShort(f"no descriptor for a client: {error.strerror}") from None

    async def _send_file(self, descriptor: int, offset: int, count: int) -> None:
        while count:
            if self._cycle.disconnected or self._cycle.transport.is_closing():
                raise ClientGone("the client hung up")
            try:
                sent = os.sendfile(self._socket, descriptor, offset, count)
            except BlockingIOError:
                await self._writable()
                continue
            except GONE as error:
                raise ClientGone(error.strerror) from None
            except OSError as error:
                raise CutShort(f"the cache cannot be read: {error.strerror}") from None
            if not sent:
                raise CutShort("a file of the cache is shorter than it was")
            offset += sent
            count -= sent
            self._sent.size_bytes += sent
            self._buffer.took(sent)

    def _cork(self, is_corked: bool) -> None:
        if is_corked == self._is_corked or _CORK is None or self._cycle.transport.is_closing():
            return
        with contextlib.suppress(OSError):  # the client is gone: the next send will notice
            self._cycle.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _CORK, int(is_corked))
            self._is_corked = is_corked

    async def _writable(self) -> None:
        ready, since_s = self._loop.create_future(), time.monotonic()
        self._loop.add_writer(self._socket, _wake, ready)
        self._sent.is_blocked = True
        try:
            await ready
            self._buffer.waited(since_s)
        finally:
            self._sent.is_blocked = False
            self._loop.remove_writer(self._socket)

    def close(self) -> None:
        """Return the socket to the transport: uncork it and close the duplicate. May be called more than once."""
        used, self._socket = self._socket, -1
        if used >= 0:
            self._cork(False)
            os.close(used)
            self._buffer.give_back()
            if not self._cycle.transport.is_closing():
                self._cycle.transport.set_write_buffer_limits()


def with_file_send(
    cycle: RequestResponseCycle,
    app: Asgi,
    loop: asyncio.AbstractEventLoop,
    sent: SentBytes,
    large: LargePieces,
    *,
    is_plain: bool,
) -> Asgi:
    """Return the application for one request, with a `send` that can send parts of files and counts into `sent`.

    The application is offered the extension only if `is_plain`, that is, without TLS. `large` are the large buffers of
    the kernel that clients share.
    """

    async def extended(scope: Any, receive: Receive, _: Send) -> None:
        if is_plain:
            scope["extensions"] = EXTENSIONS
        send = FileSend(cycle, loop, sent, large)
        try:
            await app(scope, receive, send)
        finally:
            send.close()  # before the transport is closed, or the client would not see the end of the connection

    return extended


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
