"""Decide whether a base (an upstream's URL, or a mirror's) is worth asking now.

No I/O; the only state is what is remembered of each base. Times are monotonic seconds. A base that fails is left alone
for a pause that doubles with each failure. After the pause one request may try it, while all others still treat it as
down. A base that answers is up at once. Only failures that cost time or trust count here; a quick 5xx is an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_DOWN_S = 1.0
LONGEST_DOWN_S = 30.0
DISTRUST_S = 600.0


@dataclass(slots=True)
class Health:
    """What is known about one base. All `..._until` are monotonic seconds; 0.0: not so."""

    failures: int = 0
    down_until: float = 0.0
    tried_until: float = 0.0
    distrusted_until: float = 0.0

    def is_free(self, now: float) -> bool:
        """Return whether the base may be asked: it is up, or its pause is over and nobody is trying it."""
        return now >= max(self.down_until, self.tried_until, self.distrusted_until)

    def reserve_probe(self, now: float) -> bool:
        """Return whether the caller may ask the base, like `is_free`, and reserve it for the caller if it was down.

        A base that was down is then free to nobody else until the caller reports `failed` or `answered`, or until the
        length of another pause has passed.
        """
        if not self.is_free(now):
            return False
        if self.failures:
            self.tried_until = now + self._pause_s()
        return True

    def failed(self, now: float) -> None:
        """Note that the base could not be reached or was too slow.

        A failure during a pause does not count again, so that requests that fail at the same time count as one.
        """
        if now < self.down_until:
            return
        self.failures += 1
        self.down_until = now + self._pause_s()
        self.tried_until = 0.0

    def answered(self) -> None:
        """Note that the base gave an answer, so that it counts as up from now on."""
        self.failures = 0
        self.down_until = self.tried_until = 0.0

    def distrust(self, now: float) -> None:
        """Note that the base gave bytes that do not match their digest, and avoid it for DISTRUST_S.

        Later answers do not shorten that time.
        """
        self.distrusted_until = now + DISTRUST_S

    def _pause_s(self) -> float:
        return min(FIRST_DOWN_S * 2.0 ** min(max(self.failures, 1) - 1, 10), LONGEST_DOWN_S)


def claim_order(healths: Sequence[Health], now: float) -> list[int]:
    """Return the bases to ask, as indexes into `healths`: in their order, but those that are down at the end.

    A distrusted base is left out, except the first of all, the upstream itself. The caller must ask in this order: it
    is allowed to try the first base whose pause is over (see `Health.reserve_probe`).
    """
    known = [n for n, health in enumerate(healths) if not n or now >= health.distrusted_until]
    first: list[int] = []
    last: list[int] = []
    is_finding_out = False
    for number in known:
        health = healths[number]
        may = health.reserve_probe(now) if not (health.failures and is_finding_out) else False
        is_finding_out = is_finding_out or (may and bool(health.failures))
        (first if may else last).append(number)
    return first + last
