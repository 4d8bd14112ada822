"""Layers on their way, on a terminal or in a log: a bar for each that is being fetched, a line for each that is over.

Bars are drawn anew in place (ANSI), what is over scrolls away above them. Elsewhere there are lines only, now and then
one for what takes long.
Not here: what is being fetched (pull/warm.py).
"""

import contextlib
import os
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from hubferry.cli.human import human_size, human_time, short_digest

if TYPE_CHECKING:
    from hubferry.core.descriptors import Descriptor
    from hubferry.pull.warm import Ending

DRAW_S = 0.1
TELL_S = 30.0  # where nothing can be drawn
LOG_COLUMNS = 100
RATE_S = 5.0  # over the last so many seconds: recent enough to tell a stall, long enough to be read
UP, CLEAR = "\x1b[{}A", "\x1b[K"


@dataclass
class Layer:
    """One that is being fetched."""

    descriptor: "Descriptor"
    begun: float
    found_bytes: int  # was there before
    at_bytes: int = 0
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def grow(self, at_bytes: int, now: float) -> None:
        """So much of it is there."""
        self.at_bytes = at_bytes
        if at_bytes < self.found_bytes:
            return  # read from the disk: that is no rate of the network
        if not self.seen or now - self.seen[-1][0] >= DRAW_S:
            self.seen.append((now, at_bytes))
        while self.seen[0][0] < now - RATE_S and len(self.seen) > 2:
            self.seen.popleft()

    def rate(self, now: float) -> float:
        """Bytes in a second, lately."""
        if not self.seen or now <= self.seen[0][0]:
            return 0.0
        return (self.at_bytes - self.seen[0][1]) / (now - self.seen[0][0])


def bar(layer: Layer, now: float, columns: int) -> str:
    """`sha256:abc  [####    ]  12.0MiB/30.0MiB  4.0MiB/s  5s left`, no wider than the terminal."""
    size, rate = layer.descriptor.size_bytes, layer.rate(now)
    words = [short_digest(layer.descriptor.digest)]
    numbers = human_size(layer.at_bytes)
    left = ""
    if size is not None:
        numbers += f"/{human_size(size)}"
        left = f"{human_time((size - layer.at_bytes) / rate)} left" if rate > 0 else "stalled"
    tail = f"{numbers:>19}  {human_size(rate) + '/s':>11}  {left:>11}"
    width = min(columns - len(words[0]) - len(tail) - 7, 40)
    if size and width >= 5:
        words.append("[" + ("#" * min(width * layer.at_bytes // size, width)).ljust(width) + "]")
    return "  ".join([*words, tail])[: max(columns - 1, 1)]


class Bars:
    """The `Onlooker` of a person, and of a log."""

    def __init__(self, out: TextIO, *, is_terminal: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._is_terminal = is_terminal
        self._now = now
        self._layers: dict[str, Layer] = {}
        self._lines = 0  # that the bars take now
        self._drawn = now()

    def began(self, layer: "Descriptor", found_bytes: int) -> None:
        """See pull.warm.Onlooker."""
        self._layers[layer.digest] = Layer(layer, self._now(), found_bytes)
        self._draw()

    def grew(self, layer: "Descriptor", at_bytes: int) -> None:
        """See pull.warm.Onlooker."""
        now = self._now()
        self._layers[layer.digest].grow(at_bytes, now)
        if self._is_terminal and now - self._drawn >= DRAW_S:
            self._draw()

    def ended(self, layer: "Descriptor", ending: "Ending", problem: str) -> None:
        """See pull.warm.Onlooker."""
        begun = self._layers.pop(layer.digest, None)
        size = "" if layer.size_bytes is None else human_size(layer.size_bytes)
        words = f"  {short_digest(layer.digest)}  {ending:<7}  {size:>9}"
        if ending == "fetched" and begun is not None:
            seconds = max(self._now() - begun.begun, 0.001)
            words += f"  {human_size((begun.at_bytes - begun.found_bytes) / seconds)}/s"
            words += f"  ({human_size(begun.found_bytes)} were there)" if begun.found_bytes else ""
        self.say(f"{words}  {problem}".rstrip())

    def tick(self) -> None:
        """Time goes on: a stall is to be seen as well."""
        if self._layers:
            now = self._now()
            for layer in self._layers.values():
                if layer.at_bytes >= layer.found_bytes:
                    layer.grow(layer.at_bytes, now)
            if self._is_terminal:
                self._draw()
            elif now - self._drawn >= TELL_S:
                self._drawn = now
                for layer in self._layers.values():
                    self.say(f"  {bar(layer, now, LOG_COLUMNS)}")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._draw(text)

    def clear(self) -> None:
        """Take the bars away: what was under way is not any more."""
        self._layers.clear()
        self._draw()

    def _draw(self, text: str | None = None) -> None:
        lines = [] if text is None else [text]
        if self._is_terminal:
            self._drawn = self._now()
            columns, rows = self._size()
            bars = [bar(layer, self._drawn, columns) for layer in list(self._layers.values())[: rows - 1]]
            up = UP.format(self._lines) + "\r\x1b[J" if self._lines else ""
            lines = [*lines, *bars]
            self._out.write(up + "".join(f"{line}{CLEAR}\n" for line in lines))
            self._lines = len(bars)
        else:
            self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()

    def _size(self) -> os.terminal_size:
        with contextlib.suppress(OSError, ValueError):
            size = os.get_terminal_size(self._out.fileno())  # standard output may be elsewhere
            if size.columns and size.lines:  # some terminals do not say
                return size
        return shutil.get_terminal_size()
