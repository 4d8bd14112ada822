"""Send a body to a client: at the client's pace, and with exactly the declared length.

This module does not watch for clients that hang up: protocol.py cancels their task, and the body is closed.
When a body breaks off, the answer is not ended properly: the connection is cut, so that no client takes half a body for
a whole one.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from hubferry.ports.content import Region
from hubferry.ports.upstream import Readable, UpstreamFailure

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


ZERO_COPY_SEND = "http.response.zerocopysend"  # ASGI extension "Zero Copy Send": sends a part of an open file
WHY_CUT = "hubferry.why_cut"  # key in the scope: why the connection was cut, for the access log
PIECE_BYTES = 64 * 1024  # how much is sent at a time of a body that is in memory as a whole
HEAD_PATIENCE_S = 0.5  # containerd 2.3 gives up after 30 s without a head; people much earlier


@dataclass(slots=True)
class SendProgress:
    """How many bytes of the body were handed to the client's connection so far."""

    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """The client of one request: ASGI's `send`, and whether parts of files may be sent to it.

    `pay` is told how many bytes of a body were sent, and returns when there may be more; None: at once.
    """

    send: Send
    takes_regions: bool = False
    pay: Callable[[int], Awaitable[None]] | None = None


class ClientGone(Exception):
    """The client hung up before its answer was complete."""


class CutShort(Exception):
    """The body ended early or has a wrong length, so the connection must be cut."""


async def send_bytes(content: bytes, client: Client, progress: SendProgress) -> None:
    """Send a body that is in memory as a whole.

    It is sent in pieces, so that the buffer of the client's connection never holds all of it.
    """
    for start in range(0, max(1, len(content)), PIECE_BYTES):
        piece = content if len(content) <= PIECE_BYTES else content[start : start + PIECE_BYTES]
        is_more = start + PIECE_BYTES < len(content)
        await client.send({"type": "http.response.body", "body": piece, "more_body": is_more})
        progress.sent_bytes += len(piece)


async def send_body(body: Readable, length: int | None, start: Message, client: Client, progress: SendProgress) -> None:
    """Send the head `start` and then the body. The body is closed in any case, also when this is cancelled.

    `length` is the declared length in bytes; None: it is not known. Raises UpstreamFailure when the body fails before
    the head was sent: then the client can still be sent an error. Raises CutShort when the body fails later or has
    another length than declared.
    """
    try:
        await _pump(body, length, start, client, progress)
    finally:
        await body.close()


async def _pump(body: Readable, length: int | None, start: Message, client: Client, progress: SendProgress) -> None:
    next_region = getattr(body, "next_region", None) if client.takes_regions and length is not None else None
    chunk = await _begin(body, start, client)
    try:
        while chunk is not None:
            if length is not None and progress.sent_bytes + len(chunk) > length:
                raise CutShort("the upstream sent more than it declared")
            await client.send({"type": "http.response.body", "body": chunk, "more_body": True})
            progress.sent_bytes += len(chunk)
            size_bytes = len(chunk)
            chunk = None  # frees the memory: the rest may take a slow client long, and there may be thousands of them
            # when upstream and client are both fast, nothing above waits, and all other tasks would have to
            await asyncio.sleep(0)
            if client.pay is not None:
                await client.pay(size_bytes)
            while next_region is not None and (region := await next_region()) is not None:
                await client.send(_file_part(region))
                progress.sent_bytes += region.size_bytes
                await asyncio.sleep(0)
                if client.pay is not None:
                    await client.pay(region.size_bytes)
            chunk = await body.read()
    except UpstreamFailure as error:
        raise CutShort(str(error)) from None
    if length is not None and progress.sent_bytes != length:
        raise CutShort(f"the upstream sent {progress.sent_bytes} of {length} bytes")
    await client.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _begin(body: Readable, start: Message, client: Client) -> bytes | None:
    """Send the head, and return the first piece of the body, or None when the body is empty.

    Raises UpstreamFailure when the body fails before the head was sent, and CutShort when it fails after that.
    """
    first = asyncio.ensure_future(body.read())
    try:
        # if the body fails at once, the client can still be sent an error; a slow body must not delay the head for long
        await asyncio.wait({first}, timeout=HEAD_PATIENCE_S)
        is_late = not first.done()
        if not is_late:
            first.result()
        await client.send(start)
        if is_late:
            await client.send({"type": "http.response.body", "body": b"", "more_body": True})
        try:
            return await first
        except UpstreamFailure as error:
            raise CutShort(str(error)) from None
    finally:
        if not first.done():  # a body must not be closed while it is being read
            first.cancel()
            await asyncio.wait({first})


def _file_part(region: Region) -> Message:
    return {
        "type": ZERO_COPY_SEND,
        "file": region.descriptor,
        "offset": region.offset,
        "count": region.size_bytes,
        "more_body": True,
    }
