"""Decide how long to wait before something that failed is tried again.

Pure: takes the random number as an argument. The first retry is immediate, because most bodies break off on a
connection that works. After that the pause doubles from FIRST_S to at most MAX_S. Each actual pause is a random part of
that ("full jitter"), so that many who failed at the same moment do not come back at the same moment.
Not here: how often, and for how long altogether (fill/source.py); Retry-After (quota.py).
"""

FIRST_S = 0.25
MAX_S = 8.0
_DOUBLINGS = 5  # from FIRST_S to MAX_S


def decide_pause(tries: int, chance: float) -> float:
    """Return the seconds to wait before the next try, after `tries` tries in a row that brought nothing.

    `chance` is a random number between 0 and 1.
    """
    if tries <= 0:
        return 0.0
    return chance * min(MAX_S, FIRST_S * 2.0 ** min(tries - 1, _DOUBLINGS))
