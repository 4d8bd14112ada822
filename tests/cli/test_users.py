"""`hubferry user` and `hubferry token`: what they print, what they keep, what they refuse."""

import json
import re
from pathlib import Path

import bcrypt
import pytest
from click.testing import CliRunner, Result

from hubferry.cli import main
from hubferry.core.users import parse_secrets, parse_users

PASSWORD = "correct horse\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "hubferry.toml"
    path.write_text(
        f'[server]\npublic_url = "https://hub.example.com"\n[access]\nlogin = "users"\n'
        f'users_file = "{tmp_path / "users"}"\n[access.groups]\nstaff = ["alice"]\n'
    )
    return path


def run(config: Path, line: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, [*line.split(), "--config", str(config)], input=stdin)


def users(config: Path) -> dict[str, str]:
    return parse_users((config.parent / "users").read_text())


def test_a_user_is_added_and_gets_another_password(config: Path) -> None:
    assert run(config, "user add alice --cost 4", PASSWORD * 2).exit_code == 0
    first = users(config)["alice"]
    assert bcrypt.checkpw(b"correct horse", first.encode())
    assert run(config, "user passwd alice --cost 4 --password-stdin", "battery staple\n").exit_code == 0
    assert bcrypt.checkpw(b"battery staple", users(config)["alice"].encode())
    assert run(config, "user add ci --no-password").exit_code == 0
    listed = run(config, "user ls").stdout.splitlines()
    assert [re.split(r"\s{2,}", line) for line in listed] == [
        ["USER", "LOGS IN BY", "TOKENS", "GROUPS"],
        ["alice", "password", "0", "staff"],
        ["ci", "no password", "0"],
    ]
    document = json.loads(run(config, "user ls --json").stdout)
    assert document["users"][0] == {"user": "alice", "has_password": True, "tokens": 0, "groups": ["staff"]}
    assert run(config, "user rm ci").exit_code == 0
    assert list(users(config)) == ["alice"]


def test_a_token_is_shown_once_and_kept_as_its_hash(config: Path) -> None:
    run(config, "user add ci --no-password")
    made = run(config, "token create ci --expires 90d")
    assert re.fullmatch(r"hubferry_[0-9a-f]{40}\n", made.stdout)
    assert "revoked by: hubferry token revoke" in made.stderr
    mirror = run(config, "token create --mirror node1").stdout
    assert re.fullmatch(r"https://hub\.example\.com/hubferry_[0-9a-f]{40}\n", mirror)
    kept = (config.parent / "secrets.json").read_text()
    assert made.stdout.strip() not in kept
    assert mirror.rpartition("_")[2].strip() not in kept
    first, second = parse_secrets(kept)
    assert (first.user, first.is_client, first.ends_at) == ("ci", False, first.created_at + 90 * 86400)
    assert (second.user, second.is_client, second.ends_at) == ("node1", True, None)
    listed = run(config, "token ls").stdout.splitlines()
    assert [re.split(r"\s{2,}", line)[:3] for line in listed] == [
        ["ID", "USER", "KIND"],
        [first.id, "ci", "access token"],
        [second.id, "node1", "mirror"],
    ]
    assert [listed[1].endswith("UTC"), listed[2].endswith("no end")] == [True, True]
    document = json.loads(run(config, "token ls --json").stdout)
    assert document["tokens"][1] == {
        "id": second.id, "user": "node1", "kind": "mirror", "created_at": second.created_at, "ends_at": None,
    }  # fmt: skip
    assert run(config, f"token revoke {first.id}").exit_code == 0
    assert parse_secrets((config.parent / "secrets.json").read_text()) == [second]
    run(config, "token create ci")
    run(config, "user rm ci")
    assert parse_secrets((config.parent / "secrets.json").read_text()) == [second], "her access tokens went with her"


REFUSED = {
    "a name that is none": ("user add a/b --no-password", "", "is no name"),
    "there already": ("user add alice --no-password", "", "there is a user alice already"),
    "a client's name": ("user add node1 --no-password", "", "there are access tokens or secrets of that name"),
    "a short password": ("user add bob --password-stdin", "short\n", "8 printable characters"),
    "a long password": ("user add bob --password-stdin", "x" * 73 + "\n", "72 bytes"),
    "a cost that is none": ("user add bob --cost 15", PASSWORD * 2, "not in the range"),
    "nobody's password": ("user passwd bob", PASSWORD * 2, "has no user bob"),
    "nobody to remove": ("user rm bob", "", "has no user bob"),
    "nobody's token": ("token create bob", "", "has no user bob"),
    "a token for nobody": ("token create", "", "name a user, or a client"),
    "a token for two": ("token create alice --mirror node1", "", "name a user, or a client"),
    "a user's name for a client": ("token create --mirror alice", "", "alice is a user already"),
    "nothing to revoke": ("token revoke zz", "", "has nothing with the id zz"),
    "no span": ("token create alice --expires soon", "", "is no duration"),
}


@pytest.mark.parametrize(("line", "stdin", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_done_is_refused_in_a_sentence(config: Path, line: str, stdin: str, words: str) -> None:
    run(config, "user add alice --no-password")
    run(config, "token create --mirror node1")
    before = [one.read_text() for one in sorted(config.parent.iterdir())]
    refused = run(config, line, stdin)
    assert refused.exit_code == 2
    assert words in refused.stderr
    assert "Traceback" not in refused.output
    assert [one.read_text() for one in sorted(config.parent.iterdir())] == before


def test_a_gateway_without_users_has_none_to_add(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("")
    for line in ("user ls", "token ls", "user add a --no-password"):
        refused = run(tmp_path / "x.toml", line)
        assert refused.exit_code == 2
        assert 'set login = "users"' in refused.stderr


def test_a_file_that_cannot_be_read_is_named(config: Path) -> None:
    (config.parent / "users").write_text("alice:plain\n")
    for line in ("user ls", "user add bob --no-password", "user passwd alice", "user rm alice", "token create alice"):
        refused = run(config, line, PASSWORD * 2)
        assert refused.exit_code == 2, line
        assert "line 1: alice has no bcrypt hash" in refused.stderr


EXPLAINED = {
    "a user": ("alice quay.io/a/b", 0, "alice in none of the networks may pull quay.io/a/b: no rule"),
    "nobody": ("quay.io/a/b", 1, "a client in none of the networks may not pull quay.io/a/b without a login"),
    "an unknown one": ("dave quay.io/a/b", 2, "there is no user or client dave"),
    "too many": ("alice bob quay.io/a/b", 2, "at most one user"),
}


@pytest.mark.parametrize(("names", "status", "words"), EXPLAINED.values(), ids=EXPLAINED.keys())
def test_what_a_user_may_is_explained(config: Path, names: str, status: int, words: str) -> None:
    run(config, "user add alice --no-password")
    said = run(config, f"access explain {names}")
    assert said.exit_code == status
    assert words in said.output
