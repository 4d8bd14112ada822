"""Read from an event loop what needs no waiting for a disk.

What lies in the page cache is read at once; anything else is for a thread. Whether it lies there is asked of the last
byte wanted (RWF_NOWAIT): pages are read ahead in order, so those before it mostly do as well, and reading all of it
into a buffer of ours under RWF_NOWAIT would cost a copy (measured: 8 GB/s against 1.7). A file system that does not
know the question (RWF_NOWAIT is Linux, and not every file system's) is always read on a thread.
"""

import errno
import os

_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class PageReads:
    """Reads of files whose pages may be cached; one for each folder, because that is what decides support."""

    def __init__(self) -> None:
        self._probe = bytearray(1)
        self._can_ask = _NOWAIT is not None

    def read_cached(self, descriptor: int, offset: int, size_bytes: int) -> bytes | None:
        """Up to `size_bytes` at once, empty at the end of the file; None when a disk must be waited for.

        Raises OSError.
        """
        if self.is_cached(descriptor, offset + size_bytes - 1):
            return os.pread(descriptor, size_bytes, offset)
        return None

    def is_cached(self, descriptor: int, last: int) -> bool:
        """Whether the byte at `last`, and so what is read before it, needs no waiting. Raises OSError."""
        if not self._can_ask:
            return False
        try:
            os.preadv(descriptor, [self._probe], last, _NOWAIT or 0)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
            self._can_ask = False
            return False
        return True
