"""What `hubferry export` refuses before it asks anybody."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hubferry.cli import main

MISUSES = {
    "no image name": (["UPPER", "-o", "a.tar"], "is no image"),
    "an invalid tag beside a digest": ([f"nginx:a+b@sha256:{'a' * 64}", "-o", "a.tar"], "is no image"),
    "no platform": (["nginx:1", "-o", "a.tar", "--platform", "amd64"], "is no platform"),
    "an image that a rule denies": (["evil/app:1", "-o", "a.tar"], "may not be pulled"),
    "two documents on one output": (["nginx:1", "-o", "-", "--json"], "standard output"),
    "too many": ([*(f"nginx:{number}" for number in range(17)), "-o", "a.tar"], "at most 16"),
    "no file": (["nginx:1"], "--output"),
    "no URL of a gateway": (["nginx:1", "-o", "a.tar", "--gateway", "hub.example.com"], "write https://"),
    "no image": (["-o", "a.tar"], "IMAGE"),
    "a device": (["nginx:1", "-o", "/dev/null"], "is no regular file"),
}


@pytest.mark.parametrize(("arguments", "words"), MISUSES.values(), ids=MISUSES.keys())
def test_a_mistake_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    config = tmp_path / "hubferry.toml"
    config.write_text('[access]\ndeny = ["docker.io/evil/*"]\n')
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["export", *arguments, "--config", str(config)])
    assert list(tmp_path.iterdir()) == [config]
    assert result.exit_code == 2
    assert words in result.output
