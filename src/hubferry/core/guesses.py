"""Decide when another password may be tried after wrong ones, to slow down guessing.

Pure: takes monotonic times in seconds. The first FREE wrong passwords cost nothing, because people mistype. After them
there is a pause between one attempt and the next, which doubles from FIRST_S to MAX_S. After FORGET_S without a wrong
password all are forgotten. Not here: which client a wrong password is counted for (gateway/attempts.py).
"""

from dataclasses import dataclass

FREE = 5
FIRST_S = 1.0
MAX_S = 60.0
FORGET_S = 900.0
_DOUBLINGS = 6  # enough to get from FIRST_S beyond MAX_S


@dataclass(frozen=True, slots=True)
class Failures:
    """How many wrong passwords there were, and when the last one was refused (monotonic seconds)."""

    count: int = 0
    last_at: float = 0.0

    def after(self, now: float) -> "Failures":
        """Return the failures with one more, at the time `now`."""
        return Failures(self.counted(now) + 1, now)

    def counted(self, now: float) -> int:
        """Return how many failures still count at the time `now`: none from FORGET_S after the last one on."""
        return 0 if now - self.last_at >= FORGET_S else self.count


def decide_wait_s(failures: Failures, others: int, now: float) -> float:
    """Return how many seconds to wait before another password may be tried; 0: it may be tried now.

    `others` is how many other passwords from the same address, or for the same account, are being checked right now.
    """
    count = failures.counted(now)
    if count + others < FREE:
        return 0.0
    if others:  # from here on only one is checked at a time
        return FIRST_S
    pause_s = min(MAX_S, FIRST_S * 2.0 ** min(count - FREE, _DOUBLINGS))
    return max(failures.last_at + pause_s - now, 0.0)
