"""An HTTP client on plain sockets for tests: it sends any bytes, and tells how an answer ended.

No redirects, no proxies, no decoding; duplicate headers are kept. `ended` is "complete", "short" (FIN before
the promised length) or "reset" (RST), which ordinary clients do not tell apart.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.exchange import Header

__all__ = ["Answer", "Ended", "Stream", "fetch", "open_stream", "send_raw"]

Ended = Literal["complete", "short", "reset"]
_READ = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """A whole answer; `body` is what arrived, `ended` whether that was all."""

    status: int
    reason: str
    headers: tuple[Header, ...]
    body: bytes = field(repr=False)
    ended: Ended
    seconds: float = 0.0

    def header(self, name: str) -> str | None:
        """The only value of that header; more than one is an AssertionError (see `header_list`)."""
        values = self.header_list(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def header_list(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error_code(self) -> str:
        """The code of the first OCI error in the body."""
        return str(self.json()["errors"][0]["code"])


class Stream:
    """An answer whose head has arrived and whose body is read as the test likes; close it."""

    def __init__(self, connection: socket.socket, method: str) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")
        self.ended: Ended | None = None
        self.received = 0
        self.started_at = time.monotonic()
        self.status, self.reason, self.headers = self._read_head()
        fields = {name.lower(): value for name, value in self.headers}
        self._chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        self.length = None if self._chunked else _parse_length(fields.get("content-length"))
        if method == "HEAD" or self.status in (204, 304) or self.length == 0:
            self.ended = "complete"
        self._chunk_left = 0

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def local_port(self) -> int:
        """By which the other side's process can be found."""
        return int(self._connection.getsockname()[1])

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def read(self, size: int = _READ) -> bytes:
        """Up to `size` bytes of the body as they arrive; empty at its end, see `ended`."""
        if self.ended is not None:
            return b""
        try:
            data = self._read_chunked(size) if self._chunked else self._read_plain(size)
        except (ConnectionResetError, ssl.SSLError):
            self.ended = "reset"
            return b""
        self.received += len(data)
        if self.length is not None and self.received == self.length:
            self.ended = "complete"
        return data

    def read_all(self) -> bytes:
        return b"".join(iter(self.read, b""))

    def read_for(self, seconds: float, bytes_per_second: int) -> int:
        """Read at that rate for that long, as a slow client does; returns the number of bytes."""
        before, start = self.received, time.monotonic()
        while (elapsed := time.monotonic() - start) < seconds and self.ended is None:
            due = int(elapsed * bytes_per_second) + 1 - (self.received - before)
            if due > 0:
                self.read(min(due, _READ))
            else:
                time.sleep(0.005)  # what makes the client slow
        return self.received - before

    def close(self) -> None:
        """Leave, whether or not the body is through."""
        self._reader.close()
        self._connection.close()

    def abort(self) -> None:
        """Leave with RST instead of FIN."""
        with contextlib.suppress(OSError):
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def _read_head(self) -> tuple[int, str, tuple[Header, ...]]:
        line = self._reader.readline()
        if not line:
            raise ConnectionError("the connection was closed without an answer")
        parts = line.decode("latin-1").rstrip("\r\n").split(" ", 2)
        headers = []
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        return int(parts[1]), parts[2] if len(parts) > 2 else "", tuple(headers)

    def _read_plain(self, size: int) -> bytes:
        if self.length is not None:
            size = min(size, self.length - self.received)
        data = self._reader.read1(size)
        if not data:
            self.ended = "complete" if self.length is None else "short"
        return data

    def _read_chunked(self, size: int) -> bytes:
        if self._chunk_left == 0:
            head = self._reader.readline()
            if not head.endswith(b"\n"):
                self.ended = "short"
                return b""
            self._chunk_left = int(head.split(b";")[0], 16)
            if self._chunk_left == 0:
                self._reader.readline()
                self.ended = "complete"
                return b""
        data = self._reader.read1(min(size, self._chunk_left))
        if not data:
            self.ended = "short"
        self._chunk_left -= len(data)
        if data and self._chunk_left == 0:
            self._reader.readline()
        return data


def open_stream(
    url: str,
    method: str = "GET",
    headers: Iterable[Header] = (),
    *,
    body: bytes = b"",
    host: str | None = None,
    target: str | None = None,
    context: ssl.SSLContext | None = None,
    timeout_s: float = 30,
    receive_buffer: int | None = None,
) -> Stream:
    """Send one request and read the answer's head.

    `host` replaces the Host header ("" sends none), `target` the request target byte for byte. A small
    `receive_buffer` makes a slow reader felt at the other side early.
    """
    parts = urlsplit(url)
    if target is None:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc if host is None else host
    lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host else [])]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append("Connection: close")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
    connection = _connect(url, context, timeout_s, receive_buffer)
    try:
        connection.sendall(request)
        return Stream(connection, method)
    except BaseException:
        connection.close()
        raise


def fetch(
    url: str,
    method: str = "GET",
    headers: Iterable[Header] = (),
    *,
    body: bytes = b"",
    host: str | None = None,
    target: str | None = None,
    context: ssl.SSLContext | None = None,
    timeout_s: float = 30,
) -> Answer:
    """One request and its whole answer, on a connection of its own."""
    started = time.monotonic()
    with open_stream(
        url, method, headers, body=body, host=host, target=target, context=context, timeout_s=timeout_s
    ) as stream:
        data = stream.read_all()
        assert stream.ended is not None
        seconds = time.monotonic() - started
        return Answer(stream.status, stream.reason, stream.headers, data, stream.ended, seconds)


def send_raw(
    url: str, data: bytes, *, context: ssl.SSLContext | None = None, timeout_s: float = 10
) -> tuple[bytes, Ended]:
    """Send these bytes and return everything that comes back until the other side ends."""
    received = b""
    with _connect(url, context, timeout_s, None) as connection:
        try:
            connection.sendall(data)
            while chunk := connection.recv(_READ):
                received += chunk
        except ConnectionError:
            return received, "reset"
        return received, "complete"


def _connect(url: str, context: ssl.SSLContext | None, timeout_s: float, receive_buffer: int | None) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname, url
    port = parts.port or (443 if parts.scheme == "https" else 80)
    family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
    connection = socket.socket(family)
    try:
        connection.settimeout(timeout_s)
        if receive_buffer:
            # Before connecting: the window is agreed on in the handshake.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect((parts.hostname, port))
        if parts.scheme == "https":
            return (context or ssl.create_default_context()).wrap_socket(connection, server_hostname=parts.hostname)
    except BaseException:
        connection.close()
        raise
    return connection


def _parse_length(value: str | None) -> int | None:
    return None if value is None else int(value)
