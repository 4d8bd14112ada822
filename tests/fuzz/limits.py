"""What no input may cost, checked while the process that is fuzzed goes on. Not here: its memory (-rss_limit_mb)."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MAX_S", "NothingStays", "in_time"]

MAX_S = 1.0  # CPU time of this thread, which no busy machine adds to


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Raises AssertionError for what takes longer than MAX_S of this thread's time."""
    began = time.thread_time()
    yield
    took = time.thread_time() - began
    assert took < MAX_S, f"it took {took:.1f} s"


class NothingStays:
    """Descriptors and threads are no more after thousands of inputs than after the first hundreds."""

    EVERY = 200
    SPARE = 24  # connections that are kept for a while, threads of pools that were not needed before

    def __init__(self) -> None:
        self._runs = 0
        self._first = 0

    def check(self, tasks: int = 0) -> None:
        """Called after each input; `tasks` are those that run still. Raises AssertionError."""
        self._runs += 1
        if self._runs % self.EVERY:
            return
        found = sum(1 for _ in Path("/proc/self/fd").iterdir()) + threading.active_count() + tasks
        self._first = self._first or found
        assert found <= self._first + self.SPARE, f"{self._first} files, threads and tasks became {found}"
