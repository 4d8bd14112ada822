"""Where the library limits keeps its counts: in memory of bounded size, because clients choose their addresses.

Its own memory looks through all keys, on a thread of its own, with every count. Times are of the monotonic clock: a
clock that is set back must not keep anybody out.
"""

import time

from limits.storage.base import SlidingWindowCounterSupport, Storage

from hubferry.core.bounded import BoundedMap

MOST_CLIENTS = 50_000  # that are counted at a time; beyond that, whoever was counted longest ago begins anew


class BoundedCounts(Storage, SlidingWindowCounterSupport):
    """The `Storage` of the library for one kind of count."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        # the end of a window, its count, and that of the window before
        self._counts: BoundedMap[list[float]] = BoundedMap(MOST_CLIENTS)

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def _window(self, key: str, expiry: int) -> list[float]:
        """Return the window that a key is in now, and note that it was counted in."""
        now_s = time.monotonic()
        found = self._counts.get(key)
        if found is None:
            found = [now_s + expiry, 0, 0]
        elif now_s >= found[0]:
            is_next = now_s < found[0] + expiry
            found[:] = [found[0] + expiry, 0, found[1]] if is_next else [now_s + expiry, 0, 0]
        self._counts.put(key, found)
        return found

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        window = self._window(key, expiry)
        window[1] += amount
        return int(window[1])

    def get(self, key: str) -> int:
        window = self._counts.get(key)
        return 0 if window is None or time.monotonic() >= window[0] else int(window[1])

    def get_expiry(self, key: str) -> float:
        """Return when the window ends, in seconds of the monotonic clock, and not of the wall clock as others do."""
        window = self._counts.get(key)
        return time.monotonic() if window is None else window[0]

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        window = self._window(key, expiry)
        if window[2] * (window[0] - time.monotonic()) / expiry + window[1] + amount > limit:
            return False
        window[1] += amount
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        window = self._window(key, expiry)
        left_s = window[0] - time.monotonic()
        return int(window[2]), left_s, int(window[1]), left_s + expiry

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        self._counts = BoundedMap(MOST_CLIENTS)
        return None

    def clear(self, key: str) -> None:
        self._counts.drop(key)

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002 - the library's
        self._counts.drop(key)
