"""A gateway without a server, for commands that do what it does: same configuration, same cache, same upstreams.

It works beside a running server, on the same folder. Not here: the settings (load.py).
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hubferry.core.settings import Settings

if TYPE_CHECKING:
    from hubferry.server.compose import Parts


class Says(Protocol):
    """Whatever shows a line to the person in front of a command."""

    def say(self, text: str) -> None:
        """Print a line that stays."""


class Complaints:
    """Shows warnings as lines: the `EventLog` port of a command."""

    def __init__(self, out: Says) -> None:
        self._out = out

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        self._out.say(f"{event}: {fields.get('problem', '')}")


@contextlib.asynccontextmanager
async def opened(settings: Settings, out: Says) -> "AsyncIterator[Parts]":
    """Yield a gateway over the same cache and upstreams as the server's; its warnings go to `out`.

    Raises ConfigError.
    """
    from hubferry.server.compose import build_parts  # noqa: PLC0415 - other commands start without the server
    from hubferry.server.seal import JweSealer  # noqa: PLC0415

    parts = build_parts(
        settings,
        JweSealer(os.urandom(32)),  # nobody is given a token here
        Complaints(out),
        evicted=lambda _: None,
    )
    try:
        yield parts
    finally:
        await parts.close()


@dataclass
class Stop:
    """Which signal ended the work; None: none did."""

    by: signal.Signals | None = None


def cancelled_by_signals() -> Stop:
    """Have SIGINT and SIGTERM cancel the current task, once; the result says which of them did."""
    stop, task, loop = Stop(), asyncio.current_task(), asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        if stop.by is None and task is not None:
            stop.by = number
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    return stop
