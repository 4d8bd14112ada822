"""Sends parts of files to a client without reading them: ASGI's extension "Zero Copy Send" over uvicorn.

Between two cores of one machine that is what nginx does (sendfile), at half the CPU of reading and writing; and
nothing is held in memory for a client that does not read. Only over plain TCP: TLS has to read what it encrypts.
Bytes of the transport and bytes of a file go to the same socket, so each waits until the other's are gone.
While large parts follow one another the socket is corked: otherwise every 64 KiB that the kernel splices is a packet
that wakes the client, at a third of the throughput.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hubferry.server.bodies import ZERO_COPY_SEND, ClientGone, CutShort, Message, Receive, Send

Asgi = Callable[[Any, Receive, Send], Awaitable[None]]

EXTENSIONS: dict[str, dict[str, object]] = {ZERO_COPY_SEND: {}}
CORKED_BYTES = 256 * 1024  # less comes from a file that grows slowly or goes to a slow client: it is not held back
# Linux alone has it; what is held back is sent after 0.2 s at the latest
_CORK: int | None = getattr(socket, "TCP_CORK", None)
GONE = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


@dataclass(slots=True)
class Given:
    """What a client's connection was given of bodies so far, and whether it has no room for the next part of a file."""

    size_bytes: int = 0
    is_blocked: bool = False


class FileSend:
    """The `send` of one request; what is no part of a file is the cycle's own business."""

    def __init__(self, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop, given: Given) -> None:
        self._cycle = cycle
        self._loop = loop
        self._given = given
        self._socket = -1
        self._is_corked = False

    async def __call__(self, message: Message) -> None:
        """Send a message, all of it. Raises ClientGone, CutShort."""
        if message["type"] != ZERO_COPY_SEND:
            await self._cycle.send(message)  # type: ignore[arg-type]
            self._given.size_bytes += len(message.get("body", b""))
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
        # the loop refuses to watch a descriptor that a transport uses, but not another one of the same socket
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
            self._given.size_bytes += sent

    def _cork(self, is_corked: bool) -> None:
        if is_corked == self._is_corked or _CORK is None or self._cycle.transport.is_closing():
            return
        with contextlib.suppress(OSError):  # the client is gone: sending will say so
            self._cycle.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _CORK, int(is_corked))
            self._is_corked = is_corked

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(self._socket, _wake, ready)
        self._given.is_blocked = True
        try:
            await ready
        finally:
            self._given.is_blocked = False
            self._loop.remove_writer(self._socket)

    def close(self) -> None:
        """Give the socket back; may be repeated."""
        used, self._socket = self._socket, -1
        if used >= 0:
            self._cork(False)
            os.close(used)
            if not self._cycle.transport.is_closing():
                self._cycle.transport.set_write_buffer_limits()


def with_file_send(
    cycle: RequestResponseCycle, app: Asgi, loop: asyncio.AbstractEventLoop, given: Given, *, is_plain: bool
) -> Asgi:
    """The application with a `send` that counts what is given, for one request; and the extension, if `is_plain`."""

    async def extended(scope: Any, receive: Receive, _: Send) -> None:
        if is_plain:
            scope["extensions"] = EXTENSIONS
        send = FileSend(cycle, loop, given)
        try:
            await app(scope, receive, send)
        finally:
            send.close()  # before the transport is, or the client would not see the end

    return extended


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
