"""Seconds from the start of the process to its first answer, with an empty cache folder and with a million blobs.

The index is there, or it was lost: then everything is counted in the background, for which `hubferry cache info` is
watched. The blobs are of a few bytes, named by their true digests. Not measured: a machine that has just booted, whose
folders are not in memory; other users of this one would feel it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING

from bench.contestants import hubferry_config
from bench.load import BadAnswer
from bench.meters import median
from bench.table import Goal, Table
from tests.support.gateway import HUBFERRY, Gateway
from tests.support.processes import free_port, url_answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.run import Run

__all__ = ["measure"]

BLOBS = 1_000_000
QUICK_BLOBS = 20_000
BLOCK = 4096  # what a blob of a few bytes takes on the disk
GOAL_S = 3.0
PATIENCE_S = 600
EMPTY, KEPT, LOST = "empty", "index there", "index lost"
_POLL_S = 0.005
_COUNT_POLL_S = 2.0  # each time costs a process and a look at every row


def measure(run: Run) -> Sequence[Table]:
    count = QUICK_BLOBS if run.quick else BLOBS
    empty, full = run.state("hubferry-empty"), run.state("hubferry-full")
    rounds: dict[str, list[float]] = {EMPTY: [], KEPT: [], LOST: []}
    _start(empty)
    _start(full)  # makes the index, as hubferry has it
    _fill(full / "data", count)
    for _ in range(run.rounds):
        rounds[EMPTY].append(_start(empty))
        rounds[KEPT].append(_start(full))
    for _ in range(run.rounds):
        _lose_index(full / "data")
        rounds[LOST].append(_start(full))
    _lose_index(full / "data")
    counted_s = _count(full, count)
    middles = {name: median(found) for name, found in rounds.items()}
    return [
        Table(
            title=f"start: to the first answer of /healthz, {count:,} blobs, median of {run.rounds}",
            columns=("cache folder", "seconds", "slowest"),
            rows=[(name, f"{middles[name]:.2f}", f"{max(found):.2f}") for name, found in rounds.items()],
            goals=[
                Goal(f"under {GOAL_S:.0f} s, {name}", f"{max(rounds[name]):.2f} s", max(rounds[name]) < GOAL_S)
                for name in (KEPT, LOST)
            ],
            notes=[f"after the index was lost everything is counted again {counted_s:.0f} s after the start"],
            samples={**rounds, "counted_s": counted_s},
        )
    ]


def _start(state: Path) -> float:
    """Start, wait for an answer, stop."""
    with _started(state) as seconds:
        return seconds


@contextlib.contextmanager
def _started(state: Path) -> Iterator[float]:
    config = hubferry_config(state, "http://127.0.0.1:9")
    port = free_port()
    began = time.perf_counter()
    with Gateway.start(state, config, port=port, wait=False) as gateway:
        while not url_answers(gateway.url + "/healthz"):
            if not gateway.process.running or time.perf_counter() - began > PATIENCE_S:
                raise BadAnswer(f"hubferry does not start:\n{gateway.process.tail()}")
            time.sleep(_POLL_S)
        yield time.perf_counter() - began


def _fill(data: Path, count: int) -> None:
    """Files as they are laid out, and their rows in the index."""
    digests = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(count)]
    root = data / "blobs/sha256"
    for number in range(256):
        (root / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    for number, encoded in enumerate(digests):
        descriptor = os.open(f"{root}/{encoded[:2]}/{encoded}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, b"%d" % number)
        os.close(descriptor)
    now = time.time()
    with contextlib.closing(sqlite3.connect(data / "index.sqlite3")) as db, db:
        files = ((f"sha256:{encoded}", BLOCK, now) for encoded in sorted(digests))
        db.executemany("INSERT INTO files VALUES (?, ?, ?)", files)
        held = (("bench.test", "bench/image", f"sha256:{encoded}", 7) for encoded in sorted(digests))
        db.executemany("INSERT INTO blobs VALUES (?, ?, ?, ?)", held)


def _lose_index(data: Path) -> None:
    for path in data.glob("index.sqlite3*"):
        path.unlink()


def _count(state: Path, count: int) -> float:
    """Seconds from the start until everything is counted."""
    began = time.perf_counter()
    with _started(state):
        while _contents(state) < count:
            if time.perf_counter() - began > PATIENCE_S:
                raise BadAnswer(f"hubferry has not counted {count:,} blobs within {PATIENCE_S} s")
            time.sleep(_COUNT_POLL_S)
        return time.perf_counter() - began


def _contents(state: Path) -> int:
    """What `hubferry cache info` says is there."""
    command: list[str | Path] = [HUBFERRY, "cache", "info", "--config", state / "hubferry.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=state)
    found = re.search(r"^contents +(\d+)$", done.stdout, re.MULTILINE)
    if found is None:
        raise BadAnswer(f"hubferry cache info: {done.stdout}")
    return int(found[1])
