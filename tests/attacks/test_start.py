"""What a killed start leaves behind does not keep the next one from starting; and drafts are never two processes'."""

from __future__ import annotations

import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubferry.cli.load import fail, load_settings
from hubferry.core.values import ConfigError
from hubferry.server.key import load_or_create_key
from hubferry.store.content import write_durably
from tests.attacks.test_folder import KEY, root_only
from tests.faults.conftest import config
from tests.support.content import digest_of
from tests.support.gateway import HUBFERRY
from tests.support.hub import Hub
from tests.support.preloaded import run_hubferry
from tests.support.processes import find_program
from tests.support.toml import format_toml


@root_only
@pytest.mark.parametrize("left", [b"", KEY[:20].encode(), KEY.encode() * 2], ids=["empty", "half", "longer"])
def test_row_20_pid_1_starts_again_after_a_start_that_was_killed(tmp_path: Path, hub: Hub, left: bytes) -> None:
    """In a namespace of its own, as every container is."""
    settings = config(tmp_path, hub)
    key = Path(settings["cache"]["dir"]) / "token.key"
    key.parent.mkdir()
    for name in (".token.key.1", ".token.key.draft"):
        (key.parent / name).write_bytes(left)
        (key.parent / name).chmod(0o600)
    file = tmp_path / "hubferry.toml"
    file.write_text(format_toml({**settings, "server": {"listen": "127.0.0.1:0"}}))
    command = [
        find_program("unshare"),
        "--pid",
        "--fork",
        "--kill-child",
        str(HUBFERRY),
        "serve",
        "--config",
        str(file),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]}) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        process.kill()
    assert '"listening"' in said, f"pid 1 does not start: {said}"
    assert len(key.read_text().strip()) == len(KEY)
    assert not (key.parent / ".token.key.draft").exists()


def test_row_20_all_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    path = tmp_path / "data" / "token.key"
    with ThreadPoolExecutor(16) as threads:
        keys = list(threads.map(lambda _: load_or_create_key(path, is_ours=True), range(64)))
    assert len(set(keys)) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["token.key"]


@root_only
def test_row_20_a_draft_of_somebody_else_is_not_written_to(tmp_path: Path) -> None:
    """Who put it there would have the key: the file is open, or a link."""
    path = tmp_path / "token.key"
    victim = tmp_path / "victim"
    victim.touch(mode=0o600)
    draft = tmp_path / ".token.key.draft"
    for owner, mode in ((12345, 0o600), (0, 0o644)):
        draft.touch()
        draft.chmod(mode)
        os.chown(draft, owner, owner)
        with draft.open("rb") as watched:
            load_or_create_key(path, is_ours=True)
            assert watched.read() == b""
        assert path.stat().st_uid == os.geteuid()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.unlink()
    draft.symlink_to(victim)
    load_or_create_key(path, is_ours=True)
    assert victim.read_bytes() == b""


def test_row_20_drafts_of_content_are_unique_whatever_the_process_id(tmp_path: Path) -> None:
    """Two servers of one folder, each pid 1 of its container, write the same content at the same moment."""
    content = b"content " * 4096
    path = tmp_path / "shelf" / "name"
    digest = digest_of(content)
    with ThreadPoolExecutor(8) as threads:
        written = [threads.submit(write_durably, path, content, digest) for _ in range(64)]
        for one in written:
            one.result()
            assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["name"]


MISTAKES: dict[str, tuple[str, str]] = {
    "nested tables": ("x = " + "{a = " * 600 + "1" + "}" * 600, "deep"),
    "nested lists": ("x = " + "[\n" * 50_000 + "]" * 4_000, "deep"),
    "dotted keys": ("x" + ".a" * 2_000 + " = 1", "deep"),
    "headers": ("[x" + ".a" * 2_000 + "]", "deep"),
    "a long line": ("x" + ".a" * 50_000 + " = 1", "line 1 is longer than"),
    "a huge file": ("# " + "x" * 300_000, "larger than"),
    "a password without a scheme": ('upstreams."docker.io".url = "u:hunter2@h"', "is no base URL"),
    "a password with a slash": ('upstreams."docker.io".url = "https://u:hun/hunter2@h"', "is no base URL"),
    "a password for a host": ('upstreams."docker.io".hosts = ["u:hunter2@h"]', "is no host name"),
    "a password to listen on": ('server.listen = "u:hunter2@h"', "is no address"),
    "a password in a name": ('[upstreams."u:hunter2@h"]', "registry host"),
    "a password for a proxy": ('upstreams."docker.io".proxy = "u:hunter2@h:1"', "expected http://"),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_configuration_that_cannot_be_used_is_one_line_without_its_secrets(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "hubferry.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    check_line(str(fail(caught.value, file)), words)


@pytest.mark.parametrize("name", ["nested tables", "a huge file", "a password without a scheme"])
def test_a_start_with_such_a_configuration_ends_with_that_line(tmp_path: Path, name: str) -> None:
    text, words = MISTAKES[name]
    file = tmp_path / "hubferry.toml"
    file.write_text(text)
    done = run_hubferry("serve", "--config", file, env={})
    assert done.returncode == 1, done.stderr[-500:]
    check_line(done.stderr.strip(), words)


def check_line(said: str, words: str) -> None:
    (line,) = said.splitlines()
    assert words in line
    assert len(line) < 1000
    assert "hunter2" not in line
    assert "Traceback" not in line


@pytest.mark.parametrize("key", ["password_file", "accounts_file"])
def test_a_file_of_passwords_without_end_is_not_read_to_its_end(tmp_path: Path, key: str) -> None:
    name = 'username = "me"\n' if key == "password_file" else ""
    file = tmp_path / "hubferry.toml"
    file.write_text(f'[upstreams."docker.io"]\n{name}{key} = "/dev/zero"\n')
    done = run_hubferry("config", "check", file, env={})
    assert done.returncode == 1
    assert "larger than" in done.stderr
