"""Decide whether a body that comes in drops is as good as stalled.

Pure. Only time spent waiting for the other side counts, never time in which nobody wanted to read: what a slow
client leaves lying in our socket has long been given. Judged over a window's worth of waiting at a time, so a pause
that a read_timeout allows is allowed here too when enough comes before or after it.
"""


class Trickle:
    """The rate of one body."""

    __slots__ = ("_bytes", "_min_bytes_per_s", "_waited_s", "_window_s")

    def __init__(self, min_bytes_per_s: int, window_s: float) -> None:
        """`min_bytes_per_s` of 0 finds fault with nothing."""
        self._min_bytes_per_s = min_bytes_per_s
        self._window_s = window_s
        self._waited_s = 0.0
        self._bytes = 0

    def is_stalled(self, size_bytes: int, waited_s: float) -> bool:
        """Whether too little came, now that another `size_bytes` did after `waited_s` of waiting."""
        self._bytes += size_bytes
        self._waited_s += waited_s
        if self._waited_s < self._window_s:
            return False
        is_too_little = self._bytes < self._min_bytes_per_s * self._waited_s
        self._waited_s, self._bytes = 0.0, 0
        return is_too_little
