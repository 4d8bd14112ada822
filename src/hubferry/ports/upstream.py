"""What an upstream is to the packages in the middle: requests, answers, bodies and failures."""

from enum import StrEnum
from typing import Protocol

from hubferry.core.exchange import Send
from hubferry.core.http import Headers


class Cause(StrEnum):
    """Why an upstream gave no usable answer. The values are shown to users as part of messages."""

    DNS = "its name cannot be resolved (DNS)"
    TCP = "it cannot be connected to (TCP)"
    TLS = "TLS failed"
    TIMEOUT = "it did not answer in time (timeout)"
    ADDRESS = "its address is not allowed"
    CUT = "it closed the connection"
    PROTOCOL = "it does not speak HTTP properly"
    PROXY = "the proxy failed"
    WRONG = "it gave other bytes than the digest promises"


class UpstreamFailure(Exception):
    """A host gave no usable answer.

    `detail` explains the cause for the log and for the message to the client. It contains no secrets.
    """

    def __init__(self, cause: Cause, host: str, detail: str = "") -> None:
        super().__init__(f"{host}: {cause}{': ' if detail else ''}{detail}")
        self.cause = cause
        self.host = host
        self.detail = detail


class TooLarge(Exception):
    """A body that should be read whole into memory is larger than its limit."""


class Body(Protocol):
    """A body that is being received. It can be passed on and closed; `Readable` is a body that can be read as well."""

    async def close(self) -> None:
        """Release the connection, and end the transfer if it is not complete.

        Never raises, and may be called more than once.
        """


class Readable(Body, Protocol):
    """A body whose bytes may be read in Python. Only shells that read bodies can keep blobs on disk."""

    async def read(self) -> bytes | None:
        """Return the next piece, or None at the end of the body. Raises UpstreamFailure."""


class UpstreamResponse(Protocol):
    """The head of an upstream's answer. Its body has not been read yet."""

    @property
    def status(self) -> int:
        """The HTTP status code, such as 200; the final one, because announcements (1xx) are not answers."""

    @property
    def headers(self) -> Headers:
        """The headers as (name, value) pairs: names in lower case, duplicates kept."""

    @property
    def body(self) -> Body:
        """The body as it was sent, without decoding any Content-Encoding."""


class Transport(Protocol):
    """Performs single HTTP requests for the configured upstreams."""

    async def send(self, upstream: str, request: Send) -> UpstreamResponse:
        """Perform one request for `upstream`, without following redirects, and return once the head has arrived.

        The URL may be on another host, such as the upstream's token service or its CDN. Raises UpstreamFailure.
        """

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        """Read the whole body into memory and close it.

        Raises UpstreamFailure, and TooLarge when the body has more than `limit_bytes`.
        """
