"""A small threaded HTTP/1.1 server with control over every byte that leaves.

A handler turns a `Received` into a `Reply`; the reply also says *how* it is sent: cut, stalled, with a
flipped byte, at a rate, with a wrong length. Every exchange is kept in a `Recorder` that several servers may
share. Libraries refuse to misbehave like this, which is why requests are read and replies written by hand.
Not here: what is answered (hub.py, sink.py) and which faults there are (faults.py).
"""

from __future__ import annotations

import contextlib
import http
import select
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, BinaryIO, Self

from tests.support.exchange import Exchange, Received

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.exchange import Ending, Header, Recorder, Reply, State
    from tests.support.tls import Certificate

__all__ = ["WireServer"]

_MAX_HEAD = 256 * 1024
_POLL_S = 0.02
_TLS_HANDSHAKE = b"\x16"
_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time


class _Disconnected(Exception):
    """The peer closed the connection or the server is stopping."""


class WireServer:
    """Listens on loopback; one thread per connection, all of them joined by `close()`.

    `connections` counts accepted connections, also those that never sent a request; `malformed` holds the
    heads that were no HTTP request.
    """

    def __init__(
        self,
        role: str,
        handler: Callable[[Received], Reply],
        recorder: Recorder,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: Certificate | None = None,
    ) -> None:
        self.role = role
        self.recorder = recorder
        self.connections = 0
        self.tls_failures = 0
        self.malformed: list[bytes] = []
        self._handler = handler
        self._context = certificate.server_context() if certificate else None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=1024)
        self.host, self.port = host, int(self._listener.getsockname()[1])
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._stopping = threading.Event()
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._acceptor = threading.Thread(target=self._accept, name=f"wire-{role}-accept", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def release_stalls(self) -> None:
        """Let every stalled reply, present and future, go on."""
        self._released.set()

    def wait_left(self, timeout_s: float = 10) -> None:
        """Wait until everybody who had connected has left: then all that they asked for is recorded, and over.

        For clients that have ended: one that lives may keep its connections. Connections are accepted in the order in
        which they were made, so that one of our own, made now, is answered after all of theirs were accepted.
        """
        with socket.create_connection((self.host, self.port), timeout=timeout_s) as last:
            last.shutdown(socket.SHUT_WR)
            last.recv(1)
        with self._lock:
            threads = list(self._open)
        for thread in threads:
            thread.join(timeout_s)
            if thread.is_alive():
                raise AssertionError(f"{thread.name} still has its client:\n{self.recorder.transcript()}")

    def close(self) -> None:
        """Stop listening, end every connection, join every thread."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        with self._lock:
            threads = dict(self._open)
        for connection in threads.values():
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown: it takes the TLS object away from under the thread that uses it.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
            if thread.is_alive():
                raise AssertionError(f"{thread.name} did not end")

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # ASCII heads and bodies leave in two writes; Nagle would hold the second back for 40 ms.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._stopping.is_set():
                    connection.close()
                    return
                self.connections += 1
                number = self.connections
                thread = threading.Thread(
                    target=self._serve,
                    args=(connection, number),
                    name=f"wire-{self.role}-{number}",
                    daemon=True,
                )
                self._open[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        stream = connection
        try:
            if self._context is not None:
                # The handshake comes once close() knows the wrapped socket: it may never end by itself.
                stream = self._context.wrap_socket(connection, True, do_handshake_on_connect=False)
                with self._lock:
                    self._open[threading.current_thread()] = stream
                try:
                    stream.do_handshake()
                except OSError:
                    self.tls_failures += 1
                    return
            elif connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE:
                # docker, podman and skopeo try TLS first; without a prompt end they wait ten seconds.
                return
            with stream.makefile("rb") as reader:
                while (request := self._read(reader, number)) and self._answer(stream, request):
                    pass
        except (OSError, _Disconnected):
            pass  # the peer left in the middle of a request or a reply
        finally:
            _close(stream)
            connection.close()
            with self._lock:
                del self._open[threading.current_thread()]

    def _read(self, reader: BinaryIO, number: int) -> Received | None:
        """The next request; None when there is none, or none that can be understood (see `malformed`)."""
        lines: list[bytes] = []
        while (line := reader.readline(_MAX_HEAD)) not in (b"", b"\r\n", b"\n"):
            lines.append(line)
        if not line:
            return None
        try:
            method, target, version = lines[0].decode("latin-1").split(" ", 2)
            if not version.startswith("HTTP/1."):
                raise ValueError(version)
            headers = tuple(_split_header(line) for line in lines[1:])
            body = _read_body({name.lower(): value for name, value in headers}, reader)
        except (ValueError, IndexError):
            self.malformed.append(b"".join(lines))
            return None
        return Received(
            role=self.role,
            method=method,
            target=target,
            headers=headers,
            raw_head=b"".join(lines),
            body=body,
            at=time.monotonic(),
            connection=number,
            local_url=self.url,
        )

    def _answer(self, stream: socket.socket, request: Received) -> bool:
        """Send the reply; whether the connection may be used again."""
        exchange = Exchange(request)
        self.recorder.add(exchange)
        state: State = "aborted"
        try:
            reply = self._handler(request)
            exchange.status = reply.status
            state = "complete" if self._send(stream, request, reply, exchange) else "cut"
        finally:
            self.recorder.finish(exchange, state)
        wants_close = "close" in (request.header("connection") or "").lower()
        return state == "complete" and not (reply.close or reply.declared_length == "none" or wants_close)

    def _send(self, stream: socket.socket, request: Received, reply: Reply, exchange: Exchange) -> bool:
        """Whether everything was sent; False when a fault ended it."""
        if reply.delay_s:
            self._pause(stream, reply.delay_s)
        if reply.stall_before_head:
            self._pause(stream, None)
        if reply.hang_up:
            _end(stream, reply.ending)
            return False
        stream.sendall(_format_head(reply))
        if request.method == "HEAD" or reply.status in (204, 304):
            return True
        stall_after = reply.stall_after
        for piece in _split_at(_in_drops(_apply_flip(reply), reply.bytes_per_s), reply.stall_after, reply.cut_after):
            if stall_after == exchange.sent:
                stall_after = None
                self._pause(stream, None)
            if reply.cut_after == exchange.sent:
                _end(stream, reply.ending)
                return False
            exchange.sent += len(piece)  # before it leaves: whoever has all of it finds all of it counted
            try:
                stream.sendall(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)) if reply.chunked else piece)
            except OSError:
                exchange.sent -= len(piece)
                raise
            if reply.bytes_per_s:
                self._pause(stream, len(piece) / reply.bytes_per_s)
        if stall_after == exchange.sent:
            self._pause(stream, None)
        if reply.cut_after == exchange.sent:
            _end(stream, reply.ending)
            return False
        if reply.chunked:
            stream.sendall(b"0\r\n\r\n")
        return True

    def _pause(self, stream: socket.socket, seconds: float | None) -> None:
        """Wait so long, or until stalls are released; raises when the peer leaves meanwhile."""
        deadline = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while True:
            if self._stopping.is_set():
                raise _Disconnected
            if deadline is None and self._released.is_set():
                return
            left_s = _POLL_S if deadline is None else min(deadline - time.monotonic(), _POLL_S)
            if left_s <= 0:
                return
            if poll.poll(left_s * 1000):
                raise _Disconnected


def _split_header(line: bytes) -> Header:
    name, _, value = line.decode("latin-1").partition(":")
    return name, value.strip()


def _read_body(fields: dict[str, str], reader: BinaryIO) -> bytes:
    if "chunked" not in fields.get("transfer-encoding", "").lower():
        return reader.read(int(fields.get("content-length", "0")))
    body = b""
    while size := int(reader.readline(64).split(b";")[0], 16):
        body += reader.read(size)
        reader.readline(8)
    reader.readline(8)
    return body


def _format_head(reply: Reply) -> bytes:
    try:
        reason = http.HTTPStatus(reply.status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {reply.status} {reason}", *(f"{name}: {value}" for name, value in reply.headers)]
    if reply.chunked:
        lines.append("Transfer-Encoding: chunked")
    elif reply.declared_length == "none":
        lines.append("Connection: close")
    elif reply.status not in (204, 304):
        length = reply.length if reply.declared_length is None else reply.declared_length
        lines.append(f"Content-Length: {length}")
    if reply.close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _apply_flip(reply: Reply) -> Iterator[bytes | memoryview]:
    position = 0
    for piece in reply.body.chunks(reply.start, reply.stop):
        if reply.flip_at is not None and position <= reply.flip_at < position + len(piece):
            changed = bytearray(piece)
            changed[reply.flip_at - position] ^= 0xFF
            yield bytes(changed)
        else:
            yield piece
        position += len(piece)


def _in_drops(pieces: Iterator[bytes | memoryview], bytes_per_s: int | None) -> Iterator[bytes | memoryview]:
    """Small pieces at a rate at which whole ones would be minutes apart: slow is not the same as stalled."""
    for piece in pieces:
        size = max(1, bytes_per_s // 10) if bytes_per_s else len(piece)
        for start in range(0, len(piece), size):
            yield piece[start : start + size]


def _split_at(pieces: Iterator[bytes | memoryview], *offsets: int | None) -> Iterator[bytes | memoryview]:
    """The same bytes with a boundary at each offset, so that faults happen at the exact byte."""
    boundaries = sorted(offset for offset in offsets if offset is not None)
    position = 0
    for piece in pieces:
        cuts = [offset - position for offset in boundaries if position < offset < position + len(piece)]
        start = 0
        for end in (*cuts, len(piece)):
            yield piece[start:end]
            start = end
        position += len(piece)


def _end(stream: socket.socket, ending: Ending) -> None:
    """End the connection short: FIN as a crashed proxy does politely, RST as a middlebox does."""
    if ending == "rst":
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        return
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_WR)


def _close(stream: socket.socket) -> None:
    if isinstance(stream, ssl.SSLSocket):
        with contextlib.suppress(OSError, ValueError):
            stream.settimeout(1)
            if stream.fileno() >= 0 and not _lingers(stream):
                stream.unwrap().close()
    stream.close()


def _lingers(stream: socket.socket) -> bool:
    return stream.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == _RST_ON_CLOSE
