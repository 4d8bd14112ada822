"""Layers that are being fetched, on a terminal or in a log.

On a terminal each has a bar that moves (Rich), and a line for each that is over stands above the bars. Elsewhere there
are lines only, with one every TELL_S for a layer that takes long. Not here: what is being fetched (pull/warm.py).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from hubferry.core.human import human_size, human_time, short_digest

if TYPE_CHECKING:
    from hubferry.core.descriptors import Descriptor
    from hubferry.pull.warm import Ending

DRAW_S = 0.1  # between two drawings of the bars
TICK_S = 0.2  # between two looks at bars of which nothing comes
TELL_S = 30.0  # between two lines about the same layer, where no bars can be drawn
RATE_S = 5.0  # a rate is that of the last seconds: recent enough to tell a stall, long enough to be read


def numbers(layer: Task) -> str:
    """How far a layer is, how fast it comes, and how long it will take: `12.0MiB/30.0MiB  4.0MiB/s  5s left`."""
    so_far = human_size(layer.completed)
    if layer.total is None:
        return f"{so_far:>19}  {human_size(layer.speed or 0) + '/s':>11}"
    left = "stalled" if layer.time_remaining is None else f"{human_time(layer.time_remaining)} left"
    so_far += f"/{human_size(layer.total)}"
    return f"{so_far:>19}  {human_size(layer.speed or 0) + '/s':>11}  {left:>11}"


class NumbersColumn(ProgressColumn):
    """The numbers behind a bar."""

    max_refresh = DRAW_S

    def render(self, task: Task) -> Text:
        return Text(numbers(task), no_wrap=True, overflow="ellipsis")


def _progress(out: TextIO, is_terminal: bool, now: Callable[[], float]) -> Progress:
    """Return bars that are drawn when asked to, and not at all where there is no terminal."""
    return Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(None),
        NumbersColumn(Column(no_wrap=True)),
        console=Console(file=out, force_terminal=is_terminal, highlight=False, markup=False, emoji=False),
        auto_refresh=False,
        transient=True,
        expand=True,
        speed_estimate_period=RATE_S,
        get_time=now,
        disable=not is_terminal,
        redirect_stdout=False,
        redirect_stderr=False,
    )


@contextlib.asynccontextmanager
async def ticking(bars: "Bars | FileBar") -> AsyncIterator[None]:
    """Redraw bars every TICK_S while the block runs, so that a stall is seen."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK_S)
            bars.tick()

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()


class FileBar:
    """How far one file is: a bar on a terminal, elsewhere a line every TELL_S."""

    def __init__(self, out: TextIO, *, is_terminal: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._is_terminal = is_terminal
        self._now = now
        self._progress = _progress(out, is_terminal, now)
        self._task: TaskID | None = None
        self._drawn_s = now()

    def began(self, name: str, size_bytes: int, found_bytes: int) -> None:
        """Show a file of this size, of which so much is there."""
        self._progress.start()
        self._task = self._progress.add_task(name, total=size_bytes, completed=found_bytes)
        self._drawn_s = self._now()

    def grew(self, at_bytes: int) -> None:
        """Note that the first `at_bytes` are there; they are drawn at the next tick."""
        if self._task is not None:
            self._progress.update(self._task, completed=at_bytes)

    def tick(self) -> None:
        """Draw the bar, or write a line when the last one is TELL_S ago."""
        if self._task is None:
            return
        if self._is_terminal:
            self._progress.advance(self._task, 0)  # so that a stall lowers the rate
            self._progress.refresh()
        elif self._now() - self._drawn_s >= TELL_S:
            self._drawn_s = self._now()
            (task,) = self._progress.tasks
            self.say(f"{task.description}  {numbers(task)}")

    def say(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        self._progress.console.print(text, soft_wrap=True)

    def clear(self) -> None:
        """Take the bar away, and give the terminal back as it was."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.stop()


class Bars:
    """The `WarmObserver` of a person in front of a terminal, and of a log."""

    def __init__(self, out: TextIO, *, is_terminal: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._is_terminal = is_terminal
        self._now = now
        self._progress = _progress(out, is_terminal, now)
        self._layers: dict[str, TaskID] = {}
        self._begun: dict[str, tuple[float, int]] = {}  # when, and how much of it was there
        self._drawn_s = now()

    def began(self, layer: "Descriptor", found_bytes: int) -> None:
        self._progress.start()
        self._begun[layer.digest] = self._now(), found_bytes
        name = short_digest(layer.digest)
        self._layers[layer.digest] = self._progress.add_task(name, total=layer.size_bytes, completed=found_bytes)
        self._draw()

    def grew(self, layer: "Descriptor", at_bytes: int) -> None:
        """What is read from the disk first is no progress, and no rate of the network."""
        if at_bytes > self._begun[layer.digest][1]:
            self._progress.update(self._layers[layer.digest], completed=at_bytes)
        if self._is_terminal and self._now() - self._drawn_s >= DRAW_S:
            self._draw()

    def ended(self, layer: "Descriptor", ending: "Ending", problem: str) -> None:
        size = "" if layer.size_bytes is None else human_size(layer.size_bytes)
        words = f"  {short_digest(layer.digest)}  {ending:<7}  {size:>9}"
        number = self._layers.pop(layer.digest, None)
        began_s, found_bytes = self._begun.pop(layer.digest, (0.0, 0))
        if number is not None:
            fetched_bytes = self._bytes(number) - found_bytes
            self._progress.remove_task(number)
            if ending == "fetched":
                words += f"  {human_size(fetched_bytes / max(self._now() - began_s, 0.001))}/s"
                words += f"  ({human_size(found_bytes)} were there)" if found_bytes else ""
        self.say(f"{words}  {problem}".rstrip())
        self._draw()

    def tick(self) -> None:
        """Move the bars of layers of which nothing comes, so that a stall is seen; elsewhere say how far all are."""
        for digest, number in self._layers.items():
            if self._bytes(number) > self._begun[digest][1]:
                self._progress.advance(number, 0)  # counts for the rate, which what is read from the disk does not
        if self._is_terminal and self._layers:
            self._draw()
        elif self._layers and self._now() - self._drawn_s >= TELL_S:
            self._drawn_s = self._now()
            for task in self._progress.tasks:
                self.say(f"  {task.description}  {numbers(task)}")

    def say(self, text: str) -> None:
        """Print a line that stays, above the bars."""
        self._progress.console.print(text, soft_wrap=True)

    def clear(self) -> None:
        """Take the bars away, and give the terminal back as it was."""
        for number in self._layers.values():
            self._progress.remove_task(number)
        self._layers.clear()
        self._progress.stop()

    def _bytes(self, number: TaskID) -> int:
        return int(next(task.completed for task in self._progress.tasks if task.id == number))

    def _draw(self) -> None:
        self._drawn_s = self._now()
        self._progress.refresh()
