"""How much the kernel holds of what a client has not taken: little, until the client has shown that it reads.

The kernel takes up to 4 MiB for a connection by itself. Two thousand clients that never read would then fill the memory
that it has for all connections of the machine (net.ipv4.tcp_mem), and it ends connections of everybody. A larger buffer
matters for those who read fast: with a small one the same bytes cost 40 % more CPU time.
"""

import contextlib
import socket

from hubferry.core.pace import PROVEN_BYTES, LargePieces

KERNEL_BYTES = 128 * 1024
LARGE_KERNEL_BYTES = 4 * 2**20
MOST_LARGE = 64  # connections of a process that have the large buffer at a time
# of unsent bytes, for one connection or for all that a listening socket accepts; macOS has it, too
_UNSENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def limit_unsent(connection: socket.socket, size_bytes: int) -> None:
    """Let the kernel take no further bytes for a connection while `size_bytes` are unsent. Raises OSError."""
    if _UNSENT is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _UNSENT, size_bytes)


class KernelMemory:
    """The memory of the kernel for all connections of a process."""

    def __init__(self) -> None:
        self._large = LargePieces(MOST_LARGE)

    def enlarge(self, connection: socket.socket, taken_bytes: int) -> bool:
        """Give the connection the large buffer if its client took enough and one is free. Return whether it has one.

        The caller then has to `give_back`.
        """
        if taken_bytes < PROVEN_BYTES or not self._large.take():
            return False
        with contextlib.suppress(OSError):  # the client is gone: the next send will notice
            limit_unsent(connection, LARGE_KERNEL_BYTES)
        return True

    def give_back(self, connection: socket.socket | None) -> None:
        """Take the large buffer back from a connection; None: it is closed."""
        self._large.give_back()
        if connection is not None:
            with contextlib.suppress(OSError):
                limit_unsent(connection, KERNEL_BYTES)
