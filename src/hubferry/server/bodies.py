"""Sends a body to a client: at the client's pace, and exactly as long as declared.

A client that hangs up is not watched for here: its task is cancelled (protocol.py), and the body is closed.
A body that breaks off is never ended properly: the connection is cut, so that no client takes half for whole.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from hubferry.ports import UpstreamFailure

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


HEAD_PATIENCE_S = 0.5  # containerd 2.3 gives up after 30 s without a head; people much earlier


class Readable(Protocol):
    """A body that the server can read."""

    async def read(self) -> bytes | None:
        """The next piece, None at the end. Raises UpstreamFailure."""

    async def close(self) -> None:
        """Give it back."""


@dataclass(slots=True)
class Progress:
    """How many bytes were handed to the client's connection so far."""

    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """The two ends of ASGI."""

    receive: Receive
    send: Send


class ClientGone(Exception):
    """The client hung up before its answer was complete."""


class CutShort(Exception):
    """The body ended early; the connection must be cut."""


async def send_body(body: Readable, length: int | None, start: Message, send: Send, progress: Progress) -> None:
    """Send the head `start` and pump a body after it; closes the body, also when it is cancelled.

    Raises UpstreamFailure when the upstream breaks off before a byte was promised to the client, CutShort when it
    does so later or sends another length than declared.
    """
    try:
        await _pump(body, length, start, send, progress)
    finally:
        await body.close()


async def _pump(body: Readable, length: int | None, start: Message, send: Send, progress: Progress) -> None:
    first = asyncio.ensure_future(body.read())
    try:
        # a body that breaks at once can still be answered with an error; one that is slow must not hold the head
        done, _ = await asyncio.wait({first}, timeout=HEAD_PATIENCE_S)
        if done:
            first.result()
        await send(start)
        if not done:
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        await _pump_rest(body, first, length, send, progress)
    finally:
        first.cancel()


async def _pump_rest(
    body: Readable, first: asyncio.Future[bytes | None], length: int | None, send: Send, progress: Progress
) -> None:
    try:
        chunk = await first
        while chunk is not None:
            if length is not None and progress.sent_bytes + len(chunk) > length:
                raise CutShort("the upstream sent more than it declared")
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            progress.sent_bytes += len(chunk)
            # when upstream and client are both fast nothing above waits, and everybody else would
            await asyncio.sleep(0)
            chunk = await body.read()
    except UpstreamFailure as error:
        raise CutShort(str(error)) from None
    if length is not None and progress.sent_bytes != length:
        raise CutShort(f"the upstream sent {progress.sent_bytes} of {length} bytes")
    await send({"type": "http.response.body", "body": b"", "more_body": False})
