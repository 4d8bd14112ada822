"""`hubferry config check`: what it says of a configuration that can be served."""

import os
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


WRONG = {
    "a name without quotes": (
        "[upstreams.docker.io]\nusername = 'a'\n",
        'needs quotes, because of its dots: [upstreams."docker.io"]',
    ),
    "one of three parts": ("[upstreams.registry.k8s.io]\n", '[upstreams."registry.k8s.io"]'),
    "an option at the top": ('listen = ":5000"\n', "listen: it belongs to a table: write it below [server]"),
    "a host name twice": ('[upstreams."a.test"]\nhosts = ["b.test", "B.test"]\n', "'b.test' is there twice"),
    "a folder that is a file": ('[cache]\ndir = "config.toml/data"\n', "config.toml is a file: name a folder"),
    "a disk that is too small": (
        '[cache]\nmin_free = "9000TiB"\n',
        "cache.min_free: 9000TiB are to stay free, and the disk of",
    ),
    "an address that is never dialled": (
        '[upstreams."a.test"]\nurl = "http://10.0.0.1"\n',
        "allow_private_addresses = true",
    ),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_work_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text(text)
    for arguments in (["config.toml"], ["-c", "config.toml"]):
        said = CliRunner().invoke(main, ["config", "check", *arguments])
        assert (said.exit_code, said.stdout) == (1, "")
        assert words in said.stderr


def test_everything_that_cannot_work_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[server]\nlisten = ":5000"\n[upstreams.plain]\n[cache]\nmin_free = "9000TiB"\n')
    said = CliRunner().invoke(main, ["config", "check", str(file)])
    assert [line.partition("config.toml: ")[2].partition(":")[0] for line in said.stderr.splitlines()] == [
        "upstreams.plain", "cache.min_free", "server.listen",
    ]  # fmt: skip


def test_a_folder_that_this_user_cannot_write_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(main, ["config", "check"])
    assert said.exit_code == 1
    assert f"{tmp_path} cannot be written by" in said.stderr


def test_without_a_file_it_checks_what_is_served_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(main, ["config", "check"])
    assert said.stdout.startswith("defaults and environment: fine\n")
    both = CliRunner().invoke(main, ["config", "check", "a.toml", "-c", "a.toml"])
    assert both.exit_code == 2
