"""Answers of a moment ago, as the bytes that they were: given again to whoever asks for exactly the same.

A fleet of machines asks for the same tags in the same words all day. What the gateway said from what it keeps may be
said again for as long as it allowed (Answer.reusable_s), but not after it learned anything that may change answers
(Gateway.revision). The key is all that an answer can depend on: the request's own bytes, its peer and scheme.
Each answer given again is logged and counted like any other. Not here: giving them (protocol.py), what may be (pull).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from hubferry.core.http import get
from hubferry.pull import Answer
from hubferry.pull.lately import Lately

MAX_BYTES = 64 * 1024  # a request and its answer; larger manifests cost more in sending than in deciding
MAX_TOTAL_BYTES = 16 * 2**20  # requests and answers, with what keeping them takes
ENTRY_BYTES = 2048  # measured: log line, trail and objects of an entry, without its URL, headers and answer
HEADER_BYTES = 200  # measured: the objects of one header of a request

Key = tuple[bytes, bytes, str, str, tuple[tuple[bytes, bytes], ...]]


@dataclass(frozen=True, slots=True)
class Recalled:
    """One answer as it is sent, what tells log and counters of it, and for how long it holds (monotonic).

    Between `status_line` and `rest` belongs what the server says of itself, such as the date.
    """

    status_line: bytes
    rest: bytes
    tell: Callable[[float], None]
    until: float
    revision: int


class Recent:
    """The answers of one worker process."""

    def __init__(self, revision: Callable[[], int]) -> None:
        """`revision` changes whenever an answer may have become another."""
        self._revision = revision
        self._entries: Lately[Recalled] = Lately(MAX_TOTAL_BYTES // ENTRY_BYTES, MAX_TOTAL_BYTES)

    def find(self, key: Key, now: float) -> Recalled | None:
        """The answer to exactly this request, while it holds; `now` is monotonic, in seconds."""
        found = self._entries.get(key)
        if found is None or found.until < now or found.revision != self._revision():
            return None
        return found

    def keep(self, scope: Any, answer: Answer, tell: Callable[[float], None], revision: int) -> None:
        """Remember what was answered, if it may be said again; `revision` is from before it was decided."""
        body = answer.body or b""
        if answer.reusable_s <= 0 or not isinstance(body, bytes) or len(body) > MAX_BYTES:
            return
        if revision != self._revision() or get(answer.headers, "content-length") is None:
            return
        status_line = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n".encode("ascii")
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers).encode("latin-1") + b"\r\n"
        rest = head if scope["method"] == "HEAD" else head + body
        key = key_of(scope)
        size_bytes = len(rest) + size_of(key)
        if size_bytes > MAX_BYTES:
            return
        until = time.monotonic() + answer.reusable_s
        self._entries.put(key, Recalled(status_line, rest, tell, until, revision), size_bytes)


def size_of(key: Key) -> int:
    """What an entry takes in memory beside its answer, in bytes."""
    _, url, _, _, headers = key
    return ENTRY_BYTES + len(url) + sum(len(name) + len(value) + HEADER_BYTES for name, value in headers)


def key_of(scope: Any) -> Key:
    """What `protocol` makes of a request before there is a scope."""
    query = scope["query_string"]
    url = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
    client = scope["client"]
    return (scope["method"].encode(), url, client[0] if client else "", scope["scheme"], tuple(scope["headers"]))
