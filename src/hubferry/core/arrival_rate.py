"""Decide whether a body arrives so slowly that it counts as stalled.

Pure. Only the time spent waiting for the upstream counts, never the time in which nobody wanted to read: bytes that a
slow client leaves in our socket were sent by the upstream long ago. The rate is judged over one window of waiting time
after the other. So a pause that `read_timeout` allows is allowed here too, when enough bytes come before or after it.
"""


class ArrivalRate:
    """Measures the rate of one body, against the least rate of `min_bytes_per_s` over `window_s` seconds of waiting."""

    __slots__ = ("_bytes", "_min_bytes_per_s", "_waited_s", "_window_s")

    def __init__(self, min_bytes_per_s: int, window_s: float) -> None:
        """Set up the measurement. With `min_bytes_per_s` of 0 no body ever counts as stalled."""
        self._min_bytes_per_s = min_bytes_per_s
        self._window_s = window_s
        self._waited_s = 0.0
        self._bytes = 0

    def is_stalled(self, size_bytes: int, waited_s: float) -> bool:
        """Count `size_bytes` that came after `waited_s` of waiting. Return whether the body counts as stalled.

        The answer can only be true at the end of a window.
        """
        self._bytes += size_bytes
        self._waited_s += waited_s
        if self._waited_s < self._window_s:
            return False
        is_too_little = self._bytes < self._min_bytes_per_s * self._waited_s
        self._waited_s, self._bytes = 0.0, 0
        return is_too_little
