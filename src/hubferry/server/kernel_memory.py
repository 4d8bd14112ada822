"""How much the kernel takes for a client and has not sent: little, until the client has shown that it reads fast.

The kernel takes up to 4 MiB for a connection by itself. Two thousand clients that never read would then fill the memory
that it has for all connections of the machine (net.ipv4.tcp_mem), and it ends connections of everybody. A larger buffer
matters for those who read fast: with a small one the same bytes cost 40 % more CPU time by sendfile. With TLS it is
about 20 % at the same speed, and the buffer stays small, as it does for what is still being fetched. What was sent and
not yet acknowledged is not bounded by it; a client that stops acknowledging is cut after `server.write_timeout`.
"""

import contextlib
import socket
import time

from hubferry.core.pace import PROVEN_BYTES, LargePieces

KERNEL_BYTES = 128 * 1024
LARGE_KERNEL_BYTES = 4 * 2**20
MOST_LARGE = 64  # connections of a process that have the large buffer at a time
SLOW_S = 1.0  # whoever takes nothing for so long needs no large buffer
# of unsent bytes, for one connection or for all that a listening socket accepts; macOS has it, too
_UNSENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def limit_unsent(connection: socket.socket, size_bytes: int) -> None:
    """Let the kernel take no further bytes for a connection while `size_bytes` are unsent, where it knows that."""
    if _UNSENT is not None:
        with contextlib.suppress(OSError):  # the client is gone, or this kernel does not know it
            connection.setsockopt(socket.IPPROTO_TCP, _UNSENT, size_bytes)


class KernelBuffer:
    """The buffer of one connection, which may become one of the large ones of the process."""

    def __init__(self, large: LargePieces, connection: socket.socket) -> None:
        self._large = large
        self._connection = connection
        self._taken_bytes = 0
        self._is_large = False

    def took(self, size_bytes: int) -> None:
        """Note that the client took so many bytes more. One that took enough gets a large buffer, if one is free."""
        self._taken_bytes += size_bytes
        if not self._is_large and self._taken_bytes >= PROVEN_BYTES and self._large.take():
            self._is_large = True
            limit_unsent(self._connection, LARGE_KERNEL_BYTES)

    def waited(self, since_s: float) -> None:
        """Note that the client took nothing since `since_s` of the monotonic clock. One that is slow begins anew."""
        if time.monotonic() - since_s >= SLOW_S:
            self.give_back()
            self._taken_bytes = 0

    def give_back(self) -> None:
        """Give the large buffer to others. May be called more than once, and for a connection that is closed."""
        if self._is_large:
            self._is_large = False
            self._large.give_back()
            limit_unsent(self._connection, KERNEL_BYTES)
