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

LARGE_BYTES = 64 * 2**10
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="parsing")  # begins with its first document, lasts with the process

T = TypeVar("T")


async def parsed(document: bytes, parse: Callable[[bytes], T]) -> T:
    """Return `parse(document)`, run on a thread when the document is large. Raises what `parse` raises."""
    if len(document) <= LARGE_BYTES or sys.platform == "emscripten":  # in the Worker there are no threads
        return parse(document)
    return await asyncio.get_running_loop().run_in_executor(_THREAD, parse, document)
