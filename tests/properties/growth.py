"""How the time of a function grows when its input gets twice as long, and twice as long again.

CPU time of this thread, the least of several runs, without the garbage collector: what is left is the function's own,
and what a busy machine adds by emptying caches. Two doublings tell more than one: a linear function takes four times as
long then, a quadratic one sixteen times, however often it is measured; noise goes away.
"""

import gc
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["MAX_GROWTH", "grows_too_fast", "repeated"]

MAX_GROWTH = 2.5
AT_LEAST_S = 0.005  # of the longest input: what takes less at its full length holds nobody up
ROUNDS = 30  # before it is no noise

T = TypeVar("T", bytes, str)


def repeated(beginning: T, unit: T, end: T, size: int) -> T:
    """`beginning`, as many units as there is room for, and `end`: `size` long, or a little less."""
    return beginning + unit * max((size - len(beginning) - len(end)) // len(unit), 1) + end


def grows_too_fast(work: Callable[[T], object], shorter: T, longer: T) -> str:
    """What is wrong with the growth from one input to another of four times its length; empty: nothing."""
    longer_s = _measure(work, longer)
    if longer_s < AT_LEAST_S:
        return ""
    shorter_s = _measure(work, shorter)
    for _ in range(ROUNDS):
        if longer_s <= MAX_GROWTH**2 * shorter_s:
            return ""
        longer_s, shorter_s = min(longer_s, _measure(work, longer)), min(shorter_s, _measure(work, shorter))
    return f"{len(longer)} took {longer_s * 1000:.1f} ms, {len(shorter)} took {shorter_s * 1000:.1f} ms"


def _measure(work: Callable[[T], object], text: T) -> float:
    """The CPU time of one run in seconds."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began = time.thread_time()
        work(text)
        return time.thread_time() - began
    finally:
        if was_enabled:
            gc.enable()
