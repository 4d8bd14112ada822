"""An event loop whose time passes only while everything waits: what takes a second there takes none here.

What is measured in it does not depend on how busy the machine is: time stands still while code runs, and while any
thread of a pool works. `time.monotonic` is not of it.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["virtual_loop"]

POLL_S = 0.001
THREAD_S = 5.0  # a job that takes longer waits for the loop, and not the loop for it


class _Jobs:
    """Counts what the pools of threads have to do, until those who wait for it were told that it is done."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.count += count

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count every job of every pool."""
        submit, tell = ThreadPoolExecutor.submit, Future._invoke_callbacks  # type: ignore[attr-defined]

        def counting(pool: ThreadPoolExecutor, /, *args: Any, **options: Any) -> Future[Any]:
            self.add(1)
            try:
                return submit(pool, *args, **options)
            except BaseException:
                self.add(-1)
                raise

        def telling(job: Future[Any]) -> None:
            tell(job)
            self.add(-1)

        with (
            mock.patch.object(ThreadPoolExecutor, "submit", counting),
            mock.patch.object(Future, "_invoke_callbacks", telling),
        ):
            yield


class _Selector(selectors.DefaultSelector):
    """Waits as long as the loop asks it to, but in the loop's own time."""

    def __init__(self, jobs: _Jobs) -> None:
        super().__init__()
        self.jobs = jobs
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            return super().select(None)
        until = time.monotonic() + THREAD_S
        while self.jobs.count and time.monotonic() < until:
            if events := super().select(POLL_S):
                return events
        if events := super().select(0):  # the last job ended with it
            return events
        self.now_s += max(timeout, 0.0)
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, selector: _Selector) -> None:
        self._virtual = selector
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual.now_s


@contextmanager
def virtual_loop() -> Iterator[Callable[[], asyncio.AbstractEventLoop]]:
    """Yield what makes such a loop, for `asyncio.Runner`."""
    jobs = _Jobs()
    with jobs.counted():
        yield lambda: _Loop(_Selector(jobs))
