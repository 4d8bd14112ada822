"""The `Clock` port over Python's own clocks. Both shells use it.

On Cloudflare Workers both clocks stand still while nothing is awaited: the platform's protection against timing
attacks.
"""

import time


class SystemClock:
    """The monotonic clock and the wall clock of the machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()
