"""Set up, set up again, change by hand, undo: what becomes of the files."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from hubferry.core.client_files import SOURCES, CannotEditError, PlanRequest, parse_gateway, plan_client
from hubferry.setup.machine import Machine
from hubferry.setup.steps import Change, Setup

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hubferry_" + "0123456789" * 4
DAEMON_JSON = "etc/docker/daemon.json"
GHCR = "etc/docker/certs.d/ghcr.io/hosts.toml"


def set_up(
    root: Path,
    client: str = "docker",
    *,
    url: str = "https://hub",
    registries: tuple[str, ...] = ("docker.io", "ghcr.io"),
) -> list[Change]:
    machine = Machine(root)
    work = Setup(machine, client)
    request = PlanRequest(parse_gateway(url), registries, None, work.texts(machine.find(SOURCES[client])))
    changes = work.changes(plan_client(client, request))
    work.write(changes)
    return changes


def undo(root: Path, client: str = "docker") -> list[Change]:
    work = Setup(Machine(root), client)
    changes = work.changes(None)
    work.write(changes)
    return changes


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file and folder, with the bits of its mode."""
    return {
        str(path.relative_to(root)): (path.read_bytes() if path.is_file() else b"", stat.S_IMODE(path.stat().st_mode))
        for path in root.rglob("*")
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc" / "docker").mkdir(parents=True)
    (tmp_path / DAEMON_JSON).write_text('{"log-driver": "local"}')
    (tmp_path / DAEMON_JSON).chmod(0o640)
    return tmp_path


def mirrors(root: Path) -> list[str]:
    found: list[str] = json.loads((root / DAEMON_JSON).read_text())["registry-mirrors"]
    return found


def test_undo_leaves_everything_as_it_was(root: Path) -> None:
    before = tree(root)
    set_up(root)
    after = tree(root)
    assert after[DAEMON_JSON + ".before-hubferry"] == before[DAEMON_JSON]
    assert after[DAEMON_JSON][1] == 0o640
    assert after[GHCR][1] == 0o644
    assert mirrors(root) == ["https://hub"]
    undo(root)
    assert tree(root) == before


def test_setting_up_twice_changes_nothing(root: Path) -> None:
    set_up(root)
    once = tree(root)
    assert not any(change.is_needed for change in set_up(root))
    assert tree(root) == once


def test_another_gateway_replaces_the_first(root: Path) -> None:
    before = tree(root)
    set_up(root)
    set_up(root, url="https://other", registries=("docker.io",))
    assert mirrors(root) == ["https://other"]
    assert not (root / GHCR).exists()
    undo(root)
    assert tree(root) == before


def test_what_somebody_changed_since_stays(root: Path) -> None:
    set_up(root)
    text = (root / DAEMON_JSON).read_text().replace('"local"', '"journald"')
    (root / DAEMON_JSON).write_text(text)
    (root / GHCR).write_text((root / GHCR).read_text() + '\n[host."https://mine"]\n')
    assert not any(change.is_needed for change in set_up(root))
    undo(root)
    assert (root / DAEMON_JSON).read_text() == '{"log-driver": "journald"}'
    assert "https://mine" in (root / GHCR).read_text()
    assert "https://hub" not in (root / GHCR).read_text()
    assert sorted(path.name for path in (root / "etc" / "docker").iterdir()) == ["certs.d", "daemon.json"]


def test_changes_survive_setting_up_again_and_undoing(root: Path) -> None:
    set_up(root)
    (root / DAEMON_JSON).write_text('{"debug": true, "registry-mirrors": ["https://mine", "https://hub"]}')
    set_up(root, url="https://other")
    assert mirrors(root) == ["https://other", "https://mine"]
    undo(root)
    assert (root / DAEMON_JSON).read_text() == '{"debug": true, "registry-mirrors": ["https://mine"]}'


def test_what_cannot_be_taken_out_is_left_with_its_copy(root: Path) -> None:
    set_up(root)
    (root / DAEMON_JSON).write_text("nonsense")
    changes = undo(root)
    assert [change.path for change in changes if change.base.problem] == ["/" + DAEMON_JSON]
    assert (root / DAEMON_JSON).read_text() == "nonsense"
    assert (root / (DAEMON_JSON + ".before-hubferry")).exists()
    assert not (root / GHCR).exists()
    (root / DAEMON_JSON).write_text('{"registry-mirrors": ["https://hub"]}')
    undo(root)
    assert (root / DAEMON_JSON).read_text() == "{}"
    assert not (root / "etc/docker/hubferry-setup.docker.json").exists()


def test_a_file_that_somebody_removed_is_not_made_again(root: Path) -> None:
    set_up(root)
    (root / DAEMON_JSON).unlink()
    undo(root)
    assert not (root / DAEMON_JSON).exists()
    assert (root / (DAEMON_JSON + ".before-hubferry")).exists()


def test_a_machine_with_none_of_the_files(tmp_path: Path) -> None:
    for client in SOURCES:
        set_up(tmp_path, client)
        undo(tmp_path, client)
        assert tree(tmp_path) == {}, client


def test_a_secret_is_for_the_owner_only(root: Path) -> None:
    before = tree(root)
    set_up(root, url=f"https://hub/{SECRET}")
    after = tree(root)
    assert {name for name, (content, mode) in after.items() if SECRET.encode() in content and mode & 0o077} == set()
    assert SECRET.encode() in after[DAEMON_JSON][0]
    undo(root)
    assert tree(root) == before


def test_podman_and_crio_do_not_undo_each_other(tmp_path: Path) -> None:
    set_up(tmp_path, "podman")
    alone = tree(tmp_path)
    set_up(tmp_path, "crio")
    undo(tmp_path, "crio")
    assert tree(tmp_path) == alone


def test_what_was_interrupted_is_undone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(root)
    write = Machine.write

    def full(self: Machine, path: str, seen: object) -> None:
        if path.endswith("hosts.toml"):
            raise OSError(28, "No space left on device")
        write(self, path, seen)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Machine, "write", full)
        with pytest.raises(OSError, match="No space"):
            set_up(root)
    assert mirrors(root) == ["https://hub"]
    undo(root)
    assert tree(root) == before


def test_a_copy_of_somebody_else_is_not_overwritten(root: Path) -> None:
    (root / (DAEMON_JSON + ".before-hubferry")).write_text("precious")
    with pytest.raises(CannotEditError, match="move it away"):
        set_up(root)
    assert (root / (DAEMON_JSON + ".before-hubferry")).read_text() == "precious"


def test_what_is_as_asked_for_already_is_nobodys(root: Path) -> None:
    (root / DAEMON_JSON).write_text('{"registry-mirrors": ["https://hub"]}')
    before = tree(root)
    set_up(root, registries=("docker.io",))
    assert tree(root) == before


def test_what_somebody_writes_before_the_answer_is_not_overwritten(root: Path) -> None:
    machine = Machine(root)
    work = Setup(machine, "docker")
    request = PlanRequest(parse_gateway("https://hub"), ("docker.io",), None, {})
    changes = work.changes(plan_client("docker", request))
    (root / DAEMON_JSON).write_text('{"debug": true}')
    before = tree(root)
    with pytest.raises(CannotEditError, match="was changed meanwhile"):
        work.write(changes)
    assert tree(root) == before


def test_another_run_before_the_answer_is_noticed(root: Path) -> None:
    machine = Machine(root)
    work = Setup(machine, "docker")
    request = PlanRequest(parse_gateway("https://hub"), ("ghcr.io",), None, {})
    changes = work.changes(plan_client("docker", request))
    set_up(root, url="https://other", registries=("quay.io",))
    before = tree(root)
    with pytest.raises(CannotEditError, match="was changed meanwhile"):
        work.write(changes)
    assert tree(root) == before
