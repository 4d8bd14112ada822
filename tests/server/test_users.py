"""Passwords and the files of users: what is checked and how often, what is read and written, and when."""

import asyncio
import os
import stat
from pathlib import Path

import bcrypt
import pytest

from hubferry.core.settings import AccessSettings
from hubferry.core.users import Directory, StoredSecret, digest_of
from hubferry.core.values import ConfigError
from hubferry.server import user_files, watched_users
from hubferry.server.passwords import BcryptPasswords, make_hash
from hubferry.server.user_files import (
    edit_secrets,
    edit_users,
    open_to_others,
    read_directory,
    read_secrets,
    read_users,
    replace_text,
)
from hubferry.server.watched_users import WatchedUsers
from tests.support.scenes import run_scene
from tests.support.waiting import until

HASH = make_hash("right", 4)
ROW = StoredSecret("aa", "alice", digest_of("x"), is_client=False, created_at=1)


# --- passwords -------------------------------------------------------------------------------------------


def test_a_password_is_that_of_its_hash() -> None:
    async def scene() -> None:
        checker = BcryptPasswords()
        assert not checker.remembers("right", HASH)
        assert await checker.check("right", HASH)
        assert checker.remembers("right", HASH)
        assert not await checker.check("wrong", HASH)
        assert not checker.remembers("wrong", HASH)
        assert not checker.remembers("right", make_hash("right", 4)), "another hash is another login"

    run_scene(scene())


def test_a_decoy_is_a_hash_of_nothing() -> None:
    async def scene() -> None:
        assert not await BcryptPasswords().check("right", "$2b$04$" + "." * 53)

    run_scene(scene())


def test_what_htpasswd_makes_is_understood() -> None:
    async def scene() -> None:
        checker = BcryptPasswords()
        assert await checker.check("right", HASH.replace("$2b$", "$2y$"))
        long = "x" * 100  # htpasswd, like bcrypt itself, looks at 72 bytes
        assert await checker.check(long, bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4)).decode())

    run_scene(scene())


def test_a_password_that_bcrypt_would_cut_has_no_hash() -> None:
    with pytest.raises(ValueError, match="72 bytes"):
        make_hash("x" * 73, 4)


# --- the files -------------------------------------------------------------------------------------------


@pytest.fixture
def access(tmp_path: Path) -> AccessSettings:
    (tmp_path / "users").write_text(f"alice:{HASH}\n")
    (tmp_path / "users").chmod(0o600)
    return AccessSettings(login="users", users_file=str(tmp_path / "users"))


def test_both_are_read_and_changed(access: AccessSettings, tmp_path: Path) -> None:
    assert read_secrets(access) == []
    edit_secrets(access, lambda rows: [*rows, ROW])
    assert read_secrets(access) == [ROW]
    edit_users(access, lambda text: text + "bob:!\n")
    assert list(read_users(access)) == ["alice", "bob"]
    assert read_directory(access).knows("bob")
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_owner_mode_and_link_of_a_file_stay(access: AccessSettings, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.write_text(f"alice:{HASH}\n")
    real.chmod(0o640)
    os.chown(real, 12345, 12345)
    (tmp_path / "users").unlink()
    (tmp_path / "users").symlink_to(real)
    edit_users(access, lambda text: text + "bob:!\n")
    assert (tmp_path / "users").is_symlink()
    seen = real.stat()
    assert (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (12345, 12345, 0o640)
    assert "bob" in real.read_text()


def test_a_change_that_fails_leaves_the_file_and_no_other(access: AccessSettings, tmp_path: Path) -> None:
    def fail(_: str) -> str:
        raise ValueError("no")

    with pytest.raises(ConfigError, match="no"):
        edit_users(access, fail)
    with pytest.raises(UnicodeEncodeError):
        replace_text(tmp_path / "users", "\udc80")
    assert (tmp_path / "users").read_text() == f"alice:{HASH}\n"
    assert {one.name for one in tmp_path.iterdir()} == {"users", ".users.lock"}


PROBLEMS = {
    "no file": (lambda path: path.unlink(), "does not exist|No such file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    "no UTF-8": (lambda path: path.write_bytes(b"\xff"), "not UTF-8"),
    "too large": (lambda path: path.write_bytes(b"#" * 2000), "larger than"),
    "no bcrypt": (lambda path: path.write_text("alice:x\n"), "bcrypt"),
}


@pytest.mark.parametrize(("spoil", "words"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_users_file_that_cannot_be_used_says_why(
    access: AccessSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, spoil: object, words: str
) -> None:
    monkeypatch.setattr(user_files, "MAX_BYTES", 1000)
    spoil(tmp_path / "users")  # type: ignore[operator]
    with pytest.raises(ConfigError, match=words):
        read_directory(access)


def test_files_that_others_can_read_are_named(access: AccessSettings, tmp_path: Path) -> None:
    assert open_to_others(access) == []
    (tmp_path / "users").chmod(0o640)
    (problem,) = open_to_others(access)
    assert "users: other users of this machine can read it (mode 640)" in problem


def test_changes_count_once_the_file_stays_as_it_is(
    access: AccessSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_users, "LOOK_S", 0.001)
    path = tmp_path / "users"

    async def scene() -> None:
        files = WatchedUsers(access)
        files.start()
        try:
            assert files.revision() == 0
            path.write_text(f"bob:{HASH}\n")
            await until(lambda: files.current().knows("bob"))
            assert not files.current().knows("alice")
            assert files.revision() == 1
            path.write_text("carl:plain\n")  # cannot be used
            path.write_text("carl:!\n")
            await until(lambda: files.current().knows("carl"))
            path.unlink()
            await asyncio.sleep(0.02)
            assert files.current().knows("carl"), "the users of before stay"
        finally:
            await files.close()

    run_scene(scene())


def test_whatever_fails_changes_are_noticed_later(
    access: AccessSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_users, "LOOK_S", 0.001)
    failing: list[Exception] = [PermissionError(13, "denied"), RuntimeError("full")]
    read = user_files.read_directory

    def sometimes(settings: AccessSettings) -> Directory:
        if failing:
            raise failing.pop()
        return read(settings)

    async def scene() -> None:
        files = WatchedUsers(access)
        monkeypatch.setattr(watched_users, "read_directory", sometimes)
        files.start()
        try:
            (tmp_path / "users").write_text("bob:!\n")
            await until(lambda: files.current().knows("bob"))
            assert not failing
        finally:
            await files.close()

    run_scene(scene())


def test_users_in_settings_need_no_file() -> None:
    access = AccessSettings(login="users", users=f"alice:{HASH}")
    assert read_directory(access).knows("alice")
    assert open_to_others(access) == []
    with pytest.raises(ConfigError, match="no file to change"):
        edit_users(access, str)
