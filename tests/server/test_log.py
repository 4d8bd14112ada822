"""What is written about a failure of ours: where it happened, and none of the values it happened with."""

import subprocess
import sys

import pytest

FAILS = """
import sys
from hubferry.server.log import configure, logger

def log_in(password):
    raise RuntimeError("no")

configure(sys.argv[1], "info")
try:
    log_in("hunter2" + "-s3cret")
except RuntimeError:
    logger().exception("internal_error")
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_shows_no_values(log_format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS, log_format], capture_output=True, text=True, check=True, timeout=60
    )
    assert "RuntimeError" in done.stderr
    assert "log_in" in done.stderr
    assert "hunter2-s3cret" not in done.stderr
