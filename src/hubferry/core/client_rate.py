"""Decide whether a client takes too little of the bytes that are ready for it.

No I/O, no clock: the caller says how much time has passed. A client that is offered nothing can take nothing, so only
time counts during which bytes were ready. A client is at fault when, over `window_s`,

- it took nothing at all; or
- it took less than the least rate, while more bytes were ready than its connection can hold.

Not here: counting the bytes that a client took (server/protocol.py).
"""

from typing import Literal

Fault = Literal["nothing", "too little"]


class ClientRate:
    """Watches how much one client takes, on one connection."""

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
        """Set up the rules. With `min_bytes_per_s` of 0 any rate is enough, but taking nothing is still a fault."""
        self._window_s = window_s
        self._min_bytes_per_s = min_bytes_per_s
        self._is_resting = True
        self._best_bytes = 0
        self._idle_s = 0.0
        self._start_bytes = 0
        self._windowed_s = 0.0

    def rest(self) -> None:
        """Note that nothing is ready for the client. The next call of `judge` starts the measurement again."""
        self._is_resting = True

    def judge(self, taken_bytes: int, passed_s: float, *, is_backlogged: bool) -> Fault | None:
        """Return what the client is at fault for, or None.

        Call this while bytes are ready for the client. `taken_bytes` is how much it took since it connected, and
        `passed_s` how many seconds have passed since the last call. `is_backlogged`: more bytes are ready than its
        connection can hold, so that only the client limits its rate.
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
