"""A server nobody should talk to: it records whatever arrives, to prove that nothing, or no secret, did.

`connections` (wire.py) counts connections, with or without a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.content import Blob
from tests.support.exchange import Recorder, Reply
from tests.support.wire import WireServer

if TYPE_CHECKING:
    from tests.support.exchange import Received
    from tests.support.tls import Certificate

__all__ = ["Sink"]


class Sink(WireServer):
    """Answers every request with the same status and body; 404 unless told otherwise."""

    def __init__(
        self,
        *,
        status: int = 404,
        body: bytes = b"",
        host: str = "127.0.0.1",
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__("sink", self._reply, Recorder(), host=host, certificate=certificate)
        self._status = status
        self._body = body

    @property
    def requests(self) -> list[Received]:
        return [exchange.request for exchange in self.recorder.exchanges]

    def heard(self, secret: str) -> bool:
        """Whether these characters arrived anywhere in a request, or in one that was no HTTP."""
        needle = secret.encode()
        heads = [request.raw_head + request.body for request in self.requests] + self.malformed
        return any(needle in head for head in heads)

    def _reply(self, _request: Received) -> Reply:
        return Reply(self._status, body=Blob(self._body))
