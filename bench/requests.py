"""Many small requests over kept-alive connections: wrk for GET, a loop of our own for HEAD.

wrk waits for the body that a HEAD's Content-Length speaks of. The loop costs about 15 microseconds a request, which
its latencies include.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.load import BadAnswer
from bench.meters import percentile
from tests.support.processes import find_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.contestants import Contestant

__all__ = ["Pace", "pace_of_gets", "pace_of_heads"]

_ERRORS = re.compile(r"(Non-2xx or 3xx responses: \d+|Socket errors: .*)")
_LATE = re.compile(r"^\s+99%\s+([\d.]+)(us|ms|s|m)$", re.MULTILINE)
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_PATIENCE_S = 10


@dataclass(frozen=True)
class Pace:
    """How fast requests were answered: how many, and how late the slowest hundredth was."""

    per_second: float
    p99_ms: float


def pace_of_gets(
    contestant: Contestant, path: str, headers: Mapping[str, str], *, connections: int, seconds: int, folder: Path
) -> Pace:
    """What wrk counts over so many seconds; raises BadAnswer when there was any error."""
    script = folder / "wrk.lua"
    script.write_text("".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items()))
    done = subprocess.run(
        [
            find_program("wrk"),
            "--threads=1",
            f"--connections={connections}",
            f"--duration={seconds}s",
            f"--script={script}",
            "--latency",
            f"http://127.0.0.1:{contestant.port}{path}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 30,
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    late = _LATE.search(done.stdout)
    errors = _ERRORS.search(done.stdout)
    if rate is None or late is None or errors or float(rate[1]) == 0:
        raise BadAnswer(f"{contestant.name}: GET {path}: {done.stdout}{done.stderr}")
    return Pace(float(rate[1]), float(late[1]) * _MS[late[2]])


def pace_of_heads(
    contestant: Contestant, path: str, headers: Mapping[str, str], *, connections: int, seconds: int
) -> Pace:
    """Each connection sends the next HEAD when the last is answered; raises BadAnswer unless all are 200."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1:{contestant.port}\r\n{fields}\r\n".encode()
    late_ms = []
    sent_at: dict[socket.socket, float] = {}
    with contextlib.ExitStack() as stack:
        ready = stack.enter_context(selectors.DefaultSelector())
        for _ in range(connections):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", contestant.port)))
            ready.register(sock, selectors.EVENT_READ, sock)
            sent_at[sock] = time.perf_counter()
            sock.sendall(request)
        started = time.perf_counter()
        while (elapsed_s := time.perf_counter() - started) < seconds:
            events = ready.select(_PATIENCE_S)
            if not events:
                raise BadAnswer(f"{contestant.name}: HEAD {path}: no answer for {_PATIENCE_S} s")
            for key, _ in events:
                sock = key.data
                answer = sock.recv(65_536)
                while answer and not answer.endswith(b"\r\n\r\n"):
                    answer += sock.recv(65_536)
                if not answer.startswith(b"HTTP/1.1 200 "):
                    raise BadAnswer(f"{contestant.name}: HEAD {path}: {answer[:500]!r}")
                now = time.perf_counter()
                late_ms.append((now - sent_at[sock]) * 1000)
                sent_at[sock] = now
                sock.sendall(request)
    return Pace(len(late_ms) / elapsed_s, percentile(late_ms, 99))
