"""uvicorn's HTTP protocol with limits on what a client may send and leave unread.

- A request head has to arrive within HEAD_TIMEOUT_S; the TLS handshake has the same time of its own. The head is
  refused while it is parsed, as soon as it is larger or has more headers than core/client.py allows.
- Only forms have bodies. Bytes beyond the largest form are dropped. When a body has not ended by the time of
  the answer, or has more than MAX_BODY_BYTES, the connection is closed after the answer.
- While one request waits behind the one that is being answered, nothing more is read.
- When a client hangs up before its answer is complete, or takes too little of it (core/client_rate.py), the task of its
  request is cancelled at once, whatever it is doing.
- A request that was answered a moment ago (recent.py) is answered at once, without a task. Most requests of a fleet are
  of this kind.
"""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import time
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_remote_addr

from hubferry.core.client import MAX_HEADER_BYTES, MAX_HEADERS
from hubferry.core.client_rate import ClientRate
from hubferry.core.errors import Code, OciError
from hubferry.core.http import MAX_FORM_BYTES
from hubferry.core.values import ConfigError
from hubferry.gateway.answer import NOSNIFF
from hubferry.server.bodies import WHY_CUT
from hubferry.server.clients import Clients
from hubferry.server.file_send import SentBytes, with_file_send
from hubferry.server.recent import RecentAnswers

HEAD_TIMEOUT_S = 10.0
MAX_HEAD_BYTES = MAX_HEADER_BYTES + 1024  # as sent, including the method, the version and white space
MAX_BODY_BYTES = MAX_FORM_BYTES  # as sent, including the sizes, extensions and trailers of chunks
MAX_UNPARSED_BYTES = 64 * 1024  # of what follows the request that waits
UNSENT_BYTES = 64 * 1024  # when more is unsent, writers have to wait; the event loop's own limit with TLS is 512 KiB
LINGER_S = 1.0  # how long a refused connection stays open; what the client still sends is dropped
EARLY_BYTES = 16 * 1024
END_OF_HEAD = b"\r\n\r\n"


def check_server() -> None:
    """Check that the installed uvicorn has the internals that this module builds on. Raises ConfigError if not."""
    if not callable(getattr(HttpToolsProtocol, "_start_asgi_task", None)):
        problem = "this version starts requests in another way, so clients that hang up would go unnoticed"
        raise ConfigError("uvicorn", f"{problem}: install one from 0.45 to 0.54, or what requirements.lock says")


class Flow(FlowControl):
    """uvicorn's flow control with a hold on reading.

    Without it, uvicorn resumes reading whenever a request asks for its body.
    """

    is_held = False

    def resume_reading(self) -> None:
        """Resume reading from the client, unless reading is on hold."""
        if not self.is_held:
            super().resume_reading()

    def hold(self, *, is_held: bool) -> None:
        """Put reading on hold, or end the hold and resume reading."""
        self.is_held = is_held
        if is_held:
            self.pause_reading()
        else:
            self.resume_reading()


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection of a client, from the TCP connection (and the TLS handshake) to its end."""

    def __init__(self, *args: Any, clients: Clients, tls: ssl.SSLContext | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clients = clients
        self._tls = tls
        self._tcp: asyncio.Transport | None = None
        self._flow: Flow | None = None  # set as soon as HTTP may begin, which with TLS is after the handshake
        self._peer = ""
        self.said_client: tuple[str, int] | None = None  # address and port that a load balancer named (proxy_header.py)
        self._handshake: asyncio.Task[None] | None = None
        self._unparsed = b""
        self._is_parsing = False
        self._is_in_body = False  # whether the body of the current request is being received
        self._is_last = False  # whatever follows the current request is ignored
        self._is_deaf = False  # nothing more is read at all
        self._is_lingering = False  # the client was refused: what it still sends is dropped
        self._head_bytes = 0
        self._head_tail = b""  # the last bytes that were parsed of an incomplete head
        self._body_bytes = 0
        self._body_left: int | None = None  # None: the body is chunked
        self._refusal: OciError | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._recent: RecentAnswers | None = getattr(self.app, "recent", None)
        self._is_repeated = False
        self._running: RequestResponseCycle | None = None
        self._task: asyncio.Task[None] | None = None
        self._sent = SentBytes()
        self._client_rate = ClientRate(clients.limits.write_timeout_s, clients.limits.min_bytes_per_s)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection for its address. Then refuse it, start TLS, or wait for a request head."""
        self._tcp = transport
        address = self.said_client or get_remote_addr(transport)
        self._peer = address[0] if address else ""
        if not self._clients.admit(self, self._peer):
            self._refuse_connection(transport)
        elif self._tls is None:
            self._connected(transport)
        else:
            self._handshake = self.loop.create_task(self._start_tls(transport, self._tls))

    async def _start_tls(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        async def start() -> asyncio.Transport | None:
            if transport.is_closing():  # uvloop would never end a handshake with a client that has left
                return None
            return await self.loop.start_tls(
                transport,
                self,
                tls,
                server_side=True,
                ssl_handshake_timeout=HEAD_TIMEOUT_S,
                ssl_shutdown_timeout=HEAD_TIMEOUT_S,
            )

        starting = self.loop.create_task(start())
        await asyncio.sleep(0)  # from here on bytes go to TLS; those that came before are in `_unparsed`
        early, self._unparsed = self._unparsed, b""
        if early and transport.get_protocol() is not self:
            encrypted_input = cast("asyncio.BufferedProtocol", transport.get_protocol())
            for at in range(0, len(early), EARLY_BYTES):  # its buffer has a size of its own
                piece = early[at : at + EARLY_BYTES]
                memoryview(encrypted_input.get_buffer(len(piece)))[: len(piece)] = piece
                encrypted_input.buffer_updated(len(piece))
        try:
            encrypted = await starting
        except OSError:  # includes ssl.SSLError and the time-out: the client does not speak TLS, or left
            encrypted = None
        if encrypted is None or encrypted.is_closing():  # `connection_lost` is not called for a client that left by now
            transport.abort()
            self._clients.leave(self, self._peer)
            return
        encrypted.set_write_buffer_limits(UNSENT_BYTES)
        self._connected(encrypted)

    def _connected(self, transport: asyncio.Transport) -> None:
        if self._clients.is_stopping:  # uvicorn has told all others that it ends, and would wait for this one
            transport.abort()
            return
        super().connection_made(transport)
        self.client = self.said_client or self.client
        self.flow = self._flow = Flow(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)
        self._parse()  # bytes that came while the handshake ended

    def _refuse_connection(self, transport: asyncio.Transport) -> None:
        most = self._clients.limits.connections_per_address
        self.transport = transport
        if self._tls is not None:  # a handshake just for an error message would cost more than serving the connection
            transport.abort()
            return
        problem = f"this gateway serves {most} connections of one address at a time, and {self._peer} has them"
        remedy = "wait until one ends, or raise server.connections_per_address"
        self._write_error(OciError(503, Code.UNAVAILABLE, f"{problem}: {remedy}", headers=(("retry-after", "5"),)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection, and cancel the request that is being answered."""
        self._clients.leave(self, self._peer)
        if self._flow is None:  # the connection was refused, or the TLS handshake failed
            return
        self._stop_head_timer()
        self._unparsed = b""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # after an error uvicorn leaves this timer running, and with it all of self
        if self._running is not None and not self._running.response_complete:
            # of pipelined requests, uvicorn tells only the latest that the client is gone
            self._running.disconnected = True
            self._running.message_event.set()
            if self._task is not None:
                self._task.cancel()  # whatever it waits for, nobody needs it now

    def data_received(self, data: bytes) -> None:
        """Parse as much as may be parsed now. The rest waits, and nothing more is read in the meantime."""
        if self._is_lingering:
            return
        self._unparsed = self._unparsed + data if self._unparsed else data
        self._parse()

    def _parse(self) -> None:
        """Feed the parser with one request after the other, so that at most one request waits for its turn."""
        if self._is_parsing or self._flow is None:
            return
        self._is_parsing = True
        data, at = self._unparsed, 0
        self._unparsed = b""
        try:
            while at < len(data) and not self.pipeline and not self._is_over:
                if self._is_last and not self._is_in_body:
                    at = len(data)  # whatever follows is not answered
                    break
                end = self._end_of_piece(data, at)
                if not self._counts(end - at):
                    at = len(data)
                    break
                super().data_received(data if end - at == len(data) else data[at:end])
                is_head = self._head_bytes > 0
                self._head_tail = (self._head_tail + data[max(at, end - 3) : end])[-3:] if is_head else b""
                at = end
        finally:
            self._is_parsing = False
        if self._is_over:
            return
        self._unparsed = data[at:] if at < len(data) else b""
        if len(self._unparsed) > MAX_UNPARSED_BYTES:
            self._unparsed, self._is_deaf = b"", True
        is_over = self._is_deaf or (self._is_last and not self._is_in_body)
        self._flow.hold(is_held=is_over or bool(self.pipeline or self._unparsed))
        if self._head_bytes and not self._is_in_body and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)

    def _end_of_piece(self, data: bytes, at: int) -> int:
        """Return the offset up to which `data` is parsed next.

        That is the end of the head or body that is being received, or else the end of the data.
        """
        if self._is_in_body:
            return len(data) if self._body_left is None else min(len(data), at + self._body_left)
        if self._head_tail:
            begin = self._head_tail + data[at : at + 3]
            found = begin.find(END_OF_HEAD)
            if found >= 0:
                return at + found + len(END_OF_HEAD) - len(self._head_tail)
        found = data.find(END_OF_HEAD, at)
        return len(data) if found < 0 else found + len(END_OF_HEAD)

    def _counts(self, size_bytes: int) -> bool:
        """Count `size_bytes` of the current head or body. Return whether it is still within its limit."""
        if not self._is_in_body:
            self._head_bytes += size_bytes
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(OciError(431, Code.UNSUPPORTED, f"the request head is larger than {MAX_HEAD_BYTES} bytes"))
                return False
            return True
        self._body_bytes += size_bytes
        if self._body_left is not None:
            self._body_left -= size_bytes
        if self._body_bytes > MAX_BODY_BYTES:
            self._is_deaf = True  # the connection is closed after the answer
            # whoever reads the form finds that it is too large; its content does not matter
            super().on_body(bytes(MAX_FORM_BYTES + 1))
            return False
        return True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header from the parser. Trailers, which follow a chunked body, are dropped.

        Raises ValueError when there are more than MAX_HEADERS.
        """
        if self._is_in_body:
            return
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = OciError(431, Code.UNSUPPORTED, f"the request has more than {MAX_HEADERS} headers")
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        self._unset_keepalive_if_required()  # an answer that was repeated in the same chunk has set this timer

    def on_headers_complete(self) -> None:
        """Handle a complete head: repeat a recent answer, or let uvicorn start the request.

        Raises ValueError, which becomes a 400, for a request target that is not a path.
        """
        if self._is_last:  # this request follows the last one in the same piece of data
            return
        self._stop_head_timer()
        self._head_bytes = 0
        if self._repeat_answer():
            return
        self._is_in_body, self._body_bytes = True, 0
        if not self.url.startswith(b"/"):
            # `GET http://other/ HTTP/1.1`: its host would have to win over the Host header (RFC 9112, 3.2.2)
            raise ValueError("absolute-form target")
        lengths = [value for name, value in self.headers if name == b"content-length"]
        is_chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        # the parser refuses several lengths, and a length together with chunks
        self._body_left = None if is_chunked else int(lengths[0]) if lengths else 0
        if self._body_left != 0 and self.parser.should_upgrade():
            # the parser would skip the body, and take what is in it for the next request
            raise ValueError("an upgrade with a body")
        super().on_headers_complete()
        if is_chunked:  # the end of a chunked body is not known in advance, so nothing behind it is parsed
            self._is_last = True
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Keep up to MAX_FORM_BYTES bytes of the body, and one more byte that shows that a form is too large."""
        left = MAX_FORM_BYTES + 1 - len(self.cycle.body)
        if self._is_in_body and left > 0:
            super().on_body(body[:left])

    def on_message_complete(self) -> None:
        """Note that the request is complete, so that another one may follow."""
        if self._is_repeated:
            self._is_repeated = False
        elif self._is_in_body:
            self._is_in_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Close the connection if nothing may follow the request, otherwise continue with the data that waits."""
        is_within_parser = self._is_parsing
        is_over = self._is_in_body or self._is_last or self._is_deaf
        if is_over and not self.pipeline and not is_within_parser:
            self.transport.close()
        super().on_response_complete()
        if not is_within_parser and not self._is_over:
            self._parse()

    def _repeat_answer(self) -> bool:
        """Send a recent answer again (recent.py) if there is one for exactly this request. Return whether there was."""
        parser = self.parser
        if self._recent is None or not self._is_idle or self.flow.write_paused:
            return False
        if not parser.should_keep_alive() or parser.get_http_version() != "1.1":
            return False
        client = self.client[0] if self.client else ""
        started = time.monotonic()
        found = self._recent.find(
            (parser.get_method(), self.url, client, self.scheme or "", tuple(self.headers)), started
        )
        if found is None:
            return False
        self._is_repeated = True
        own = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        answer = b"".join([found.status_line, *own, found.rest])
        self.transport.write(answer)
        self._sent.size_bytes += len(answer)
        self.on_response_complete()
        # not called from within the parser, which would treat a failure to write the log as a bad request
        self.loop.call_soon(found.repeating.tell, time.monotonic() - started)
        return True

    @property
    def _is_over(self) -> bool:
        """Whether the connection is ending, so that nothing that still comes is answered."""
        return self._is_lingering or self.transport.is_closing()

    @property
    def _is_idle(self) -> bool:
        """Whether every request so far was answered completely."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_unused(self) -> bool:
        return self.timeout_keep_alive_task is not None and not self._unsent_bytes()

    def let_go(self) -> None:
        if self.transport is self._tcp:
            self.transport.close()
        else:  # TLS would wait for the client's answer before closing, while the connection is not counted any more
            self.transport.abort()

    def look(self, passed_s: float) -> None:
        unsent = self._unsent_bytes()
        waiting = unsent + self._unacknowledged_bytes()
        if not waiting and not self._sent.is_blocked:
            self._client_rate.rest()
            return
        is_backlogged = bool(unsent) or self._sent.is_blocked
        fault = self._client_rate.judge(self._sent.size_bytes - waiting, passed_s, is_backlogged=is_backlogged)
        if fault is not None:
            self._cut(fault)

    def _unsent_bytes(self) -> int:
        """Return how many bytes for the client the event loop holds; with TLS, before and after encryption."""
        tcp = self._tcp
        size = tcp.get_write_buffer_size() if tcp is not None else 0
        return size if tcp is self.transport else size + self.transport.get_write_buffer_size()

    def _unacknowledged_bytes(self) -> int:
        """Return how many bytes for the client the kernel holds; 0 where the kernel does not tell."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            held = fcntl.ioctl(self._socket().fileno(), termios.TIOCOUTQ, bytes(4))
            return int(struct.unpack("i", held)[0])
        return 0

    def _socket(self) -> socket.socket:
        return self.transport.get_extra_info("socket")  # type: ignore[no-any-return]

    def _cut(self, fault: str) -> None:
        limits = self._clients.limits
        if fault == "nothing":
            why = f"the client took nothing for {limits.write_timeout_s:g} s (server.write_timeout)"
        else:
            why = f"the client took less than {limits.min_bytes_per_s} bytes a second (server.min_client_rate)"
        if self._running is not None:
            self._running.scope[WHY_CUT] = why  # type: ignore[literal-required] # ours
        with contextlib.suppress(OSError):
            # the kernel drops what it holds too, instead of waiting for a client that takes nothing
            self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words are for uvicorn's log
        """Refuse bytes that are not HTTP with an error in the form of the registry protocol, and close."""
        invalid = OciError(400, Code.UNSUPPORTED, "this is not a valid HTTP/1.1 request for this server")
        self._refuse(self._refusal or invalid)

    def _refuse(self, error: OciError) -> None:
        if not self._is_idle:  # an error must not get into the middle of the answer that is being sent
            self.transport.close()
            return
        self._write_error(error)

    def _write_error(self, error: OciError) -> None:
        body = error.body()
        line = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"
        fields = {"content-type": "application/json", "content-length": len(body), **dict((NOSNIFF, *error.headers))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.transport.write(f"{line}\r\n{head}connection: close\r\n\r\n".encode("ascii") + body)
        if self.transport is not self._tcp or not self._clients.may_linger():
            self.transport.close()
            return
        # if this closed at once, the kernel would answer further data with a reset, which would replace the error
        self._is_lingering = True
        self.transport.write_eof()
        self.transport.resume_reading()
        self.loop.call_later(LINGER_S, self._end_linger)

    def _end_linger(self) -> None:
        self._clients.has_lingered()
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        large = self._clients.large_buffers
        app = with_file_send(cycle, app, self.loop, self._sent, large, is_plain=self.scheme == "http")
        self._task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self._is_idle:
            self.transport.close()
        else:  # the answer to the request before is not complete yet
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)
