"""What a running shell is to a test, whichever it is: where it answers, what it printed, and a clean end."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Process

__all__ = ["HasLog", "RunningShell", "settled_log"]

QUIET_S = 0.2


class RunningShell:
    """A child process that serves; `stop()` or leaving the context ends it and asserts a clean exit."""

    NAME: ClassVar = "the shell"

    def __init__(self, process: Process, port: int, state: Path) -> None:
        self.process = process
        self.port = port
        self.state = state
        self.stopped = False
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.stopped:
            return
        if kind is None:
            self.stop()
        else:
            self.process.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    def rss_bytes(self) -> int:
        """Resident memory of the process tree."""
        return self.process.rss_bytes()

    def output(self) -> str:
        return self.process.output()

    def log_records(self) -> list[dict[str, Any]]:
        """The lines of stdout and stderr that are JSON objects; a child is never on a terminal."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]

    def stop(self, timeout_s: float = 20) -> None:
        """SIGTERM; asserts that it was still running, exits with 0, in time, and leaves nobody behind."""
        self.stopped = True
        assert self.process.running, f"{self.NAME} had ended by itself:\n{self.process.tail()}"
        code = self.process.stop(timeout_s)
        assert code == 0, f"{self.NAME} ended with {code} after SIGTERM:\n{self.process.tail()}"
        assert not self.process.left_behind, f"processes left behind: {self.process.left_behind}"


class HasLog(Protocol):
    """Whatever writes a log that a test can read."""

    def log_records(self) -> list[dict[str, Any]]: ...


def settled_log(shell: HasLog) -> list[dict[str, Any]]:
    """The records of the log once those of all answers that clients have seen are written.

    A record is written after its answer has left, so the log has to have been quiet for a moment.
    """
    records, since = shell.log_records(), time.monotonic()
    while time.monotonic() - since < QUIET_S:
        time.sleep(QUIET_S / 10)
        if len(found := shell.log_records()) != len(records):
            records, since = found, time.monotonic()
    return records
