"""What commands print: tables on a terminal and elsewhere, through a real pseudo-terminal."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from hubferry.cli.output import print_table

HEAD, RIGHT = ("LAYER", "SIZE", "MADE BY"), ("SIZE",)
ROWS = (("sha256:3fb4e8437674", "40.0KiB", "RUN " + "apt-get install " * 10), ("sha256:0507864c6f62", "1B", "COPY a b"))


def on_terminal(code: str, columns: int = 60, env: dict[str, str] | None = None) -> str:
    """Return what a child process prints on a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environ = {"TERM": "xterm", "PATH": os.environ["PATH"], **(env or {})}
    child = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    found = b""
    with contextlib.suppress(OSError):  # the child has left
        while piece := os.read(ours, 2**16):
            found += piece
    os.close(ours)
    assert child.wait(60) == 0
    return found.decode()


def printed(code: str) -> str:
    """Return what a child process prints on a narrow terminal, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(code)).replace("\r", "")


def table(*, wrap: tuple[str, ...] = ()) -> str:
    return (
        f"from hubferry.cli.output import print_table; print_table({HEAD!r}, {ROWS!r}, right={RIGHT!r}, wrap={wrap!r})"
    )


def test_a_column_that_may_wrap_makes_room_for_the_others() -> None:
    lines = printed(table(wrap=("MADE BY",))).splitlines()
    assert max(map(len, lines)) <= 60
    shown = "\n".join(lines)
    for whole in ("sha256:3fb4e8437674", "sha256:0507864c6f62", "40.0KiB", "COPY a b"):
        assert whole in shown
    assert shown.count("apt-get") == 10


def test_elsewhere_a_table_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEAD, ROWS, right=RIGHT, wrap=("MADE BY",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(ROWS)
    assert lines[2] == "sha256:0507864c6f62       1B  COPY a b"
