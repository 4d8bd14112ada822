"""What can go wrong with a connection, as the UpstreamFailure that users read; and limits in time.

No text holds a URL or a credential. A limit that was exceeded is named with its setting, so that it can be changed.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from hubferry.core.values import Duration
from hubferry.ports import Cause, UpstreamFailure
from hubferry.upstream.http1 import Broken, ProtocolError
from hubferry.upstream.tunnel import ProxyFailed
from hubferry.upstream.wire import Trickled

ANSWER = "response header"  # until then a connection may have died of age, and another is tried
TROUBLE = (OSError, ssl.SSLError, Broken, ProtocolError, ProxyFailed)


class Stale(Exception):
    """A connection ended before it answered anything."""


@contextlib.asynccontextmanager
async def limited(host: str, what: str, setting: str, limit: Duration, *, hint: str = "") -> AsyncIterator[None]:
    """Bound a step in time and turn what can go wrong into UpstreamFailure or Stale."""
    try:
        async with asyncio.timeout(limit.seconds):
            yield
    except TROUBLE as error:
        raise as_failure(error, host, what, setting, limit, hint=hint) from None


def as_failure(
    error: Exception, host: str, what: str, setting: str, limit: Duration, *, hint: str = ""
) -> UpstreamFailure | Stale:
    """What one of TROUBLE means in a step that gives `what` (an answer, a connection) within the `limit`."""
    if what == ANSWER and isinstance(error, ConnectionResetError | BrokenPipeError):
        return Stale(error.strerror)
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
