"""Decide whether a client takes too little of what is ready for it.

Pure: is told how much time passed, and measures none itself. A client that is given nothing takes nothing, and is
not at fault: only time counts in which something lay ready. Two rules, both over `window_s`:
nothing at all was taken for so long; or, while more lay ready than its connection holds, less than the least rate.
Not here: how bytes that were taken are counted (server/protocol.py).
"""

from typing import Literal

Fault = Literal["nothing", "too little"]


class Uptake:
    """One client's."""

    __slots__ = (
        "_best_bytes",
        "_idle_s",
        "_is_resting",
        "_min_bytes_per_s",
        "_start_bytes",
        "_window_s",
        "_windowed_s",
    )

    def __init__(self, window_s: float, min_bytes_per_s: int) -> None:
        """`min_bytes_per_s` of 0 is any rate, but not nothing at all."""
        self._window_s = window_s
        self._min_bytes_per_s = min_bytes_per_s
        self._is_resting = True
        self._best_bytes = 0
        self._idle_s = 0.0
        self._start_bytes = 0
        self._windowed_s = 0.0

    def rest(self) -> None:
        """Nothing lies ready: forget what was."""
        self._is_resting = True

    def judge(self, taken_bytes: int, passed_s: float, *, is_backlogged: bool) -> Fault | None:
        """What is wrong with a client that took `taken_bytes` since it came, `passed_s` after the last look.

        `is_backlogged`: more lies ready than its connection holds, so its rate is its own.
        """
        if self._is_resting:
            self._is_resting = False
            self._best_bytes = taken_bytes
            self._idle_s = 0.0
            self._begin_window(taken_bytes)
            return None
        self._idle_s = 0.0 if taken_bytes > self._best_bytes else self._idle_s + passed_s
        self._best_bytes = max(self._best_bytes, taken_bytes)
        if self._idle_s >= self._window_s:
            return "nothing"
        if not is_backlogged:
            self._begin_window(taken_bytes)
            return None
        self._windowed_s += passed_s
        if self._windowed_s < self._window_s:
            return None
        is_too_little = self._best_bytes - self._start_bytes < self._min_bytes_per_s * self._windowed_s
        self._begin_window(self._best_bytes)
        return "too little" if is_too_little else None

    def _begin_window(self, taken_bytes: int) -> None:
        self._start_bytes = taken_bytes
        self._windowed_s = 0.0
