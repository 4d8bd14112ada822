"""What the orchestrator needs of the world, as Protocols; the shells bring the parts.

Bodies are opaque to the orchestrator: it hands them on and closes them, because on the Worker their bytes never
enter Python.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hubferry.core.access import Grant
from hubferry.core.exchange import Send
from hubferry.core.http import Headers


class Cause(StrEnum):
    """What kept an upstream from answering; the words stand in messages to users."""

    DNS = "its name cannot be resolved (DNS)"
    TCP = "it cannot be connected to (TCP)"
    TLS = "TLS failed"
    TIMEOUT = "it did not answer in time (timeout)"
    ADDRESS = "its address is not allowed"
    CUT = "it closed the connection"
    PROTOCOL = "it does not speak HTTP properly"
    PROXY = "the proxy cannot reach it"


class UpstreamFailure(Exception):
    """No usable answer from a host; `detail` says more for the log and the message, without secrets."""

    def __init__(self, cause: Cause, host: str, detail: str = "") -> None:
        super().__init__(f"{host}: {cause}{': ' if detail else ''}{detail}")
        self.cause = cause
        self.host = host
        self.detail = detail


class TooLarge(Exception):
    """A body that was to be read whole is larger than its limit."""


class Body(Protocol):
    """A body that is being received. Only a shell reads it."""

    async def close(self) -> None:
        """Give the connection back, ending the transfer when it is not over. Never raises, may be repeated."""


class UpstreamResponse(Protocol):
    """The head of one answer, and its body still to come."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> Headers:
        """Names in lower case, duplicates kept."""

    @property
    def body(self) -> Body:
        """The body, not decoded."""


class Upstream(Protocol):
    """One HTTP exchange with the hosts of one configured upstream."""

    async def send(self, upstream: str, request: Send) -> UpstreamResponse:
        """Perform one request without following redirects. Raises UpstreamFailure."""

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        """The whole body, and close it. Raises UpstreamFailure, TooLarge."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest ready to be served; `body` is bytes where the shell read them, else the opaque body."""

    body: "bytes | Body"
    media_type: str
    digest: str
    size_bytes: int | None


class ManifestReader(Protocol):
    """Reads and checks a manifest, as far as the shell can."""

    async def read(self, response: UpstreamResponse, expected_digest: str) -> Manifest:
        """Check length, digest (unless empty) and media type; close the response.

        Raises UpstreamFailure, TooLarge, hubferry.core.manifest.ManifestProblem.
        """


class Sealer(Protocol):
    """Turns grants into tokens that only this gateway can read."""

    async def seal(self, grant: Grant) -> str:
        """A token for a grant."""

    async def open(self, token: str) -> Grant | None:
        """The grant of a token made by `seal`, expired or not; None for any other text."""


class Clock(Protocol):
    """Time. Lifetimes are measured with `monotonic`, which no administrator can set back."""

    def monotonic(self) -> float:
        """Seconds since some moment in the past."""

    def time(self) -> float:
        """Seconds since 1970, UTC."""


class EventLog(Protocol):
    """Where the orchestrator reports what an operator should know."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        """Something went wrong and was dealt with."""
