"""The parts of the bench by name, in the order they run. A part takes the Run and returns its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.parts import (
    amplification,
    cold,
    export,
    firstbyte,
    guarded,
    link,
    memory,
    pages,
    pull,
    readers,
    stampede,
    start,
    stream,
    tags,
    warm,
    worker,
)
from bench.run import Run
from bench.table import Table

__all__ = ["PARTS", "Part"]

Part = Callable[[Run], Sequence[Table]]

PARTS: dict[str, Part] = {
    "stream": stream.measure,
    "firstbyte": firstbyte.measure,
    "warm": warm.measure,
    "export": export.measure,
    "cold": cold.measure,
    "stampede": stampede.measure,
    "tags": tags.measure,
    "guarded": guarded.measure,
    "pages": pages.measure,
    "pull": pull.measure,
    "link": link.measure,
    "amplification": amplification.measure,
    "memory": memory.measure,
    "readers": readers.measure,
    "worker": worker.measure,
    "start": start.measure,
}
