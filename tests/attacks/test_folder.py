"""Another user of the machine: what is kept is not theirs to read or to change, whatever the umask was and is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import config
from tests.faults.kept import wait_event
from tests.faults.test_cache_folder import covered_read_only
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.preloaded import run_hubferry
from tests.support.toml import format_toml

KEY = "YW4gZXhhbXBsZSwgZG8gbm90IHVzZSB0aGlzIGtleSE="
FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
root_only = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="takes root")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """What processes that are started within inherit."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """What another user could read or change if they reached it, the folder itself among it."""
    return [
        f"{path.relative_to(folder)} {stat.S_IMODE(path.lstat().st_mode):o}"
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_mode & FOR_OTHERS
    ]


def pull(state: Path, hub: Hub, settings: Mapping[str, Any]) -> Gateway:
    """A gateway that has kept an image and its layer, and has ended."""
    image = build_image("folder")
    hub.add("library/app", "latest", image)
    with Gateway.start(state / "gateway", settings) as gateway:
        assert fetch(f"{gateway.url}/v2/app/manifests/latest").status == 200
        layer = image.layers[0]
        assert fetch(f"{gateway.url}/v2/app/blobs/{layer.digest}").body == layer.data
    return gateway


@pytest.mark.parametrize("mask", [0o022, 0o000], ids=["022", "000"])
def test_row_18_nobody_else_reads_what_is_kept(tmp_path: Path, hub: Hub, mask: int) -> None:
    settings = config(tmp_path, hub)
    folder = Path(settings["cache"]["dir"])
    with umask(mask):
        pull(tmp_path, hub, settings)
    assert len(list((folder / "blobs").rglob("*"))) > 4
    assert open_to_others(folder) == []


def test_row_18_a_folder_that_is_there_already_is_closed(tmp_path: Path, hub: Hub) -> None:
    settings = config(tmp_path, hub)
    folder = Path(settings["cache"]["dir"])
    pull(tmp_path, hub, settings)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    gateway = pull(tmp_path, hub, settings)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    ours = [path.name for path in folder.iterdir() if path.stat().st_mode & FOR_OTHERS]
    assert ours == []
    said = str(wait_event(gateway, "cache_folder_open")["problem"])
    assert "hubferry cache verify" in said
    assert "token.key" in said
    again = pull(tmp_path, hub, settings)
    assert not [record for record in again.log_records() if record["event"] == "cache_folder_open"]


def test_row_18_a_folder_that_holds_other_things_keeps_its_mode(tmp_path: Path, hub: Hub) -> None:
    """`cache.dir = "."` must not lock others out of what is not hubferry's; what is hubferry's is closed to them."""
    settings = config(tmp_path, hub)
    folder = Path(settings["cache"]["dir"])
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    (folder / "letters").mkdir(mode=0o755)
    with umask(0o022):
        pull(tmp_path, hub, settings)
    assert open_to_others(folder) == [". 755", "letters 755"]


@root_only
def test_row_18_what_cannot_be_closed_is_said(tmp_path: Path, hub: Hub) -> None:
    settings = config(tmp_path, hub)
    settings["access"]["token_key"] = KEY
    folder = Path(settings["cache"]["dir"])
    folder.mkdir()
    folder.chmod(0o755)
    with covered_read_only(folder), Gateway.start(tmp_path / "gateway", settings) as gateway:
        said = str(wait_event(gateway, "cache_folder_open")["problem"])
    assert str(folder) in said
    assert "755" in said
    assert "chmod 700" in said


@root_only
def test_row_18_a_folder_of_somebody_else_is_said(tmp_path: Path, hub: Hub) -> None:
    settings = config(tmp_path, hub)
    folder = Path(settings["cache"]["dir"])
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    gateway = pull(tmp_path, hub, settings)
    assert "12345" in str(wait_event(gateway, "cache_folder_open")["problem"])


@root_only
def test_row_18_a_token_key_of_somebody_else_is_not_used(tmp_path: Path, hub: Hub) -> None:
    settings = config(tmp_path, hub)
    key = Path(settings["cache"]["dir"]) / "token.key"
    key.parent.mkdir()
    key.write_text(KEY)
    os.chown(key, 12345, 12345)
    assert_refused(tmp_path, settings, str(key), "12345", "remove it")
    key.unlink()
    elsewhere = tmp_path / "known"
    elsewhere.write_text(KEY)
    key.symlink_to(elsewhere)
    assert_refused(tmp_path, settings, str(key), "symbolic link", "remove it")


def test_row_18_a_token_key_that_others_could_read_is_closed_and_told(tmp_path: Path, hub: Hub) -> None:
    settings = config(tmp_path, hub)
    key = Path(settings["cache"]["dir"]) / "token.key"
    key.parent.mkdir()
    key.write_text(KEY)
    key.chmod(0o644)
    gateway = pull(tmp_path, hub, settings)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    said = str(wait_event(gateway, "token_key_open")["problem"])
    assert str(key) in said
    assert "remove it" in said


def test_row_18_a_blob_under_way_is_not_written_through_a_link(tmp_path: Path, hub: Hub) -> None:
    """Planted while others could write to the folder."""
    settings = config(tmp_path, hub)
    folder = Path(settings["cache"]["dir"])
    image = build_image("folder")
    hub.add("library/app", "latest", image)
    layer = image.layers[0]
    victim = tmp_path / "victim"
    victim.write_bytes(b"")  # one that holds something is taken for damaged, and only loses the link
    folder.joinpath("partial").mkdir(parents=True)
    name = f"{layer.digest.replace(':', '-')}-{sha256(b'docker.io').hexdigest()[:16]}"
    (folder / "partial" / name).symlink_to(victim)
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        assert fetch(f"{gateway.url}/v2/app/blobs/{layer.digest}").body == layer.data
    assert victim.read_bytes() == b""


def assert_refused(state: Path, settings: Mapping[str, Any], *words: str) -> None:
    file = state / "refused.toml"
    file.write_text(format_toml({**settings, "server": {"listen": "127.0.0.1:0"}}))
    done = run_hubferry("serve", "--config", file, env={})
    assert done.returncode == 1, done.stderr
    for word in words:
        assert word in done.stderr
