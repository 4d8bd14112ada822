"""Is a base (an upstream's URL, or a mirror's) worth asking now?

Pure but for its own memory: takes monotonic seconds. What fails is left alone for a moment that doubles with each
failure, then one request may try while everybody else still takes it for down; what answers is up at once.
Only what costs time or trust counts here; a quick 5xx is an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_DOWN_S = 1.0
LONGEST_DOWN_S = 30.0
DISTRUST_S = 600.0


@dataclass(slots=True)
class Health:
    """What is known of one base."""

    failures: int = 0
    down_until: float = 0.0
    tried_until: float = 0.0
    distrusted_until: float = 0.0

    def is_free(self, now: float) -> bool:
        """Whether it is up, or down for so long that somebody should find out."""
        return now >= max(self.down_until, self.tried_until, self.distrusted_until)

    def may_try(self, now: float) -> bool:
        """As `is_free`; whoever asks finds out, and until then it is free to nobody else."""
        if not self.is_free(now):
            return False
        if self.failures:
            self.tried_until = now + self._pause_s()
        return True

    def failed(self, now: float) -> None:
        """It could not be reached, or was too slow. Failures at the same time are one."""
        if now < self.down_until:
            return
        self.failures += 1
        self.down_until = now + self._pause_s()
        self.tried_until = 0.0

    def answered(self) -> None:
        """It gave an answer."""
        self.failures = 0
        self.down_until = self.tried_until = 0.0

    def distrust(self, now: float) -> None:
        """It gave other bytes than a digest promises: an answer does not mend that."""
        self.distrusted_until = now + DISTRUST_S

    def _pause_s(self) -> float:
        return min(FIRST_DOWN_S * 2.0 ** min(max(self.failures, 1) - 1, 10), LONGEST_DOWN_S)


def decide_order(healths: Sequence[Health], now: float) -> list[int]:
    """The bases to ask, by number: in their order, those that are down at the end; never one that is distrusted.

    The first of all, the upstream itself, is never left out. Whoever asks for the order asks in it: of those that have
    been down for long enough they find out the first.
    """
    known = [n for n, health in enumerate(healths) if not n or now >= health.distrusted_until]
    first: list[int] = []
    last: list[int] = []
    is_finding_out = False
    for number in known:
        health = healths[number]
        may = health.may_try(now) if not (health.failures and is_finding_out) else False
        is_finding_out = is_finding_out or (may and bool(health.failures))
        (first if may else last).append(number)
    return first + last
