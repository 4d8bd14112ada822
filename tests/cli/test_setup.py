"""`hubferry setup`: what it prints, asks and refuses. Not here: what becomes of files (tests/setup)."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubferry.cli import main
from hubferry.cli.setup import ask_version
from hubferry.setup.machine import Machine, Seen

HUBFERRY = Path(sys.executable).parent / "hubferry"
SECRET = "hubferry_" + "0123456789" * 4
GATEWAY = f"https://hub.example.com/{SECRET}"
DAEMON_JSON = "etc/docker/daemon.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc" / "docker").mkdir(parents=True)
    (tmp_path / DAEMON_JSON).write_text('{"log-driver": "local"}\n')
    return tmp_path


def run(root: Path, line: str) -> Result:
    return CliRunner().invoke(main, ["setup", *line.split(), "--rootfs", str(root)])


def test_it_shows_the_difference_and_says_what_to_do_next(root: Path) -> None:
    result = run(root, f"docker --gateway {GATEWAY} --registry docker.io --yes")
    assert result.exit_code == 0
    assert SECRET not in result.output
    lines = result.stdout.splitlines()
    path = root / DAEMON_JSON
    assert lines[:2] == [f"--- {path}", f"+++ {path}"]
    assert '+{"log-driver": "local", "registry-mirrors": ["https://hub.example.com/hubferry_********"]}' in lines
    assert f"ok       {path} changed, as it was: {path}.before-hubferry" in lines
    assert "now run on that machine: systemctl restart docker" in lines
    assert lines[-1] == f"to take it back: hubferry setup docker --undo --rootfs {root}"
    assert SECRET in path.read_text()
    again = run(root, f"docker --gateway {GATEWAY} --registry docker.io --yes").stdout
    assert again.startswith(f"ok       {path} is as it should be\n")
    assert "now run" not in again


def test_undo(root: Path) -> None:
    before = (root / DAEMON_JSON).read_text()
    run(root, f"docker --gateway {GATEWAY} --yes")
    result = run(root, "docker --undo --yes")
    assert result.exit_code == 0
    assert SECRET not in result.output
    assert f"ok       {root / DAEMON_JSON} put back as it was" in result.stdout
    assert "now run on that machine: systemctl restart docker" in result.stdout
    assert (root / DAEMON_JSON).read_text() == before
    assert "nothing to undo" in run(root, "docker --undo --yes").stdout


def test_what_cannot_be_undone(root: Path) -> None:
    run(root, f"docker --gateway {GATEWAY} --yes")
    (root / DAEMON_JSON).write_text("nonsense")
    result = run(root, "docker --undo --yes")
    assert result.exit_code == 1
    assert f"failed   {root / DAEMON_JSON}: it is not JSON" in result.stdout
    assert f"-> take the gateway out by hand; as it was: {root / DAEMON_JSON}.before-hubferry" in result.stdout


def test_what_was_changed_since_is_said(root: Path) -> None:
    run(root, f"docker --gateway {GATEWAY} --yes")
    (root / DAEMON_JSON).write_text((root / DAEMON_JSON).read_text().replace("local", "journald"))
    result = run(root, "docker --undo --yes")
    assert f"{root / DAEMON_JSON}: somebody changed it since, so only what hubferry added is taken out" in result.stdout
    assert (root / DAEMON_JSON).read_text() == '{"log-driver": "journald"}\n'


def test_a_dry_run_changes_nothing(root: Path) -> None:
    before = sorted(root.rglob("*"))
    result = run(root, f"docker --gateway {GATEWAY} --dry-run")
    assert result.exit_code == 0
    assert "+++" in result.stdout
    assert "would be changed" in result.stdout
    assert "would be made" in result.stdout
    assert sorted(root.rglob("*")) == before


def test_nobody_is_asked_where_there_is_no_terminal(root: Path) -> None:
    result = run(root, f"docker --gateway {GATEWAY}")
    assert result.exit_code == 2
    assert "look with --dry-run first, then repeat with --yes" in result.stderr
    assert (root / DAEMON_JSON).read_text() == '{"log-driver": "local"}\n'


def test_json(root: Path) -> None:
    result = run(root, f"docker --gateway {GATEWAY} --registry docker.io --yes --json")
    document = json.loads(result.stdout)
    assert SECRET not in result.stdout
    assert (document["client"], document["changed"], document["dry_run"]) == ("docker", True, False)
    assert document["restart"] == "systemctl restart docker"
    (file,) = document["files"]
    assert (file["path"], file["changed"], file["exists"]) == (str(root / DAEMON_JSON), True, True)
    assert file["diff"][0] == f"--- {root / DAEMON_JSON}"
    again = json.loads(run(root, f"docker --gateway {GATEWAY} --registry docker.io --yes --json").stdout)
    assert (again["changed"], again["restart"]) == (False, None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("docker --yes", "say which gateway"),
        ("docker --undo --gateway https://x --yes", "say which gateway"),
        ("docker --gateway hub.example.com --yes", "write https://HOST[:PORT]"),
        ("docker --gateway https://me:word@hub.example.com --yes", "write https://HOST[:PORT]"),
        ("docker --gateway https://x --registry ../x --yes", "is no registry"),
        ("docker --gateway https://x --client-version new --yes", "write it as 29.1"),
        ("docker --gateway https://x --client-version 28.1 --registry ghcr.io --yes", "mirrors of docker.io only"),
        (f"podman --gateway {GATEWAY} --yes", "log in"),
        ("lxd --gateway https://x --yes", "Invalid value"),
    ],
)
def test_misuse(root: Path, line: str, said: str) -> None:
    before = sorted(root.rglob("*"))
    result = run(root, line)
    assert result.exit_code == 2
    assert said in result.stderr
    assert SECRET not in result.stderr
    assert "word@" not in result.stderr
    assert sorted(root.rglob("*")) == before


def test_a_file_that_is_wrong_is_named(root: Path) -> None:
    (root / DAEMON_JSON).write_text("{")
    result = run(root, "docker --gateway https://x --yes")
    assert result.exit_code == 2
    assert "/etc/docker/daemon.json: it is not JSON" in result.stderr
    assert not (root / "etc/docker/certs.d").exists()


def test_what_is_interrupted_half_way_is_no_misuse_and_can_be_undone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(root.rglob("*"))
    write = Machine.write

    def fail(self: Machine, path: str, seen: Seen) -> None:
        if path == f"/{DAEMON_JSON}":
            raise OSError(28, "No space left on device", path)
        write(self, path, seen)

    with monkeypatch.context() as patched:
        patched.setattr(Machine, "write", fail)
        result = run(root, "docker --gateway https://x --yes")
    assert result.exit_code == 1
    assert "No space left on device: not everything was written" in result.stderr
    assert run(root, "docker --undo --yes").exit_code == 0
    assert sorted(root.rglob("*")) == before


def test_on_a_terminal_it_asks_in_colour(root: Path) -> None:
    assert answer(root, b"n\n")[0] == 1
    assert (root / DAEMON_JSON).read_text() == '{"log-driver": "local"}\n'
    code, shown = answer(root, b"y\n")
    assert code == 0
    assert "\x1b[32m+{" in shown
    assert "Change 1 file? [y/N]" in shown
    assert "hub.example.com" in (root / DAEMON_JSON).read_text()


def answer(root: Path, typed: bytes) -> tuple[int, str]:
    """Run the command on a terminal, and type this: the exit status, and what the terminal got."""
    leader, follower = pty.openpty()
    command: list[str | Path] = [
        HUBFERRY,
        "setup",
        "docker",
        "--gateway",
        "https://hub.example.com",
        "--registry",
        "docker.io",
    ]
    process = subprocess.Popen(
        [*command, "--rootfs", root],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={"PATH": os.environ["PATH"], "TERM": "xterm"},
    )
    os.close(follower)
    os.write(leader, typed)
    shown = b""
    try:
        while piece := os.read(leader, 4096):
            shown += piece
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(leader)
    return process.wait(60), shown.decode()


def test_the_version_is_asked_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dockerd"
    program.write_text('#!/bin/sh\necho "Docker version 29.1.3, build 1"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert ask_version("docker") == "Docker version 29.1.3, build 1\n"
    program.write_text("no program")
    assert ask_version("docker") == ""
    assert ask_version("podman") == ""


def test_the_command_teaches_with_an_example() -> None:
    assert (
        "sudo hubferry setup docker --gateway https://hub.example.com"
        in CliRunner().invoke(main, ["setup", "--help"]).output
    )
