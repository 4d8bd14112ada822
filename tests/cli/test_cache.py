"""`hubferry cache` where there is nothing to look at: what it says."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from hubferry.cli import main


def test_a_folder_that_is_not_there_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(main, ["cache", "ls"])
    assert said.exit_code == 1
    assert f"{tmp_path}/data is no folder" in said.stderr
    assert "--config" in said.stderr


def test_a_folder_of_somebody_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    said = CliRunner().invoke(main, ["cache", "ls"])
    assert said.exit_code == 1
    assert f"run this as {Path('data').owner()}, or as root" in said.stderr
