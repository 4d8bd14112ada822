"""A few seconds of the hunt that `make fuzz` goes on with: what is found at once must not be there.

The hunt is a process of its own, because libFuzzer ends the one that it runs in.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HUNTED_S = 3
MAX_RSS_MB = 700
WAITED_S = 120  # a machine that is busy with other tests needs a while to begin


@pytest.mark.parametrize("target", ["parsers", "app"])
def test_seconds_of_hunting_find_nothing(tmp_path: Path, target: str) -> None:
    if importlib.util.find_spec("atheris") is None:
        message = "there is no atheris for this Python and machine (pyproject.toml)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    root = Path(__file__).parents[2]
    options = [
        f"-max_total_time={HUNTED_S}",
        f"-rss_limit_mb={MAX_RSS_MB}",
        "-max_len=2048",
        "-len_control=0",
        "-seed=1",
    ]
    ended = subprocess.run(
        # from a small process: libFuzzer counts the most memory that its parent ever had as its own
        ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-m", "tests.fuzz.hunt", target, *options],
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=WAITED_S,
    )
    said = ended.stderr.decode("utf-8", "replace")
    assert ended.returncode == 0, f"{said[-6000:]}\ninputs: {list(tmp_path.iterdir())}"
    assert "DONE" in said, said[-2000:]
