"""What docker, containerd and podman are configured to do -> whether they ask the gateway."""

from typing import Any

import pytest

from hubferry.core.client_mirrors import Wanted, config_paths, judge_containerd, judge_docker, judge_podman

HUB = "https://hub.example.com"
WANTED = Wanted(HUB, "docker.io")
GHCR = Wanted(HUB, "ghcr.io")
CLOSED = Wanted(HUB, "docker.io", needs_login=True)
STORE = [["driver-type", "io.containerd.snapshotter.v1"]]
HOSTS = f'[host."{HUB}"]\n  capabilities = ["pull", "resolve"]\n'
OTHER = '[host."https://other.test"]\n'
SECRET = f"{HUB}/hubferry_{'0' * 40}/"


def info(*mirrors: str, **more: Any) -> dict[str, Any]:
    return {"ServerVersion": "29.0", "RegistryConfig": {"Mirrors": list(mirrors)}, **more}


DOCKER: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str], Wanted, str, str]] = {
    "it is the mirror": (info(f"{HUB}/"), {}, {}, WANTED, "ok", "asks it first"),
    "another one is first": (info("https://other.test/", HUB), {}, {}, WANTED, "warning", "https://other.test/ first"),
    "another one alone": (info("https://other.test/"), {}, {}, WANTED, "warning", "its mirrors are https://other.test/"),
    "none": (info(), {}, {}, WANTED, "warning", "does not ask it for docker.io"),
    "not restarted": (info(), {"registry-mirrors": [HUB]}, {}, WANTED, "failed", "the running dockerd 29.0"),
    "users, and no secret": (info(HUB), {}, {}, CLOSED, "failed", "silently asks Docker Hub"),
    "users, and a secret": (info(SECRET), {}, {}, CLOSED, "ok", "asks it first"),
    "another registry": (info(HUB), {}, {}, GHCR, "warning", "does not ask it for ghcr.io"),
    "hosts.toml": (info(DriverStatus=STORE), {}, {"ghcr.io": HOSTS}, GHCR, "ok", "ghcr.io/hosts.toml"),
    "hosts.toml for all": (info(DriverStatus=STORE), {}, {"_default": HOSTS}, GHCR, "ok", "_default/hosts.toml"),
    "hosts.toml of another one": (
        info(DriverStatus=STORE), {}, {"ghcr.io": OTHER, "_default": HOSTS}, GHCR, "warning", "does not ask it",
    ),
    "hosts.toml and the classic store": (
        info(DriverStatus=[["Backing Filesystem", "extfs"]]), {}, {"_default": HOSTS}, WANTED, "failed", "classic",
    ),
    "through dockerd's proxy": (
        info(HUB, HttpsProxy="http://u:secret@p.test:1"), {}, {}, WANTED, "warning", "http://********@p.test:1",
    ),
    "not through it": (info(HUB, HttpsProxy="http://p.test:1", NoProxy=".example.com"), {}, {}, WANTED, "ok", ""),
    "nonsense": ({"RegistryConfig": [], "DriverStatus": 1}, {"registry-mirrors": 7}, {}, WANTED, "warning", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", DOCKER.values(), ids=DOCKER.keys())
def test_docker(case: tuple[dict[str, Any], dict[str, Any], dict[str, str], Wanted, str, str]) -> None:
    said, file, hosts, wanted, mark, words = case
    found = judge_docker(said, file, hosts, wanted)
    assert (found.mark, bool(found.remedy)) == (mark, mark != "ok")
    assert words in found.text
    assert "secret@" not in found.text


CRI2 = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = \"{}\"\n"
CRI1 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{}"\n'
FOLDER = "/etc/containerd/certs.d"

CONTAINERD: dict[str, tuple[str, dict[str, dict[str, str]], str, str]] = {
    "version 2": (CRI2.format(FOLDER), {FOLDER: {"_default": HOSTS}}, "ok", "_default/hosts.toml"),
    "version 1": (CRI1.format(FOLDER), {FOLDER: {"docker.io": HOSTS}}, "ok", "docker.io/hosts.toml"),
    "two folders": (CRI2.format(f"{FOLDER}:/etc/docker/certs.d"), {FOLDER: {"_default": HOSTS}}, "ok", ""),
    "written and not read": (CRI2.format(""), {FOLDER: {"_default": HOSTS}}, "failed", "do not read it"),
    "nothing written": (CRI2.format(FOLDER), {FOLDER: {}}, "warning", "does not ask the gateway"),
    "another gateway": (CRI2.format(FOLDER), {FOLDER: {"_default": OTHER}}, "warning", "does not ask the gateway"),
    "docker's own": ('disabled_plugins = ["cri"]', {FOLDER: {}}, "skipped", "CRI plugin is off"),
    "hosts.toml that is none": (CRI2.format(FOLDER), {FOLDER: {"_default": "["}}, "warning", "does not ask"),
    "nonsense": ("plugins = 1", {FOLDER: {}}, "warning", "does not ask"),
}


@pytest.mark.parametrize(("dump", "hosts", "mark", "words"), CONTAINERD.values(), ids=CONTAINERD.keys())
def test_containerd(dump: str, hosts: dict[str, dict[str, str]], mark: str, words: str) -> None:
    found = judge_containerd(config_paths(dump), hosts, WANTED)
    assert found.mark == mark
    assert words in found.text


MIRROR = '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "{}"\n'
PODMAN: dict[str, tuple[list[str], str]] = {
    "a mirror": ([MIRROR.format("hub.example.com/docker.io")], "ok"),
    "in its place": (['[[registry]]\nprefix = "docker.io"\nlocation = "hub.example.com/docker.io"\n'], "ok"),
    "another mirror": ([MIRROR.format("other.test")], "warning"),
    "a later file counts": ([MIRROR.format("hub.example.com/docker.io"), MIRROR.format("other.test")], "warning"),
    "second": ([MIRROR.format("other.test") + '[[registry.mirror]]\nlocation = "hub.example.com"\n'], "warning"),
    "none": ([], "warning"),
    "another registry": (['[[registry]]\nlocation = "ghcr.io"\n'], "warning"),
    "no TOML": (["["], "failed"),
    "nonsense": (["registry = 1", "[registry]\nmirror = 1"], "warning"),
}


@pytest.mark.parametrize(("files", "mark"), PODMAN.values(), ids=PODMAN.keys())
def test_podman(files: list[str], mark: str) -> None:
    found = judge_podman(files, WANTED)
    assert (found.mark, bool(found.remedy)) == (mark, mark != "ok")
