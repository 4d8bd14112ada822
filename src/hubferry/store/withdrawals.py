"""The number that every process on one cache folder sees change as soon as one of them withdraws a right.

Eight bytes in a file: reading them costs half a microsecond and no thread, where asking the index costs a hundred. They
mean nothing but that they are others than before. A file that cannot be used leaves a number of this process alone;
what others withdraw is then seen when memory is read again (index.REREAD_S).
"""

import contextlib
import os
import time
from pathlib import Path

LOOK_S = 0.05  # how long what was read last is believed
NUMBER_BYTES = 8


class Withdrawals:
    """The number of one cache folder, as this process sees it."""

    def __init__(self, path: Path) -> None:
        """`path` is the file, which `open` makes where it is missing."""
        self._path = path
        self._descriptor = -1
        self._looked_at = float("-inf")
        self._number = 0

    def open(self) -> None:
        """Open the file anew, such as after its folder was removed. On the thread that counts."""
        self.close()
        with contextlib.suppress(OSError):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._looked_at = float("-inf")

    def close(self) -> None:
        """Give the file back; may be repeated."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def number(self) -> int:
        """The number, at most LOOK_S old. From any thread; never blocks, never raises."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            with contextlib.suppress(OSError):
                self._number = int.from_bytes(os.pread(self._descriptor, NUMBER_BYTES, 0), "big")
        return self._number

    def count(self) -> None:
        """Have every process see another number: something was withdrawn, and that is written down."""
        self._number = time.monotonic_ns()  # one clock for all processes of a machine, so never the same again
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, self._number.to_bytes(NUMBER_BYTES, "big"), 0)
