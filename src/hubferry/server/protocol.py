"""uvicorn's HTTP protocol with bounds on what a client may send, and an end for what nobody waits for.

A request head has to arrive within HEAD_TIMEOUT_S and within MAX_HEAD_BYTES; otherwise the connection is closed.
Heads that arrive whole and are merely too large get a proper answer (core/client.py). A client that hangs up before
its answer is complete has its task cancelled, wherever it is.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hubferry.core.errors import Code, OciError
from hubferry.server.file_send import with_file_send

HEAD_TIMEOUT_S = 10.0
MAX_HEAD_BYTES = 64 * 1024


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a head."""
        super().connection_made(transport)
        self._expect_head()

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
        """Count what belongs to a head that is not complete yet."""
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()  # also for a bare line break, which the parser skips without a word
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(OciError(431, Code.UNSUPPORTED, f"the request head is larger than {MAX_HEAD_BYTES} bytes"))
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins: on a kept-alive connection its head has a time limit again."""
        super().on_message_begin()
        if self._head_timer is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is there. Raises ValueError, which becomes a 400, for a target that is no path."""
        self._head_arrived()
        if not self.url.startswith(b"/"):
            # `GET http://other/ HTTP/1.1`: its host would have to win over the Host header (RFC 9112, 3.2.2)
            raise ValueError("absolute-form target")
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words are for uvicorn's log
        """Refuse what is no HTTP in the words of the registry protocol, and close."""
        self._refuse(OciError(400, Code.UNSUPPORTED, "this is not a valid HTTP/1.1 request for this server"))

    def _refuse(self, error: OciError) -> None:
        body = error.body()
        line = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"
        head = f"{line}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode("ascii") + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if self.scheme == "http":
            app = with_file_send(cycle, app, self.loop)
        self._task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        self.transport.close()
