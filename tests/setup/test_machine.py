"""Files below a root: links stay in it, what is read is bounded, what is written keeps owner and mode."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hubferry.core.client_files import CannotEditError
from hubferry.setup.machine import MAX_BYTES, Machine, Seen

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    return tmp_path / "root"


def test_links_are_followed_below_the_root(root: Path) -> None:
    (root / "opt").mkdir()
    (root / "opt" / "real.json").write_text("inside")
    (root / "etc" / "docker").symlink_to("/opt")
    (root / "opt" / "daemon.json").symlink_to("../../../../opt/real.json")
    machine = Machine(root)
    assert machine.place_of("/etc/docker/daemon.json") == root / "opt" / "real.json"
    seen = machine.read("/etc/docker/daemon.json")
    assert seen is not None
    machine.write("/etc/docker/daemon.json", Seen("changed", 0o640, seen.uid, seen.gid))
    assert (root / "opt" / "real.json").read_text() == "changed"
    assert (root / "opt" / "daemon.json").is_symlink()


def test_a_link_out_of_the_root_leads_nowhere(root: Path) -> None:
    (root.parent / "secret").write_text("outside")
    (root / "etc" / "a").symlink_to("../../secret")
    (root / "etc" / "b").symlink_to(root.parent / "secret")
    assert Machine(root).read("/etc/a") is None
    assert Machine(root).read("/etc/b") is None


def test_links_in_a_circle(root: Path) -> None:
    (root / "etc" / "a").symlink_to("b")
    (root / "etc" / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        Machine(root).read("/etc/a")


def test_what_is_not_read(root: Path) -> None:
    os.mkfifo(root / "etc" / "fifo")
    (root / "etc" / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    (root / "etc" / "latin").write_bytes(b"\xe9")
    for name in ("fifo", "large", "latin", ""):
        with pytest.raises((CannotEditError, IsADirectoryError)):
            Machine(root).read(f"/etc/{name}")
    assert Machine(root).read("/etc/none") is None
    assert Machine(root).read("/etc/large/none") is None


def test_line_ends_stay_as_they_are(root: Path) -> None:
    (root / "etc" / "x").write_bytes(b"a\r\nb\n")
    seen = Machine(root).read("/etc/x")
    assert seen is not None
    Machine(root).write("/etc/x", seen)
    assert (root / "etc" / "x").read_bytes() == b"a\r\nb\n"


def test_files_that_match(root: Path) -> None:
    for name in ("b.conf", "a.conf", "c.txt"):
        (root / "etc" / name).touch()
    (root / "etc" / "certs.d" / "ghcr.io").mkdir(parents=True)
    (root / "etc" / "certs.d" / "ghcr.io" / "hosts.toml").touch()
    (root / "etc" / "certs.d" / "empty").mkdir()
    machine = Machine(root)
    assert machine.find(("/etc/*.conf", "/etc/c.txt", "/etc/none", "/none/*", "/etc/certs.d/*/hosts.toml")) == [
        "/etc/a.conf",
        "/etc/b.conf",
        "/etc/c.txt",
        "/etc/certs.d/ghcr.io/hosts.toml",
    ]


def test_a_write_that_fails_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "etc" / "x").write_text("before")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    machine = Machine(root)
    with pytest.raises(OSError, match="No space") as raised:
        machine.write("/etc/x", Seen("after", 0o644, os.geteuid(), os.getegid()))
    assert (raised.value.filename, machine.has_changed) == (str(root / "etc" / "x"), False)
    assert [path.name for path in (root / "etc").iterdir()] == ["x"]
    assert (root / "etc" / "x").read_text() == "before"
