"""What goes over the wire of a test server: a request received, the reply and how it is sent, and the record.

Data and a recorder, no sockets. Not here: reading and writing bytes (wire.py).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.content import Blob
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ending", "Exchange", "Header", "Received", "Recorder", "Reply", "State"]

Header = tuple[str, str]
Ending = Literal["fin", "rst"]
State = Literal["open", "complete", "cut", "aborted"]

_TRANSCRIPT = 40


@dataclass(frozen=True)
class Received:
    """One request as it arrived; `at` is a monotonic time, `raw_head` the bytes up to the empty line."""

    role: str
    method: str
    target: str
    headers: tuple[Header, ...]
    raw_head: bytes = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    at: float = 0.0
    connection: int = 0
    local_url: str = ""

    @cached_property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode("latin-1"), keep_blank_values=True)

    def header(self, name: str) -> str | None:
        """All values of that header joined by commas, or None."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def first(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True)
class Reply:
    """An answer, and the way it is to be sent.

    `stop` and `start` choose a part of `body`. Offsets of faults count bytes of what is sent of the body.
    `declared_length`: None sends the true Content-Length, "none" sends none and ends by closing.
    """

    status: int = 200
    headers: tuple[Header, ...] = ()
    body: Blob = field(default_factory=lambda: Blob(b""))
    start: int = 0
    stop: int | None = None
    declared_length: int | Literal["none"] | None = None
    chunked: bool = False
    delay_s: float = 0.0
    stall_before_head: bool = False
    stall_after: int | None = None
    cut_after: int | None = None
    ending: Ending = "fin"
    flip_at: int | None = None
    bytes_per_s: int | None = None
    close: bool = False
    hang_up: bool = False

    @property
    def length(self) -> int:
        return (self.body.size if self.stop is None else self.stop) - self.start

    def with_header(self, name: str, value: str | None) -> Reply:
        """Replace every header of that name; None removes them."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))


@dataclass
class Exchange:
    """A request and what became of its reply.

    `state` is "open" while it is being sent, then "complete", "cut" (by a fault) or "aborted" (by the peer).
    """

    request: Received
    status: int = 0
    sent: int = 0
    state: State = "open"


class Recorder:
    """Every exchange of one or more servers, in order of arrival; safe to read from the test's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exchanges: list[Exchange] = []

    def add(self, exchange: Exchange) -> None:
        with self._lock:
            self._exchanges.append(exchange)

    def finish(self, exchange: Exchange, state: State) -> None:
        with self._lock:
            exchange.state = state

    @property
    def exchanges(self) -> list[Exchange]:
        with self._lock:
            return list(self._exchanges)

    def find(self, role: str | None = None, method: str | None = None, path: str | None = None) -> list[Exchange]:
        """The exchanges of that role and method whose path contains `path`."""
        return [
            exchange
            for exchange in self.exchanges
            if role in (None, exchange.request.role)
            and method in (None, exchange.request.method)
            and (path is None or path in exchange.request.path)
        ]

    def count(self, role: str | None = None, method: str | None = None, path: str | None = None) -> int:
        return len(self.find(role, method, path))

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait until `condition()` holds; a failure tells of the last exchanges."""
        wait_until(condition, "what is waited for", timeout_s, seen=self.transcript)

    def clear(self) -> None:
        with self._lock:
            self._exchanges.clear()

    def transcript(self) -> str:
        """One line for each of the last exchanges, for messages of failed tests."""
        return "\n".join(
            f"{e.request.role:5} {e.request.method} {e.request.target[:150]} -> {e.status} {e.state} {e.sent}"
            for e in self.exchanges[-_TRANSCRIPT:]
        )
