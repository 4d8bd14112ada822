"""Reads what a process tree has used: CPU seconds, RSS and PSS, sampled while something runs."""

from __future__ import annotations

import contextlib
import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from tests.support.processes import Process

__all__ = [
    "Memory",
    "MemorySampler",
    "ThreadCpu",
    "count_files",
    "main_thread_s",
    "median",
    "percentile",
    "read_memory",
    "thread_cpu",
]


@dataclass(frozen=True)
class Memory:
    """Of a whole process tree, in bytes. RSS counts shared pages in every process, PSS once."""

    rss: int
    pss: int


class MemorySampler:
    """Samples a tree's memory in the background; `peak` holds the highest figures seen."""

    def __init__(self, process: Process, interval_s: float = 0.25) -> None:
        self._process = process
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.samples: list[Memory] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def peak(self) -> Memory:
        return Memory(max(s.rss for s in self.samples), max(s.pss for s in self.samples))

    def _sample(self) -> None:
        while True:
            self.samples.append(read_memory(self._process))
            if self._stopped.wait(self._interval_s):
                return


def read_memory(process: Process) -> Memory:
    rss = pss = 0
    for member in process.tree():
        with contextlib.suppress(psutil.NoSuchProcess):
            full = member.memory_full_info()
            rss += full.rss
            pss += full.pss
    return Memory(rss, pss)


def count_files(process: Process) -> int:
    """The open descriptors of a process tree."""
    files = 0
    for member in process.tree():
        with contextlib.suppress(psutil.NoSuchProcess):
            files += member.num_fds()
    return files


@dataclass(frozen=True)
class ThreadCpu:
    """CPU seconds of a process tree, divided between main threads (hubferry's: the event loops) and all others."""

    main_s: float
    others_s: float

    def __sub__(self, before: ThreadCpu) -> ThreadCpu:
        return ThreadCpu(self.main_s - before.main_s, self.others_s - before.others_s)


def thread_cpu(process: Process) -> ThreadCpu:
    """Of threads that are alive now."""
    main_s = others_s = 0.0
    for member in process.tree():
        with contextlib.suppress(psutil.NoSuchProcess):
            for thread in member.threads():
                used_s = thread.user_time + thread.system_time
                if thread.id == member.pid:
                    main_s += used_s
                else:
                    others_s += used_s
    return ThreadCpu(main_s, others_s)


def main_thread_s(process: Process) -> float:
    """CPU seconds of the main thread of a process, to the nanosecond: psutil's are of whole ticks of 10 ms."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * len(ordered)))]
