"""Decide whether another password may be tried, after some were wrong.

Pure: takes monotonic times in seconds. FREE wrong ones cost nothing, because people mistype. Then there is a pause
between one and the next, which doubles from FIRST_S to MAX_S; after FORGET_S without a wrong one all are forgotten.
Not here: whose they are counted as (pull/attempts.py).
"""

from dataclasses import dataclass

FREE = 5
FIRST_S = 1.0
MAX_S = 60.0
FORGET_S = 900.0
_DOUBLINGS = 6  # from FIRST_S beyond MAX_S


@dataclass(frozen=True, slots=True)
class Failures:
    """How many wrong passwords there were, and when the last one was refused."""

    count: int = 0
    last_at: float = 0.0

    def after(self, now: float) -> "Failures":
        """The same with one more."""
        return Failures(self.counted(now) + 1, now)

    def counted(self, now: float) -> int:
        """How many there are at this time: none any more FORGET_S after the last one."""
        return 0 if now - self.last_at >= FORGET_S else self.count


def decide_wait_s(failures: Failures, others: int, now: float) -> float:
    """Seconds before another password may be tried, 0: now. `others` are being tried at this moment."""
    count = failures.counted(now)
    if count + others < FREE:
        return 0.0
    if others:  # one after the other from now on
        return FIRST_S
    pause_s = min(MAX_S, FIRST_S * 2.0 ** min(count - FREE, _DOUBLINGS))
    return max(failures.last_at + pause_s - now, 0.0)
