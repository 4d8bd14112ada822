"""Waiting in tests, for what nothing tells of: the one home of polling, and of letting the event loop go on.

Not here: waiting for processes to start and to end (processes.py), for what a socket says (attacks/strangers.py).
"""

import asyncio
import time
from collections.abc import Callable

_WHAT = "what is waited for"
_THREAD_POLL_S = 0.01
_MOST_POLL_S = 0.1
_LOOP_POLL_S = 0.001


def wait_until(
    is_met: Callable[[], bool], what: str = _WHAT, timeout_s: float = 60, seen: Callable[[], object] | None = None
) -> None:
    """Wait in a thread until it is met.

    An AssertionError after `timeout_s` names `what` was waited for, and says what `seen` returns then. The time is
    generous, because only a failure takes it: pass another one only where it is what is tested.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        began = time.monotonic()
        if is_met():
            return
        now = time.monotonic()
        assert now < deadline, _problem(what, timeout_s, seen)
        # what takes long to look at is looked at less often: it is CPU that others wait for
        time.sleep(min(max(_THREAD_POLL_S, now - began), _MOST_POLL_S))


async def until(is_met: Callable[[], bool], what: str = _WHAT, timeout_s: float = 60) -> None:
    """Wait in a coroutine until it is met; see `wait_until`. The time is real also where a loop has time of its own."""
    deadline = time.monotonic() + timeout_s
    while not is_met():
        assert time.monotonic() < deadline, _problem(what, timeout_s, None)
        await asyncio.sleep(_LOOP_POLL_S)


async def turns(count: int = 5) -> None:
    """Let the event loop have so many turns: what can go on without waiting goes on."""
    for _ in range(count):
        await asyncio.sleep(0)


def _problem(what: str, timeout_s: float, seen: Callable[[], object] | None) -> str:
    problem = f"{what}: not within {timeout_s:g} s"
    return problem if seen is None else f"{problem}; seen: {seen()}"
