"""The `Transport` port without a network: every question fails as if no upstream could be reached."""

from hubferry.core.exchange import Send
from hubferry.ports.upstream import Cause, UpstreamFailure, UpstreamResponse


class NoNetwork:
    """A transport that reaches nobody."""

    async def send(self, upstream: str, request: Send) -> UpstreamResponse:  # noqa: ARG002 - the port's name
        raise UpstreamFailure(Cause.TCP, upstream, "the network is left out")

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:  # noqa: ARG002 - likewise
        raise UpstreamFailure(Cause.TCP, "nobody", "the network is left out")
