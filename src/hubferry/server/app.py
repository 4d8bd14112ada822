"""The ASGI application: one request in, one answer out, one line in the log.

Paths that are not part of the registry protocol (`/`, `/robots.txt`, `/healthz`, `/metrics`) are answered with pages.
When something fails inside, the client receives an OCI error without details. Once a body has begun, the connection is
cut instead.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hubferry.core.body_memory import MemoryRequest
from hubferry.core.client import Network, address_group, behind_proxy
from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request, get
from hubferry.core.routing import is_token_path
from hubferry.core.token_request import MAX_FORM
from hubferry.core.users import take_secret_from_path
from hubferry.gateway.answer import AccessRecord, Answer, error_answer, internal_error, log_fields, log_level
from hubferry.gateway.gateway import Gateway
from hubferry.pages.page import NO_STORE, missing
from hubferry.pages.page import answer as page_answer
from hubferry.pages.site import Site, form_limit
from hubferry.ports.shell import UNLIMITED, Visit
from hubferry.ports.upstream import UpstreamFailure
from hubferry.server.audit import AuditLog
from hubferry.server.bodies import (
    WHY_CUT,
    ZERO_COPY_SEND,
    Client,
    ClientGone,
    CutShort,
    Message,
    Receive,
    Send,
    SendProgress,
    send_body,
    send_bytes,
)
from hubferry.server.body_memory import SMALL_BYTES, BodyMemoryQueue
from hubferry.server.log import AccessLog, logger
from hubferry.server.recent import RecentAnswers, Repeating

if TYPE_CHECKING:
    from hubferry.server.activity import Activity
    from hubferry.server.metrics import Counters
    from hubferry.server.usage import ClientVisit, Usage

# returns the text of /metrics for a request as it arrived, or None when its client may not read it
ReadMetrics = Callable[[Request], Awaitable[bytes | None]]
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
BODILESS = (204, 304)
FORM_S = 10.0


@dataclass(slots=True)
class Delivery:
    """How far the answer to a request has been sent, and what the access log will say about it.

    `reusable` is an answer that was sent completely from memory; recent.py decides whether it may be sent again.
    `visit` counts what the client uses; None: nothing is limited.
    """

    record: AccessRecord = field(default_factory=AccessRecord)
    status: int = 502
    progress: SendProgress = field(default_factory=SendProgress)
    reusable: Answer | None = None
    visit: "ClientVisit | None" = None


class App:
    """The ASGI application of one worker process, around one Gateway."""

    def __init__(
        self,
        gateway: Gateway,
        site: Site,
        access_log: AccessLog,
        trusted_proxies: Sequence[Network],
        shutdown: Callable[[], Awaitable[None]],
        *,
        start: Callable[[], None] | None = None,
        counters: "Counters | None" = None,
        read_metrics: ReadMetrics | None = None,
        count_fills: Callable[[], int],
        usage: "Usage | None" = None,
        audit: AuditLog | None = None,
        activity: "Activity | None" = None,
        end_streams: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up the application.

        `start` begins work that goes on beside the requests, such as keeping images warm. `shutdown` ends that work and
        releases everything. `count_fills` returns how many blobs are being fetched at the moment. `usage` counts what
        clients use; None: nothing is limited. `audit` gets what they pulled, `activity` what operators see of it.
        `end_streams` ends answers that would never end by themselves.
        """
        self._gateway = gateway
        self._body_memory = BodyMemoryQueue()
        self._form_memory = BodyMemoryQueue()  # not that of bodies: who sends a form slowly makes no pull wait
        self.recent = RecentAnswers(gateway.revision)
        self.count_fills = count_fills
        self._site = site
        self._read_metrics = read_metrics
        self._access_log = access_log
        self._trusted = trusted_proxies
        self._start = start
        self._shutdown = shutdown
        self._counters = counters
        self._usage = usage
        self._audit = audit
        self._activity = activity
        self.end_streams = end_streams

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle one HTTP request, or the lifespan events of the process. This is the ASGI entry point."""
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
        client = Client(send, takes_regions=ZERO_COPY_SEND in scope.get("extensions", ()))
        arrived = read_request(scope)
        request = take_secret_from_path(behind_proxy(arrived, self._trusted))
        delivery = Delivery(visit=None if self._usage is None else self._usage.visit(request.peer))
        try:
            if request.method == "POST" and is_token_path(request.path):
                request = replace(request, body=await read_form(receive, MAX_FORM))
            if request.method == "POST" and form_limit(request.path):
                await self._serve_form(arrived, request, receive, client, delivery)
            else:
                await self._serve(arrived, request, client, delivery)
        except ClientGone:
            delivery.record, delivery.status = delivery.record.ended("gone"), 499
        except asyncio.CancelledError:  # the client hung up or was cut (protocol.py), or the shutdown grace is over
            delivery.record, delivery.status = delivery.record.ended("gone", scope.get(WHY_CUT)), 499
            raise
        except CutShort as error:
            # returning before the body is complete makes uvicorn close the connection (FIN, no last chunk), so that no
            # client takes half a body for a whole one
            delivery.record = delivery.record.ended("cut", str(error))
        except OciError as error:
            await self._deliver(request, error_answer(error), client, delivery)
        except Exception:  # noqa: BLE001 - no internal error may reach a client
            delivery.record = delivery.record.ended("error")
            logger().exception("internal_error", method=request.method, path=request.path[:512])
            await self._tell_of_failure(request, client, delivery)
        finally:
            if delivery.visit is not None:
                delivery.visit.close()
            tell = self._teller(request, delivery)
            tell(time.monotonic() - started)
        if delivery.reusable is not None:
            may_repeat = None if delivery.visit is None else delivery.visit.may_repeat
            self.recent.keep(scope, delivery.reusable, Repeating(revision, tell, may_repeat))

    async def _serve_form(
        self, arrived: Request, request: Request, receive: Receive, client: Client, delivery: Delivery
    ) -> None:
        """Read the form of a page when there is room for it, and answer it. Raises OciError, ClientGone."""
        memory = MemoryRequest(address_group(request.peer), form_limit(request.path))
        await self._form_memory.take(memory)
        try:
            request = replace(request, body=await read_form(receive, memory.size_bytes))
            await self._serve(arrived, request, client, delivery)
        finally:
            self._form_memory.give_back(memory)

    def _teller(self, request: Request, delivery: Delivery) -> Callable[[float], None]:
        """Return a function that reports the answer to the access log and the counters, given its duration in seconds.

        It is called again each time that the same answer is sent again (recent.py).
        """
        record, status, sent_bytes = delivery.record, delivery.status, delivery.progress.sent_bytes
        counters, audit, activity = self._counters, self._audit, self._activity
        line = self._access_log.line(
            log_level(status, record), log_fields(request, status, record, {"bytes": sent_bytes})
        )

        def tell(seconds: float) -> None:
            line.write(seconds)
            if counters is not None:
                counters.answered(record, status, sent_bytes)
            if activity is not None:
                activity.answered(record, status, sent_bytes)
            if audit is not None:
                audit.write(request, status, record, sent_bytes)

        return tell

    async def _serve(self, arrived: Request, request: Request, client: Client, delivery: Delivery) -> None:
        answer: Answer | None
        answer = await self._answer(arrived, request, delivery)
        held_bytes = _held_bytes(request, answer)
        if delivery.visit is not None and held_bytes:
            if delivery.visit.may_wait and held_bytes > SMALL_BYTES:
                answer = None  # made again below: who waits holds no memory
            await delivery.visit.pay_before(held_bytes)
        if answer is not None and held_bytes <= SMALL_BYTES:
            await self._deliver_or_tell(request, answer, client, delivery)
            return
        memory = MemoryRequest(address_group(request.peer), held_bytes)
        if not self._body_memory.take_now(memory):
            # drop the answer, and make it again when there is room: a request that waits must hold no memory
            answer = None
            await self._body_memory.take(memory)
        try:
            answer = answer or await self._answer(arrived, request, delivery)
            async with self._body_memory.sending(memory):
                await self._deliver_or_tell(request, answer, client, delivery)
        finally:
            self._body_memory.give_back(memory)

    async def _answer(self, arrived: Request, request: Request, delivery: Delivery) -> Answer:
        """Return the gateway's answer, or a page for a path outside the registry protocol.

        An unexpected exception is logged and becomes an answer as well.
        """
        visit = delivery.visit or UNLIMITED
        try:
            return await self._gateway.handle(request, visit) or await self._page(arrived, request, visit)
        except Exception:  # noqa: BLE001 - the last resort: log everything, tell the client only that it failed
            logger().exception("internal_error", method=request.method, path=request.path[:512])
            return internal_error()

    async def _deliver_or_tell(self, request: Request, answer: Answer, client: Client, delivery: Delivery) -> None:
        delivery.record = answer.record
        try:
            await self._deliver(request, answer, client, delivery)
        except UpstreamFailure as error:
            failed = self._gateway.failed_before_body(request, answer.record, error)
            delivery.record = failed.record
            await self._deliver(request, failed, client, delivery)

    async def _tell_of_failure(self, request: Request, client: Client, delivery: Delivery) -> None:
        """Send the 502 of an internal error, unless a head was sent already. Then the connection is cut."""
        status = delivery.status
        try:
            await self._deliver(request, internal_error(), client, delivery)
        except Exception:  # noqa: BLE001 - ASGI servers refuse a second head, and the client may have left
            delivery.status = status

    async def _deliver(self, request: Request, answer: Answer, client: Client, delivery: Delivery) -> None:
        delivery.status = answer.status
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
            await send_bytes(content, client, delivery.progress)
            delivery.reusable = answer
            return
        length = get(answer.headers, "content-length")
        # `Answer.body` is opaque for the gateway, but on the server every body is `Readable`
        if delivery.visit is not None:
            client = replace(client, pay=delivery.visit.pay)
        await send_body(body, int(length) if length else None, start, client, delivery.progress)  # type: ignore[arg-type]

    async def _page(self, arrived: Request, request: Request, visit: Visit) -> Answer:
        """Return the answer for a path outside the registry protocol.

        `arrived` is the request as it came in, before the headers of trusted proxies were applied. Who may read the
        metrics is decided from it.
        """
        if request.path == "/metrics" and request.method in ("GET", "HEAD") and self._read_metrics is not None:
            metrics = await self._read_metrics(arrived)
            return missing(request) if metrics is None else page_answer(200, PROMETHEUS_TEXT, metrics, NO_STORE)
        return await self._site.answer(request, visit, arrived)


def _held_bytes(request: Request, answer: Answer) -> int:
    """Return how many bytes of memory an answer holds while it is sent.

    Bodies that are read in pieces count as 0, because they hold one piece at a time.
    """
    return len(answer.body) if isinstance(answer.body, bytes) and request.method != "HEAD" else 0


async def close(answer: Answer) -> None:
    """Close the body of an answer that will not be sent."""
    if answer.body is not None and not isinstance(answer.body, bytes):
        await answer.body.close()


def read_request(scope: Any) -> Request:
    """Turn an ASGI scope into a Request, without a body.

    When there are several Host headers, `host` is empty, which core.client.check_request refuses.
    """
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


async def read_form(receive: Receive, most_bytes: int) -> bytes:
    """Read the form that a client sends.

    Raises OciError 408 when it does not arrive within FORM_S, OciError 413 when it is larger than `most_bytes`, and
    ClientGone.
    """
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
                if size > most_bytes:
                    raise OciError(413, Code.UNSUPPORTED, f"a form of more than {most_bytes} bytes is not supported")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise OciError(408, Code.UNSUPPORTED, f"the form did not arrive within {FORM_S:g} s") from None
