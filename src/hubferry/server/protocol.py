"""uvicorn's HTTP protocol with bounds on what a client may send, and an end for what nobody waits for.

A request head has to arrive within HEAD_TIMEOUT_S and within MAX_HEAD_BYTES; otherwise the connection is closed.
Heads that arrive whole and are merely too large get a proper answer (core/client.py). A client that hangs up before
its answer is complete has its task cancelled, wherever it is. A request that was answered a moment ago (recent.py) is
answered at once, without a task: 30 microseconds less, and most requests of a fleet are such.
"""

import asyncio
import time
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hubferry.core.errors import Code, OciError
from hubferry.pull.answer import NOSNIFF
from hubferry.server.file_send import with_file_send
from hubferry.server.recent import Recent

HEAD_TIMEOUT_S = 10.0
MAX_HEAD_BYTES = 64 * 1024


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._has_head = False  # of the request that is being received
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._recent: Recent | None = getattr(self.app, "recent", None)
        self._is_repeated = False
        self._running: RequestResponseCycle | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._head_arrived()
        super().connection_lost(exc)
        if self._running is not None and not self._running.response_complete:
            # uvicorn tells only the latest of pipelined requests that the client is gone
            self._running.disconnected = True
            self._running.message_event.set()
            if self._task is not None:
                self._task.cancel()  # whatever it waits for is of no use to anybody now

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head, and give it a time limit when it is not complete yet."""
        if self._is_idle:
            self._has_head = False  # also for a bare line break, which the parser skips without a word
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(OciError(431, Code.UNSUPPORTED, f"the request head is larger than {MAX_HEAD_BYTES} bytes"))
                return
        super().data_received(data)
        if not self._has_head and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)

    def on_message_begin(self) -> None:
        """A request begins: on a kept-alive connection its head has limits again."""
        super().on_message_begin()
        self._unset_keepalive_if_required()  # an answer that was repeated in the same chunk has set it
        self._has_head = False

    def on_headers_complete(self) -> None:
        """The head is there. Raises ValueError, which becomes a 400, for a target that is no path."""
        self._head_arrived()
        if self._repeat_answer():
            return
        if not self.url.startswith(b"/"):
            # `GET http://other/ HTTP/1.1`: its host would have to win over the Host header (RFC 9112, 3.2.2)
            raise ValueError("absolute-form target")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See uvicorn; a request that was answered by `recent` has none."""
        if not self._is_repeated:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """See uvicorn."""
        if not self._is_repeated:
            super().on_message_complete()

    def _repeat_answer(self) -> bool:
        """Give the answer of a moment ago (recent.py) if it is for this very request; whether that was done."""
        self._is_repeated = False
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
        self.transport.write(b"".join([found.status_line, *own, found.rest]))
        self.on_response_complete()
        # not from within the parser, which would take a log that cannot be written for a bad request
        self.loop.call_soon(found.tell, time.monotonic() - started)
        return True

    @property
    def _is_idle(self) -> bool:
        """Whether every request so far is answered."""
        return self.cycle is None or self.cycle.response_complete

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words are for uvicorn's log
        """Refuse what is no HTTP in the words of the registry protocol, and close."""
        self._refuse(OciError(400, Code.UNSUPPORTED, "this is not a valid HTTP/1.1 request for this server"))

    def _refuse(self, error: OciError) -> None:
        if not self._is_idle:  # nothing may get between the bytes of the answer that is being sent
            self.transport.close()
            return
        body = error.body()
        line = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"
        head = f"{line}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{': '.join(NOSNIFF)}\r\n"
        self.transport.write(head.encode("ascii") + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if self.scheme == "http":
            app = with_file_send(cycle, app, self.loop)
        self._task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _head_arrived(self) -> None:
        self._has_head, self._head_bytes = True, 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self._is_idle:
            self.transport.close()
        else:  # the answer before it takes its time
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)
