"""The locks that keep a file from being removed while somebody reads it, and their end when nobody does.

A file that is read is locked (flock, shared), and eviction asks for the lock alone, in whichever process. A reader that
takes next to nothing (core/room.py) loses it: the file may then be removed, and its bytes are freed although somebody
has it open (ledger.py cuts it to nothing). A reader that goes on takes the lock again, and learns of it when the bytes
are gone. Safe from any thread: readers are on an event loop, `release_unused` is called by housekeeping.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable

from hubferry.core.room import Use


class Pin:
    """One opening of a finished file by whoever holds a shared lock on it; `end` it before its descriptor is closed."""

    def __init__(self, descriptor: int, size_bytes: int, now_s: Callable[[], float]) -> None:
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self._now_s = now_s
        self._lock = threading.Lock()  # guards the rest
        self._use = Use(now_s())
        self._is_held = True
        self._is_ended = False

    def took(self, size_bytes: int) -> bool:
        """A reader is about to be given so much; False when the bytes are gone, so that there is nothing to give."""
        with self._lock:
            self._use.took(size_bytes)
            return self._is_held or self._take_again()

    def release_unused(self) -> None:
        """Let the file be removed when too little was taken since the last time."""
        with self._lock:
            if not self._is_ended and self._use.is_over(self._now_s()) and self._is_held:
                self._is_held = False
                with contextlib.suppress(OSError):
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def end(self) -> None:
        """The descriptor is about to be closed; may be repeated."""
        with self._lock:
            self._is_ended = True

    def _take_again(self) -> bool:
        if self._is_ended:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._is_held = os.fstat(self._descriptor).st_size == self._size_bytes
        except OSError:  # whoever holds it alone is about to remove it
            return False
        return self._is_held


class Pins:
    """All pins of one process."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._pins: set[Pin] = set()

    def add(self, descriptor: int, size_bytes: int) -> Pin:
        """Note that a shared lock is held on a finished file of that length, which is open."""
        pin = Pin(descriptor, size_bytes, self._now_s)
        with self._lock:
            self._pins.add(pin)
        return pin

    def remove(self, pin: Pin) -> None:
        """End a pin; may be repeated."""
        pin.end()
        with self._lock:
            self._pins.discard(pin)

    def release_unused(self) -> None:
        """Let those files be removed whose readers took too little since this was last called. Blocks."""
        with self._lock:
            pins = list(self._pins)
        for pin in pins:
            pin.release_unused()
