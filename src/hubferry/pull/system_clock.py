"""The `Clock` port over Python's own clocks, for the shells to choose.

On Cloudflare Workers both stand still while nothing is awaited: the platform's guard against timing attacks.
"""

import time


class SystemClock:
    """The clocks of the machine."""

    def monotonic(self) -> float:
        """See ports.Clock."""
        return time.monotonic()

    def time(self) -> float:
        """See ports.Clock."""
        return time.time()
