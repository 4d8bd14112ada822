"""Turn what can go wrong with a connection into the UpstreamFailure that users read, and limit steps in time.

No text holds a URL or a credential. A limit that was exceeded is named with its setting, so that it can be changed.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from hubferry.core.values import Duration
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.transport.http1 import Broken, ProtocolError
from hubferry.transport.tunnel import ProxyFailed
from hubferry.transport.wire import Trickled

ANSWER = "response header"  # until it comes, a connection may turn out to have died of age, and another is tried
TROUBLE = (OSError, ssl.SSLError, Broken, ProtocolError, ProxyFailed)  # what can go wrong on a connection


class Stale(Exception):
    """A connection ended before it answered anything: if it was kept for reuse, a new one may be tried."""


@contextlib.asynccontextmanager
async def limited(host: str, what: str, setting: str, limit: Duration, *, hint: str = "") -> AsyncIterator[None]:
    """Limit a step in time, and turn what can go wrong in it into UpstreamFailure or Stale; see `as_failure`."""
    try:
        async with asyncio.timeout(limit.seconds):
            yield
    except TROUBLE as error:
        raise as_failure(error, host, what, setting, limit, hint=hint) from None


def as_failure(
    error: Exception, host: str, what: str, setting: str, limit: Duration, *, hint: str = ""
) -> UpstreamFailure | Stale:
    """Return what an error of TROUBLE means, in a step that was to give `what` (an answer, a connection) in time.

    `setting` is the name of the limit, and `hint` follows it in the text. The result is Stale when a connection ended
    before it answered anything.
    """
    if what == ANSWER and isinstance(error, ConnectionResetError | BrokenPipeError):
        return Stale(error.strerror or "reset")
    if isinstance(error, Broken) and not error.begun:
        return Stale(str(error))
    match error:
        case Trickled():
            cause, detail = Cause.TIMEOUT, f"its body came slower than min_rate for {limit} of waiting"
        case TimeoutError():
            cause, detail = Cause.TIMEOUT, f"no {what} within {limit} ({setting}){hint}"
        case ssl.SSLCertVerificationError():
            cause, detail = Cause.TLS, f"certificate: {error.verify_message}"
        case ssl.SSLError():
            cause, detail = Cause.TLS, error.reason or "handshake"
        case Broken():
            cause, detail = Cause.CUT, str(error)
        case ProtocolError():
            cause, detail = Cause.PROTOCOL, str(error)
        case ProxyFailed():
            cause, detail = Cause.PROXY, str(error)
        case ConnectionResetError() | BrokenPipeError():
            cause, detail = Cause.CUT, f"{error.strerror or 'reset'} instead of {what}"
        case OSError():
            cause, detail = Cause.TCP, error.strerror or str(error)
        case _:
            raise AssertionError(f"{error!r} is none of TROUBLE")
    return UpstreamFailure(cause, host, detail)
