"""Read a small blob whole, in every shell: from a file, from a connection, or from a stream of the Worker's runtime.

Not here: whether its bytes have its digest (inspect.py).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hubferry.core.http import Headers
from hubferry.ports.upstream import Body, TooLarge, Transport


@dataclass(frozen=True, slots=True)
class _Passed:
    """An answer as `Transport.read` wants it, of which only the body is looked at."""

    body: Body
    status: int = 200
    headers: Headers = ()


def body_reader(transport: Transport) -> Callable[[Body, int], Awaitable[bytes]]:
    """Return what reads a small body of a blob to its end, in every shell, and closes it.

    It raises TooLarge for one of more than so many bytes, and UpstreamFailure.
    """

    async def read(body: Body, limit_bytes: int) -> bytes:
        read_piece: Callable[[], Awaitable[bytes | None]] | None = getattr(body, "read", None)
        if read_piece is None:  # a stream of the Worker's runtime
            return await transport.read(_Passed(body), limit_bytes)
        pieces: list[bytes] = []
        left_bytes = limit_bytes
        try:
            while (piece := await read_piece()) is not None:
                left_bytes -= len(piece)
                if left_bytes < 0:
                    raise TooLarge(f"more than {limit_bytes} bytes")
                pieces.append(piece)
        finally:
            await body.close()
        return b"".join(pieces)

    return read
