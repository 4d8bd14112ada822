"""The ASGI application: one request in, one answer out, one line in the log.

What hubferry's gateway does not answer (`/`, `/robots.txt`, `/healthz`) goes to the pages. Nothing that fails
inside reaches a client as more than an OCI error; once a body has begun, failing means cutting the connection.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hubferry.core.body_room import Wish
from hubferry.core.client import Network, address_group, behind_proxy
from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request, get
from hubferry.core.routing import is_token_path
from hubferry.core.token_request import MAX_FORM
from hubferry.ports import UpstreamFailure
from hubferry.pull import Answer, Gateway, Trail
from hubferry.pull.answer import error_answer, internal_error, log_fields, log_level
from hubferry.server.bodies import (
    WHY_CUT,
    ZERO_COPY_SEND,
    Client,
    ClientGone,
    CutShort,
    Message,
    Progress,
    Receive,
    Send,
    send_body,
    send_bytes,
)
from hubferry.server.log import AccessLog, logger
from hubferry.server.pages import PAGE_REQUEST
from hubferry.server.recent import Recent
from hubferry.server.room import SMALL_BYTES, Room

if TYPE_CHECKING:
    from hubferry.server.metrics import Counters

Asgi = Callable[[Any, Receive, Send], Awaitable[None]]
BODILESS = (204, 304)
FORM_S = 10.0


@dataclass(slots=True)
class Record:
    """What the access log will say of a request."""

    trail: Trail
    status: int = 502
    progress: Progress = field(default_factory=Progress)
    reusable: Answer | None = None


class App:
    """ASGI callable around one Gateway."""

    def __init__(
        self,
        gateway: Gateway,
        pages: Asgi,
        access_log: AccessLog,
        trusted_proxies: Sequence[Network],
        shutdown: Callable[[], Awaitable[None]],
        *,
        start: Callable[[], None] | None = None,
        counters: "Counters | None" = None,
        count_fills: Callable[[], int],
    ) -> None:
        """`start` begins what goes on beside the requests, `shutdown` ends everything."""
        self._gateway = gateway
        self._room = Room()
        self.recent = Recent(gateway.revision)
        self.count_fills = count_fills
        self._pages = pages
        self._access_log = access_log
        self._trusted = trusted_proxies
        self._start = start
        self._shutdown = shutdown
        self._counters = counters

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
                if self._start is not None:
                    self._start()
            elif message["type"] == "lifespan.shutdown":
                await self._shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Any, receive: Receive, send: Send) -> None:
        started, revision = time.monotonic(), self._gateway.revision()
        client = Client(receive, send, takes_regions=ZERO_COPY_SEND in scope.get("extensions", ()))
        record = Record(Trail())
        request = behind_proxy(read_request(scope), self._trusted)
        try:
            if request.method == "POST" and is_token_path(request.path):
                request = replace(request, body=await read_form(receive))
            await self._serve(scope, request, client, record)
        except ClientGone:
            record.trail.outcome, record.status = "gone", 499
        except asyncio.CancelledError:  # the client hung up or was cut (protocol.py), or the time to finish is over
            record.trail.outcome, record.status = "gone", 499
            record.trail.problem = scope.get(WHY_CUT, record.trail.problem)
            raise
        except CutShort as error:
            # returning before the body is complete makes uvicorn close the connection (FIN, no last chunk), so
            # that nobody takes half a body for a whole one
            record.trail.outcome, record.trail.problem = "cut", str(error)
        except OciError as error:
            await self._deliver(request, error_answer(error), client, record)
        except Exception:  # noqa: BLE001 - nothing of ours may reach a client; the connection is cut
            record.trail.outcome = "error"
            logger().exception("internal_error", method=request.method, path=request.path[:512])
        finally:
            tell = self._teller(request, record)
            tell(time.monotonic() - started)
        if record.reusable is not None:
            self.recent.keep(scope, record.reusable, tell, revision)

    def _teller(self, request: Request, record: "Record") -> Callable[[float], None]:
        """What is told of an answer, by how many seconds it took, to the log and the counters."""
        trail, status, sent_bytes, counters = record.trail, record.status, record.progress.sent_bytes, self._counters
        line = self._access_log.line(
            log_level(status, trail), log_fields(request, status, trail, {"bytes": sent_bytes})
        )

        def tell(seconds: float) -> None:
            line.write(seconds)
            if counters is not None:
                counters.answered(trail, status, sent_bytes)

        return tell

    async def _serve(self, scope: Any, request: Request, client: Client, record: "Record") -> None:
        answer = await self._answer(request)
        if answer is None:
            await self._page({**scope, PAGE_REQUEST: request}, client, record)
            return
        wish = Wish(address_group(request.peer), _held_bytes(request, answer))
        if wish.size_bytes <= SMALL_BYTES:
            await self._deliver_or_tell(request, answer, client, record)
            return
        if not self._room.take_now(wish):
            # let go of it, and make it again when there is room: who waits holds nothing
            answer = None
            await self._room.take(wish)
        try:
            answer = answer or await self._answer(request) or internal_error()
            await self._deliver_or_tell(request, answer, client, record)
        finally:
            self._room.give_back(wish)

    async def _answer(self, request: Request) -> Answer | None:
        """What the gateway says; None: that is for the pages."""
        try:
            return await self._gateway.handle(request)
        except Exception:  # noqa: BLE001 - the last resort: log everything, tell the client nothing but that
            logger().exception("internal_error", method=request.method, path=request.path[:512])
            return internal_error()

    async def _deliver_or_tell(self, request: Request, answer: Answer, client: Client, record: "Record") -> None:
        record.trail = answer.trail
        try:
            await self._deliver(request, answer, client, record)
        except UpstreamFailure as error:
            failed = self._gateway.failed_before_body(request, answer.trail, error)
            record.trail = failed.trail
            await self._deliver(request, failed, client, record)

    async def _deliver(self, request: Request, answer: Answer, client: Client, record: "Record") -> None:
        record.status = answer.status
        try:
            head = [(name.encode("ascii"), value.encode("latin-1")) for name, value in answer.headers]
        except UnicodeEncodeError:
            await close(answer)
            raise
        start: Message = {"type": "http.response.start", "status": answer.status, "headers": head}
        body = answer.body
        if body is None or isinstance(body, bytes):
            content = b"" if body is None or request.method == "HEAD" or answer.status in BODILESS else body
            await client.send(start)
            await send_bytes(content, client, record.progress)
            record.reusable = answer
            return
        length = get(answer.headers, "content-length")
        # bodies are opaque to the orchestrator; on the server they are all readable
        await send_body(body, int(length) if length else None, start, client, record.progress)  # type: ignore[arg-type]

    async def _page(self, scope: Any, client: Client, record: "Record") -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await client.send(message)
            record.progress.sent_bytes += len(message.get("body", b""))

        await self._pages(scope, client.receive, watched)


def _held_bytes(request: Request, answer: Answer) -> int:
    """How much memory an answer takes while it is sent; bodies that are read in pieces bound themselves."""
    return len(answer.body) if isinstance(answer.body, bytes) and request.method != "HEAD" else 0


async def close(answer: Answer) -> None:
    """Give back the body of an answer that is not delivered."""
    if answer.body is not None and not isinstance(answer.body, bytes):
        await answer.body.close()


def read_request(scope: Any) -> Request:
    """An ASGI scope as a Request. Several Host headers become an empty one, which routing refuses."""
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    hosts = [value for name, value in headers if name == "host"]
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        scheme=scope["scheme"],
        host=hosts[0] if len(hosts) == 1 else "",
        peer=client[0] if client else "",
    )


async def read_form(receive: Receive) -> bytes:
    """The body of a token request. Raises OciError 408 and 413, ClientGone."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(FORM_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone("the client hung up within its form")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_FORM:
                    raise OciError(413, Code.UNSUPPORTED, f"a form of more than {MAX_FORM} bytes is not supported")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise OciError(408, Code.UNSUPPORTED, f"the form did not arrive within {FORM_S:g} s") from None
