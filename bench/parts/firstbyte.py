"""How much later the first byte of a blob's body arrives than from the upstream itself.

Two cases: a fast upstream over kept-alive connections, and one that sends 16 KiB/s, where a gateway that waits
until a buffer is full shows itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.blobs import Field, check, write_blob
from bench.load import BadAnswer, Connection
from bench.meters import median, percentile
from bench.run import MIB
from bench.table import Goal, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestants import Contestant
    from bench.run import Run

__all__ = ["measure"]

GOAL_MS = 10.0


def measure(run: Run) -> Sequence[Table]:
    with Field.start(run) as field:
        blob = write_blob(field.root, MIB)
        contestants = (field.origin, *field.gateways)
        check(contestants, blob)
        fast: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
        for _ in range(run.rounds):
            for contestant in contestants:
                fast[contestant.name] += _kept_alive(contestant, blob.path, 10 if run.quick else 60)
        slow: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
        for _ in range(2 if run.quick else 10):
            for contestant in contestants:
                slow[contestant.name].append(_fresh(contestant, blob.slow_path))
        return [
            _table("firstbyte: 1 MiB from a TLS upstream, kept-alive connections", fast, field),
            _table("firstbyte: the same from an upstream that sends 16 KiB/s", slow, field),
        ]


def _kept_alive(contestant: Contestant, path: str, count: int) -> list[float]:
    """Milliseconds from the request to the first byte of the body; the rest is read before the next."""
    found = []
    with Connection(contestant) as connection:
        for _ in range(count):
            started = time.perf_counter()
            head = connection.get(path)
            pieces = connection.pieces(head)
            if not next(pieces):
                next(pieces)
            found.append((time.perf_counter() - started) * 1000)
            for _piece in pieces:
                pass
    return found


def _fresh(contestant: Contestant, path: str) -> float:
    """The same on an open connection that is closed after the first byte."""
    with Connection(contestant) as connection:
        started = time.perf_counter()
        head = connection.get(path)
        if not head.rest and not connection.socket.recv(1):
            raise BadAnswer(f"{contestant.name}: no body")
        return (time.perf_counter() - started) * 1000


def _table(title: str, samples: dict[str, list[float]], field: Field) -> Table:
    own = samples[field.origin.name]
    base = (median(own), percentile(own, 95))
    added = median(samples[field.hubferry.name]) - base[0]
    return Table(
        title=title,
        columns=("contestant", "median ms", "p95 ms", "added median", "added p95"),
        rows=[_row(name, values, base) for name, values in samples.items()],
        goals=[Goal(f"less than {GOAL_MS:.0f} ms after the upstream's (median)", f"{added:.2f} ms", added < GOAL_MS)],
        samples=samples,
    )


def _row(name: str, values: Sequence[float], base: tuple[float, float]) -> tuple[str, ...]:
    middle, late = median(values), percentile(values, 95)
    return name, f"{middle:.2f}", f"{late:.2f}", f"{middle - base[0]:.2f}", f"{late - base[1]:.2f}"
