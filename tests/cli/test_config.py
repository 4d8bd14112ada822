"""`hubferry config check`: what it says of a configuration that can be served."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hubferry.cli import main
from tests.docs.markdown import page

SHOWN = '[server]\nlisten = ":5000"\n[access]\nallow = ["docker.io/library/*"]\n'


def test_it_says_what_the_documentation_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hubferry.toml").write_text(SHOWN)
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(main, ["config", "check", "hubferry.toml"])
    assert said.exit_code == 0
    assert said.stdout.strip() in [fence.body.strip() for fence in page("docs/configuration.md").fences]


def test_one_that_has_to_be_confirmed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open.toml").write_text('[server]\nlisten = "0.0.0.0:5000"\n')
    said = CliRunner().invoke(main, ["config", "check", str(tmp_path / "open.toml")])
    assert said.exit_code == 1
    assert "--public" in said.stderr
    served = CliRunner().invoke(main, ["serve", "--config", str(tmp_path / "open.toml")])
    assert served.exit_code == 1
    assert "server.listen: whoever reaches 0.0.0.0:5000" in served.stderr


def test_users_that_cannot_be_read_are_found(tmp_path: Path) -> None:
    (tmp_path / "users.toml").write_text('[access]\nlogin = "users"\nusers_file = "nowhere"\n')
    said = CliRunner().invoke(main, ["config", "check", str(tmp_path / "users.toml")])
    assert said.exit_code == 1
    assert "hubferry user add" in said.stderr
