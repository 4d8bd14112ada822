"""Sends a body to a client: at the client's pace, and exactly as long as declared.

A client that hangs up is not watched for here: its task is cancelled (protocol.py), and the body is closed.
A body that breaks off is never ended properly: the connection is cut, so that no client takes half for whole.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from hubferry.ports import Readable, Region, UpstreamFailure

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


ZERO_COPY_SEND = "http.response.zerocopysend"  # ASGI, "Zero Copy Send": a part of an open file
WHY_CUT = "hubferry.why_cut"  # in the scope of a request whose client took too little: for its line in the log
PIECE_BYTES = 64 * 1024  # of a body that is in memory as a whole
HEAD_PATIENCE_S = 0.5  # containerd 2.3 gives up after 30 s without a head; people much earlier


@dataclass(slots=True)
class Progress:
    """How many bytes were handed to the client's connection so far."""

    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """The two ends of ASGI, and whether parts of files may be sent."""

    receive: Receive
    send: Send
    takes_regions: bool = False


class ClientGone(Exception):
    """The client hung up before its answer was complete."""


class CutShort(Exception):
    """The body ended early; the connection must be cut."""


async def send_bytes(content: bytes, client: Client, progress: Progress) -> None:
    """Send a whole body that is in memory, in pieces: the client's connection is not given all of it to hold."""
    for start in range(0, max(1, len(content)), PIECE_BYTES):
        piece = content if len(content) <= PIECE_BYTES else content[start : start + PIECE_BYTES]
        is_more = start + PIECE_BYTES < len(content)
        await client.send({"type": "http.response.body", "body": piece, "more_body": is_more})
        progress.sent_bytes += len(piece)


async def send_body(body: Readable, length: int | None, start: Message, client: Client, progress: Progress) -> None:
    """Send the head `start` and pump a body after it; closes the body, also when it is cancelled.

    Raises UpstreamFailure when the upstream breaks off before a byte was promised to the client, CutShort when it
    does so later or sends another length than declared.
    """
    try:
        await _pump(body, length, start, client, progress)
    finally:
        await body.close()


async def _pump(body: Readable, length: int | None, start: Message, client: Client, progress: Progress) -> None:
    next_region = getattr(body, "next_region", None) if client.takes_regions and length is not None else None
    chunk = await _begin(body, start, client)
    try:
        while chunk is not None:
            if length is not None and progress.sent_bytes + len(chunk) > length:
                raise CutShort("the upstream sent more than it declared")
            await client.send({"type": "http.response.body", "body": chunk, "more_body": True})
            progress.sent_bytes += len(chunk)
            chunk = None  # what follows may take a slow client long, and there may be thousands of them
            # when upstream and client are both fast nothing above waits, and everybody else would
            await asyncio.sleep(0)
            while next_region is not None and (region := await next_region()) is not None:
                await client.send(_file_part(region))
                progress.sent_bytes += region.size_bytes
                await asyncio.sleep(0)
            chunk = await body.read()
    except UpstreamFailure as error:
        raise CutShort(str(error)) from None
    if length is not None and progress.sent_bytes != length:
        raise CutShort(f"the upstream sent {progress.sent_bytes} of {length} bytes")
    await client.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _begin(body: Readable, start: Message, client: Client) -> bytes | None:
    """Send the head; the first piece. Raises UpstreamFailure before the head, CutShort after it."""
    first = asyncio.ensure_future(body.read())
    try:
        # a body that breaks at once can still be answered with an error; one that is slow must not hold the head
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
        if not first.done():  # a body must not be closed under its own read
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
