"""Remember the bytes of answers for a moment, and send them again when exactly the same request comes again.

The machines of a fleet send the same requests for the same tags all day. An answer that the gateway made from kept
content may be sent again for `Answer.reusable_s` seconds, but not after the gateway learned anything that may change
answers (`Gateway.revision`). The key is everything that an answer can depend on: the request's own bytes, the client's
address and the scheme. Each answer that is sent again is logged and counted like any other. Not here: sending it
(protocol.py), deciding which answers may be sent again (pull/).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from hubferry.core.bounded import BoundedMap
from hubferry.core.http import get
from hubferry.gateway.answer import Answer

MAX_BYTES = 64 * 1024  # of a request and its answer; for larger manifests, sending costs more than deciding
MAX_TOTAL_BYTES = 16 * 2**20  # of all requests and answers, with the memory that keeping them takes
ENTRY_BYTES = 2048  # measured: log line, record and objects of an entry, without its URL, headers and answer
HEADER_BYTES = 200  # measured: the objects of one header of a request

Key = tuple[bytes, bytes, str, str, tuple[tuple[bytes, bytes], ...]]


@dataclass(frozen=True, slots=True)
class Repeating:
    """How an answer may be sent again: while `revision` is the current one, and as often as `may_repeat` allows it.

    `tell` reports the answer to log and counters, given its duration in seconds. `may_repeat` counts it for its client,
    given its size in bytes; None: nothing is limited.
    """

    revision: int
    tell: Callable[[float], None]
    may_repeat: Callable[[int], bool] | None = None


@dataclass(frozen=True, slots=True)
class RememberedAnswer:
    """One answer as the bytes that are sent.

    The server's own headers, such as the date, are inserted between `status_line` and `rest`. The answer is valid until
    `until` (monotonic seconds).
    """

    status_line: bytes
    rest: bytes
    until: float
    repeating: Repeating


class RecentAnswers:
    """The answers that one worker process remembers."""

    def __init__(self, revision: Callable[[], int]) -> None:
        """`revision` returns a number that changes whenever answers may have changed (`Gateway.revision`)."""
        self._revision = revision
        self._entries: BoundedMap[RememberedAnswer] = BoundedMap(MAX_TOTAL_BYTES // ENTRY_BYTES, MAX_TOTAL_BYTES)

    def find(self, key: Key, now: float) -> RememberedAnswer | None:
        """Return the remembered answer to exactly this request if it is still valid and its client may have it.

        `now` is the time in monotonic seconds.
        """
        found = self._entries.get(key)
        if found is None or found.until < now or found.repeating.revision != self._revision():
            return None
        may_repeat = found.repeating.may_repeat
        return found if may_repeat is None or may_repeat(len(found.rest)) else None

    def keep(self, scope: Any, answer: Answer, repeating: Repeating) -> None:
        """Remember an answer, if it may be sent again.

        `scope` is the ASGI scope of its request. The revision in `repeating` is that from before it was decided.
        """
        body = answer.body or b""
        if answer.reusable_s <= 0 or not isinstance(body, bytes) or len(body) > MAX_BYTES:
            return
        if repeating.revision != self._revision() or get(answer.headers, "content-length") is None:
            return
        status_line = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n".encode("ascii")
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers).encode("latin-1") + b"\r\n"
        rest = head if scope["method"] == "HEAD" else head + body
        key = key_of(scope)
        size_bytes = len(rest) + size_of(key)
        if size_bytes > MAX_BYTES:
            return
        until = time.monotonic() + answer.reusable_s
        self._entries.put(key, RememberedAnswer(status_line, rest, until, repeating), size_bytes)


def size_of(key: Key) -> int:
    """Return how many bytes of memory an entry takes in addition to its answer."""
    _, url, _, _, headers = key
    return ENTRY_BYTES + len(url) + sum(len(name) + len(value) + HEADER_BYTES for name, value in headers)


def key_of(scope: Any) -> Key:
    """Return the key of a request, given its ASGI scope.

    It must equal the key that protocol.py makes from a parsed head, before there is a scope.
    """
    query = scope["query_string"]
    url = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
    client = scope["client"]
    return (scope["method"].encode(), url, client[0] if client else "", scope["scheme"], tuple(scope["headers"]))
