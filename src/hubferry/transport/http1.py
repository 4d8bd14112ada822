"""One HTTP/1.1 exchange on a wire: write a request, read a head, hand out the body (RFC 9112).

Heads and chunked bodies are parsed by httptools (llhttp, which refuses ambiguous framing). A body with a declared
length, which every blob has, is counted here and passes untouched.
"""

import asyncio

import httptools

from hubferry.core.exchange import Send
from hubferry.core.http import Headers, get_all
from hubferry.transport.wire import BUFFER_BYTES, Wire

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256  # of one answer, trailers included; CDNs send some thirty
MAX_ANNOUNCEMENTS = 8  # 100 and 103 before an answer
MAX_FRAMING_BYTES = 256 * 1024  # of chunks' heads, extensions and trailers without a byte of the body between them
FED_AT_ONCE_BYTES = 64 * 1024  # chunks may be as small as a byte, and the event loop waits for the parser


class ProtocolError(Exception):
    """The answer is no HTTP that may be relied on."""


class Broken(Exception):
    """The other side closed the connection before the answer was complete; `begun` says whether any of it had come."""

    def __init__(self, message: str, *, begun: bool) -> None:
        super().__init__(message)
        self.begun = begun


class _Parser:
    """Callbacks for httptools, which collect a head and the pieces of a body."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: list[tuple[str, str]] = []
        self.pieces: list[bytes] = []
        self.keeps_alive = False  # says the head: an answer without a body is over before anybody can ask the parser
        self.is_complete = False
        self.has_surplus = False
        self.idle_bytes = 0  # fed since the last byte of the body

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.keeps_alive = bool(self.parser.should_keep_alive())

    def on_message_begin(self) -> None:
        if self.is_complete:  # a second answer that nobody asked for: it is not used, nor the connection again
            self.has_surplus = True

    def on_body(self, body: bytes) -> None:
        if not self.is_complete:
            self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.is_complete = True

    def feed(self, data: bytes) -> None:
        """Parse further bytes.

        Raises ProtocolError for what is not HTTP, and for too many headers or too much framing.
        """
        self.idle_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ProtocolError("it switched to another protocol") from None
        except httptools.HttpParserError as error:
            raise ProtocolError(str(error) or "not HTTP") from None
        if len(self.headers) > MAX_HEADERS:
            raise ProtocolError(f"an answer with more than {MAX_HEADERS} headers")
        if self.pieces:
            self.idle_bytes = 0
        elif self.idle_bytes > MAX_FRAMING_BYTES:
            raise ProtocolError(f"more than {MAX_FRAMING_BYTES} bytes around a chunk")


class Reply:
    """An answer whose head has arrived; `next_piece` gives its body."""

    def __init__(self, wire: Wire, parser: _Parser, rest: bytes, method: str) -> None:
        self._wire = wire
        self._parser = parser
        self._rest = rest
        self.status: int = parser.parser.get_status_code()
        self.headers: Headers = tuple(parser.headers)
        self.length = _declared_length(self.headers)
        self._is_chunked = _is_chunked(self.headers)
        bodiless = method == "HEAD" or self.status in (204, 304)
        self._left = 0 if bodiless else self.length
        self._ends_with_connection = self._left is None and not self._is_chunked and not bodiless
        if bodiless:
            self._is_chunked = False
        self.keeps_alive = parser.keeps_alive and not self._ends_with_connection

    @property
    def is_over(self) -> bool:
        """Whether the body was read to its end, so that the connection may be used again."""
        if self._is_chunked:
            return self._parser.is_complete and not self._parser.pieces and not self._rest
        return self._left == 0 and not self._rest

    def drop_received(self) -> None:
        """Drop a body that has arrived whole with the head.

        So a small body that nobody reads does not cost its connection.
        """
        if self._left is not None and not self._is_chunked and len(self._rest) == self._left:
            self._left, self._rest = 0, b""

    async def next_piece(self, at_most_bytes: int = BUFFER_BYTES) -> bytes | None:
        """Return the next bytes of the body, None at its end. Raises Broken, ProtocolError, OSError."""
        if self._is_chunked:
            return await self._next_chunk()
        if self._left == 0:
            return None
        data, self._rest = self._rest or await self._wire.receive(at_most_bytes), b""
        if self._left is None:
            if not data and self._wire.has_proper_ends and not self._wire.ended_cleanly:
                raise Broken("the connection was cut", begun=True)
            return data or None
        if not data:
            raise Broken(f"{self._left} bytes are missing", begun=True)
        if len(data) > self._left:
            data = data[: self._left]
            self.keeps_alive = False  # more than was declared: nothing that follows can be trusted
        self._left -= len(data)
        return data

    async def _next_chunk(self) -> bytes | None:
        """Return what has arrived of a chunked body, None at its end. Raises as `next_piece` does."""
        parser = self._parser
        while not parser.is_complete and (self._rest or not parser.pieces):
            data, self._rest = self._rest or await self._wire.receive(), b""
            if not data:
                raise Broken("the last chunk is missing", begun=True)
            self._rest = data[FED_AT_ONCE_BYTES:]
            parser.feed(data[:FED_AT_ONCE_BYTES])
            if parser.has_surplus:
                self.keeps_alive = False
            if self._rest:
                await asyncio.sleep(0)
        pieces, parser.pieces = parser.pieces, []
        return b"".join(pieces) or None


async def send_request(wire: Wire, target: str, host: str, request: Send) -> Reply:
    """Send a request without a body, and return the answer once its head has arrived.

    Raises Broken, ProtocolError, OSError, ssl.SSLError.
    """
    lines = [f"{request.method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    text = "".join(lines)
    if not text.isascii() or any(forbidden in text for forbidden in "\r\n\0"):
        raise ProtocolError("a request line or header has a character that none may have")
    head = "\r\n".join(lines)
    await wire.send(f"{head}\r\n\r\n".encode("ascii"))
    data = b""
    for _ in range(1 + MAX_ANNOUNCEMENTS):
        data = await _read_head(wire, data)
        cut = data.index(b"\r\n\r\n") + 4
        parser = _Parser()
        parser.feed(data[:cut])
        data = data[cut:]
        if parser.parser.get_status_code() >= 200:
            return Reply(wire, parser, data, request.method)
        # 100 and 103 are announcements; the answer follows
    raise ProtocolError(f"more than {MAX_ANNOUNCEMENTS} announcements of an answer")


async def _read_head(wire: Wire, data: bytes) -> bytes:
    """Receive until `data` holds a whole head, and return it with whatever follows. Raises Broken, ProtocolError."""
    while (end := data.find(b"\r\n\r\n")) < 0 or end > MAX_HEAD_BYTES:
        if len(data) > MAX_HEAD_BYTES:
            raise ProtocolError(f"an answer head of more than {MAX_HEAD_BYTES} bytes")
        if b"\n" in data and not data.startswith(b"HTTP/1."):
            raise ProtocolError("an answer that is not HTTP/1.1")
        more = await wire.receive()
        if not more:
            raise Broken("closed without an answer", begun=bool(data))
        data += more
    return data


def _is_chunked(headers: Headers) -> bool:
    """Return whether a body is chunked. Raises ProtocolError for any other Transfer-Encoding."""
    said = [value.strip().lower() for value in get_all(headers, "transfer-encoding")]
    if said and said != ["chunked"]:
        raise ProtocolError("a Transfer-Encoding other than chunked")
    return bool(said)


def _declared_length(headers: Headers) -> int | None:
    """Return the Content-Length in bytes, None without one. Raises ProtocolError when it contradicts itself."""
    said = set(get_all(headers, "content-length"))
    if not said:
        return None
    value = said.pop()
    if said or not value.isdecimal() or len(value) > 18:
        raise ProtocolError("contradicting or unreadable Content-Length")
    return int(value)
