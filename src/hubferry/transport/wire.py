"""A connected socket, plain or under TLS, that is read only when somebody wants its bytes.

Reading on demand is what bounds memory: nothing is buffered for a reader that does not read. The two large buffers for
TLS are shared by all connections of the event loop, because they are full only between two awaits. Decrypting in pieces
of 512 KiB costs what nginx costs; smaller pieces cost a third more (docs/dependencies.md).
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import TypeVar, cast

from hubferry.core.arrival_rate import ArrivalRate

BUFFER_BYTES = 512 * 1024
SLICE_BYTES = 64 * 1024
PIECE_BYTES = 2**20  # the most that is received at once; what goes through the buffers comes in pieces of their size
PIECES_BYTES = 64 * 2**20  # of all bodies together, each of which holds one piece

A = TypeVar("A")
T = TypeVar("T", bytes, int)


class Trickled(TimeoutError):
    """So little came in so long a wait that the other side is as good as gone (core/arrival_rate.py)."""


class Buffers:
    """What the connections of one event loop share: a buffer for received bytes, and one for decrypted bytes."""

    def __init__(self) -> None:
        self.bodies = 0  # how many are being received
        self.received = memoryview(bytearray(BUFFER_BYTES))
        self.plain = memoryview(bytearray(BUFFER_BYTES))

    @property
    def piece_bytes(self) -> int:
        """How many bytes to receive at once, so that hundreds of bodies together hold no more than PIECES_BYTES."""
        return max(min(PIECES_BYTES // max(self.bodies, 1), PIECE_BYTES), SLICE_BYTES)


class Wire:
    """One connection. Not for concurrent use: one task at a time sends or receives."""

    def __init__(self, sock: socket.socket, buffers: Buffers) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._buffers = buffers
        self._loop = asyncio.get_running_loop()
        self.patience_s: float | None = None  # how long to wait for the next bytes; None: the caller limits that
        self.arrival_rate: ArrivalRate | None = None  # judges whether a body is too slow; None: any rate is allowed
        self._tls: ssl.SSLObject | None = None
        self.ended_cleanly = False  # under TLS: the other side said that it is done, so that nothing was cut off
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Perform the TLS handshake as a client of `host`. Raises ssl.SSLError, OSError."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            else:
                await self._flush()
                return

    async def send(self, data: bytes) -> None:
        """Send all of `data`, encrypted under TLS. Raises OSError."""
        if self._tls is None:
            await self._loop.sock_sendall(self._socket, data)
            return
        self._tls.write(data)  # a memory BIO takes any amount
        await self._flush()

    async def receive(self, at_most_bytes: int = BUFFER_BYTES) -> bytes:
        """Return what has arrived, at least one byte; empty at the end.

        Without TLS it is at most `at_most_bytes`, under TLS at most BUFFER_BYTES. Raises OSError (TimeoutError),
        ssl.SSLError.
        """
        if self._tls is None:
            # received straight into memory of its own: a copy would be made while the interpreter lock is held
            return await self._received(self._socket.recv, min(at_most_bytes, self._buffers.piece_bytes))
        size = self._decrypt(self._tls, 0)
        while not size:
            if self.ended_cleanly or self._incoming.eof:
                return b""
            if self._outgoing.pending:
                await self._flush()
            received = await self._receive_raw()
            if not received:
                self._incoming.write_eof()
            # a memory BIO never shrinks: fed in slices it stays small for as long as the connection lives
            for start in range(0, received, SLICE_BYTES):
                self._incoming.write(self._buffers.received[start : min(start + SLICE_BYTES, received)])
                size = self._decrypt(self._tls, size)
        return bytes(self._buffers.plain[:size])

    def _decrypt(self, tls: ssl.SSLObject, total: int) -> int:
        """Decrypt what was received to behind the first `total` bytes of the buffer; return how many it holds then."""
        plain = self._buffers.plain
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLEOFError):
            while total < BUFFER_BYTES and not self.ended_cleanly:
                # typeshed knows neither that a buffer may be a memoryview nor that a size is returned then
                size = cast("int", tls.read(BUFFER_BYTES - total, cast("bytearray", plain[total:])))
                if not size:
                    self.ended_cleanly = True
                    break
                total += size
        return total

    async def _feed(self) -> None:
        """Receive, and pass the bytes to TLS for the handshake."""
        size = await self._receive_raw()
        if size:
            self._incoming.write(self._buffers.received[:size])
        else:
            self._incoming.write_eof()

    async def _receive_raw(self) -> int:
        """Receive into `buffers.received`, and return how many bytes came; they are valid until the next await."""
        return await self._received(self._socket.recv_into, self._buffers.received[: self._buffers.piece_bytes])

    def count_body(self, change: int) -> None:
        """Note that a body begins (1) or ends (-1) to be received on this connection."""
        self._buffers.bodies += change

    async def _received(self, receive: Callable[[A], T], arg: A) -> T:
        """Call `receive` until it need not wait, and return what it gives: bytes, or how many. Raises Trickled."""
        waited_s = 0.0
        while True:
            try:
                got = receive(arg)
            except BlockingIOError:
                waited_s += await self._readable()
                continue
            if self.arrival_rate is not None and self.arrival_rate.is_stalled(_size_of(got), waited_s):
                raise Trickled
            return got

    async def _readable(self) -> float:
        """Wait until there is something to receive, and return how many seconds that took.

        Raises TimeoutError after `patience_s`.
        """
        began_s = time.monotonic()  # the loop's own time would also count what this round of the loop did before
        ready = self._loop.create_future()
        timer = None if self.patience_s is None else self._loop.call_later(self.patience_s, _time_out, ready)
        # the socket, not its number: once it is closed, the number is -1 or another socket's, and would stay watched
        self._loop.add_reader(self._socket, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(self._socket)
            if timer is not None:
                timer.cancel()
        return time.monotonic() - began_s

    async def _flush(self) -> None:
        """Send the encrypted bytes that TLS has ready."""
        if data := self._outgoing.read():
            await self._loop.sock_sendall(self._socket, data)

    @property
    def has_proper_ends(self) -> bool:
        """Whether an end can be told from a cut: only TLS has a close notification."""
        return self._tls is not None

    @property
    def is_quiet(self) -> bool:
        """Whether an idle connection is still usable: it is open, and nothing came unasked."""
        has_more = self._incoming.pending or self._outgoing.pending or (self._tls and self._tls.pending())
        if self.ended_cleanly or has_more:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # an end, or bytes that nobody asked for (under TLS also a ticket: a new connection is made then)

    def close(self) -> None:
        """Close the socket at once. May be called again."""
        self._socket.close()


def _size_of(got: bytes | int) -> int:
    return got if isinstance(got, int) else len(got)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _time_out(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_exception(TimeoutError())
