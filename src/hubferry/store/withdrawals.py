"""A number that changes, for every process on one cache folder, as soon as one of them withdraws a right.

It is eight bytes in a file: reading them costs half a microsecond and no thread, where asking the index costs a
hundred. They mean nothing but that they differ from what they were before. With a file that cannot be used, each
process has a number of its own; what others withdraw is then seen when memory is read again (index.REREAD_S).
"""

import contextlib
import os
import time
from pathlib import Path

LOOK_S = 0.05  # how long the number that was read last is believed
NUMBER_BYTES = 8


class Withdrawals:
    """The number of one cache folder, as this process sees it."""

    def __init__(self, path: Path) -> None:
        """`path` is the file; `open` creates it where it is missing."""
        self._path = path
        self._descriptor = -1
        self._looked_at = float("-inf")
        self._number = 0

    def open(self) -> None:
        """Open the file anew, such as after its folder was removed. On the thread that calls `count`."""
        self.close()
        with contextlib.suppress(OSError):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._looked_at = float("-inf")

    def close(self) -> None:
        """Close the file, without which the number is this process's own. May be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def number(self) -> int:
        """Return the number, at most LOOK_S old. From any thread; never blocks, never raises."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            with contextlib.suppress(OSError):
                self._number = int.from_bytes(os.pread(self._descriptor, NUMBER_BYTES, 0), "big")
        return self._number

    def count(self) -> None:
        """Give all processes another number, because a right was withdrawn and that is written down."""
        self._number = time.monotonic_ns()  # all processes of a machine share this clock: no number comes again
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, self._number.to_bytes(NUMBER_BYTES, "big"), 0)
