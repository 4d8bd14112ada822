"""Where a document that others wrote is parsed: a large one beside the event loop, one after the other.

Invariant: an event loop is held for no more than LARGE_BYTES of what was not ours to write. Parsing keeps the
interpreter busy, so several threads would gain nothing, and each document takes many times its length in memory while
it is parsed. Not here: parsing itself (core/documents.py), and what is parsed only after its digest was compared.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hubferry.core.http import get
from hubferry.ports.upstream import Transport, UpstreamResponse

LARGE_BYTES = 64 * 2**10
AT_ONCE = 4  # large documents of one upstream that are in memory before they are parsed
MAX_LENGTH_DIGITS = 16
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="parsing")  # begins with its first document, lasts with the process

T = TypeVar("T")


class Documents:
    """Reads documents of upstreams whole, large ones AT_ONCE at a time for each upstream.

    What waits for its turn to be parsed is in memory, and clients decide how much is asked for at the same time.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._turns: dict[str, asyncio.Semaphore] = {}

    async def read(
        self, upstream: str, response: UpstreamResponse, limit_bytes: int, parse: Callable[[bytes], T]
    ) -> tuple[bytes, T]:
        """Return the body of an answer, and what `parse` makes of it; see `parsed`.

        Raises UpstreamFailure, TooLarge, and what `parse` raises.
        """
        said = get(response.headers, "content-length") or ""
        is_small = said.isdecimal() and len(said) < MAX_LENGTH_DIGITS and int(said) <= LARGE_BYTES
        if is_small or sys.platform == "emscripten":  # in the Worker no request may wait for another one
            return await self._read(response, limit_bytes, parse)
        turn = self._turns.setdefault(upstream, asyncio.Semaphore(AT_ONCE))
        try:
            await turn.acquire()
        except BaseException:
            await response.body.close()
            raise
        try:
            return await self._read(response, limit_bytes, parse)
        finally:
            turn.release()

    async def _read(self, response: UpstreamResponse, limit_bytes: int, parse: Callable[[bytes], T]) -> tuple[bytes, T]:
        content = await self._transport.read(response, limit_bytes)
        return content, await parsed(content, parse)


async def parsed(document: bytes, parse: Callable[[bytes], T]) -> T:
    """Return `parse(document)`, run on a thread when the document is large. Raises what `parse` raises."""
    if len(document) <= LARGE_BYTES or sys.platform == "emscripten":  # in the Worker there are no threads
        return parse(document)
    return await asyncio.get_running_loop().run_in_executor(_THREAD, parse, document)
