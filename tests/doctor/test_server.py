"""`hubferry doctor` on a server: a healthy set-up, and one that is broken for each check."""

from __future__ import annotations

import shutil
import signal
import subprocess
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from hubferry.cli import main
from tests.doctor.command import examine, fake_names, server_config
from tests.support import faults
from tests.support.gateway import HUBFERRY
from tests.support.images import build_index
from tests.support.processes import find_program
from tests.support.proxy import ConnectProxy
from tests.support.raw_server import RawServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hub import Hub
    from tests.support.images import Index
    from tests.support.tls import Authority

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"


def test_a_healthy_server(filled: Hub, tmp_path: Path) -> None:
    filled.state.pull_limit = 100
    filled.script(faults.header("Date", formatdate(usegmt=True)), role="hub", path="^/v2/$")
    report = examine("--config", server_config(tmp_path, filled.url))
    assert report.marks == {"ok"}, report.checks
    assert list(report.checks) == [
        "configuration", "cache folder", "docker.io names", "docker.io connection", "docker.io registry",
        "docker.io tokens", "docker.io quota", "docker.io content", "clock",
    ]  # fmt: skip
    assert "100 of 100 pulls are left; all are again within 6 h" in report.text("docker.io quota")
    assert "from 127.0.0.1" in report.text("docker.io content")
    assert not list((tmp_path / "data").iterdir())


def test_it_costs_one_pull(filled: Hub, image: Index, tmp_path: Path) -> None:
    examine("--config", server_config(tmp_path, filled.url))
    assert {one.status for one in filled.find("hub", "HEAD", "/manifests/")} == {401, 200}
    assert [one.request.path for one in filled.find("hub", "GET", "/manifests/")] == [
        "/v2/library/hello-world/manifests/latest",
        f"/v2/library/hello-world/manifests/{image.image('amd64').digest}",
    ]


def test_people_read_lines(filled: Hub, tmp_path: Path) -> None:
    said = CliRunner().invoke(main, ["doctor", "-c", str(server_config(tmp_path, filled.url))])
    assert said.exit_code == 0
    assert "ok       docker.io registry: " in said.stdout
    assert len(said.stdout.splitlines()) == 9


def test_misuse() -> None:
    for arguments, words in (
        (["--gateway", "hub.test"], "write https://hub.example.com"),
        (["--gateway", "https://u:geheim@hub.test?x"], "********@"),
        (["--gateway", "https://hub.test", "-c", "x.toml"], "for the server"),
        (["--pull"], "give --gateway"),
        (["--upstream", "reg.test"], "none of the upstreams"),
        (["--image", "reg.test/app"], "none of the upstreams"),
        (["--gateway", "https://hub.test", "--image", "UPPER"], "is no image"),
        (["-c", "nowhere.toml"], "cannot be read"),
    ):
        said = CliRunner().invoke(main, ["doctor", *arguments])
        assert said.exit_code == 2, said.output
        assert words in said.stderr
        assert "geheim" not in said.output


def test_a_configuration_that_cannot_work(filled: Hub, tmp_path: Path) -> None:
    file = server_config(tmp_path, filled.url, password_file=str(tmp_path / "nowhere"), username="me")
    report = examine("--config", file)
    assert report.mark("configuration") == "failed"
    assert "password_file" in report.text("configuration")
    assert report.mark("docker.io") == "skipped"


def test_a_folder_without_room(filled: Hub, tmp_path: Path) -> None:
    file = server_config(tmp_path, filled.url)
    file.write_text(file.read_text().replace('"1MiB"', f'"{shutil.disk_usage(tmp_path).free // 2**20 + 2**20}MiB"'))
    report = examine("--config", file)
    assert report.bad() == ["cache folder"]
    assert "are to stay free" in report.text("cache folder")


def test_a_folder_that_cannot_be_written(hub: Hub, tmp_path: Path, dead: str) -> None:
    """Also by root: on a disk that is mounted read-only."""
    unshare = find_program("unshare")
    file = server_config(tmp_path, f"http://{dead}")
    mount = f'mount -t tmpfs -o ro none "{tmp_path}/data" && exec "$@"'
    command = [unshare, "--mount", "--map-root-user", "sh", "-c", mount, "sh", str(HUBFERRY), "doctor", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "failed   cache folder: " in done.stdout
    assert "cannot write into" in done.stdout
    assert hub.count() == 0


def test_a_clock_that_is_wrong(filled: Hub, tmp_path: Path) -> None:
    filled.script(faults.header("Date", "Thu, 01 Jan 2015 00:00:00 GMT"), role="hub", path="^/v2/$", times=None)
    report = examine("--config", server_config(tmp_path, filled.url))
    assert report.bad() == ["clock"]
    assert "ahead of 127.0.0.1" in report.text("clock")


NAMES = {
    "198.18.0.7": "fake-ip",
    "0.0.0.0": "blocks it",
    "157.240.7.5": "false DNS answers",
    "10.0.0.7": "allow_private_addresses",
}


@pytest.mark.parametrize(("address", "words"), NAMES.items())
def test_names_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, words: str) -> None:
    fake_names(monkeypatch, {"registry.test": address})
    report = examine("-c", server_config(tmp_path, "https://registry.test", allow_private_addresses=False))
    assert report.bad() == ["docker.io names"]
    assert words in report.text("docker.io names")


def test_a_name_that_is_none(tmp_path: Path) -> None:
    report = examine("-c", server_config(tmp_path, "https://registry.invalid"))
    assert report.bad() == ["docker.io names"]
    assert "getent ahosts registry.invalid" in report.text("docker.io names")


def test_nobody_at_the_port(tmp_path: Path, dead: str) -> None:
    report = examine("-c", server_config(tmp_path, f"http://{dead}"))
    assert report.bad() == ["docker.io connection"]
    assert report.mark("docker.io and the rest") == "skipped"


def test_a_certificate_for_another_name(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """A false answer whose address cannot be told from others: whoever is there has no certificate for the name."""
    fake_names(monkeypatch, {"registry.test": "127.0.0.1"})
    with RawServer([PAGE], certificate=authority.issue(["portal.test"])) as portal:
        url = f"https://registry.test:{portal.port}"
        report = examine("-c", server_config(tmp_path, url, ca_file=str(authority.ca_file)))
        assert report.bad() == ["docker.io connection"]
        assert "somebody else" in report.text("docker.io connection")
        report = examine("-c", server_config(tmp_path, url))
        assert "ca_file" in report.text("docker.io connection")


def test_what_speaks_no_tls(tmp_path: Path) -> None:
    with RawServer([PAGE], close=True) as plain:
        report = examine("-c", server_config(tmp_path, f"https://127.0.0.1:{plain.port}", tls_timeout="2s"))
    assert report.bad() == ["docker.io connection"]


def test_a_captive_portal(tmp_path: Path) -> None:
    with RawServer([PAGE], close=True) as portal:
        report = examine("-c", server_config(tmp_path, portal.url))
    assert report.bad() == ["docker.io registry"]
    assert "captive portal" in report.text("docker.io registry")


def test_a_token_service_that_is_away(filled: Hub, tmp_path: Path, dead: str) -> None:
    realm = f'Bearer realm="http://{dead}/token",service="registry.docker.io"'
    filled.script(faults.challenge(realm), role="hub", path="^/v2/$")
    report = examine("-c", server_config(tmp_path, filled.url))
    assert report.bad() == ["docker.io tokens"]
    assert report.mark("docker.io quota, content") == "skipped"


def test_a_realm_that_is_none(filled: Hub, tmp_path: Path) -> None:
    filled.script(faults.challenge('Bearer realm="http://[:x/token",service="r"'), role="hub", path="^/v2/$")
    report = examine("-c", server_config(tmp_path, filled.url))
    assert report.bad() == ["docker.io tokens"]
    assert "no URL" in report.text("docker.io tokens")


def test_an_account_that_is_refused(filled: Hub, tmp_path: Path) -> None:
    report = examine("-c", server_config(tmp_path, filled.url, username="me", password="geheim"))
    assert report.bad() == ["docker.io tokens"]
    assert "refused the user name or password of me" in report.text("docker.io tokens")
    assert "geheim" not in str(report.checks)


def test_a_cdn_that_is_away(filled: Hub, tmp_path: Path, dead: str) -> None:
    filled.script(faults.redirect(f"http://{dead}/blob"), role="hub", path="/blobs/")
    report = examine("-c", server_config(tmp_path, filled.url))
    assert report.bad() == ["docker.io content"]


def test_content_that_was_changed(filled: Hub, tmp_path: Path) -> None:
    filled.script(faults.flip_byte(5), role="cdn")
    report = examine("-c", server_config(tmp_path, filled.url))
    assert report.bad() == ["docker.io content"]
    assert "do not have this digest" in report.text("docker.io content")


def test_no_pulls_left(filled: Hub, tmp_path: Path) -> None:
    filled.state.pull_limit = 10
    filled.state.pulls["127.0.0.1"] = 10
    report = examine("-c", server_config(tmp_path, filled.url))
    assert report.bad() == ["docker.io quota"]
    assert "docker.io content" not in report.checks


def test_an_image_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    report = examine("-c", server_config(tmp_path, hub.url))
    assert report.bad() == []
    assert "--image docker.io/REPOSITORY:TAG" in report.text("docker.io quota")


def test_another_image(hub: Hub, tmp_path: Path) -> None:
    hub.add("team/app", "1", build_index("doctor-other", layer_sizes=(2_000,)))
    report = examine("-c", server_config(tmp_path, hub.url), "--image", "team/app:1")
    assert report.bad() == []
    assert "team/app:1" in report.text("docker.io content")


def test_a_proxy_that_is_down(tmp_path: Path, dead: str) -> None:
    proxy = f"http://me:geheim@{dead}"
    report = examine("-c", server_config(tmp_path, "https://registry.test", proxy=proxy))
    assert report.bad() == ["docker.io connection"]
    assert "the proxy failed" in report.text("docker.io connection")
    assert "geheim" not in str(report.checks)


def test_through_a_proxy(filled: Hub, tmp_path: Path) -> None:
    with ConnectProxy(filled.servers[0].port) as proxy:
        login = proxy.url.replace("//", "//me:geheim@")
        report = examine("-c", server_config(tmp_path, f"http://registry.test:{filled.servers[0].port}", proxy=login))
    assert f"through http://********@127.0.0.1:{proxy.port}" in report.text("docker.io connection")
    assert report.mark("docker.io registry") == "ok"


def test_no_proxy(filled: Hub, tmp_path: Path, dead: str) -> None:
    file = server_config(tmp_path, filled.url, proxy=f"http://{dead}")
    report = examine("-c", file, env={"NO_PROXY": "127.0.0.1"})
    assert report.bad() == ["docker.io proxy"]
    assert "NO_PROXY" in report.text("docker.io proxy")


def test_a_proxy_of_the_environment_has_no_effect(tmp_path: Path, dead: str) -> None:
    file = server_config(tmp_path, f"http://{dead}")
    report = examine("-c", file, env={"HTTPS_PROXY": "http://127.0.0.1:7890"})
    assert report.bad() == ["docker.io connection", "proxy"]
    assert "HTTPS_PROXY is set, and hubferry does not read it" in report.text("proxy")


def test_a_mirror_that_works_makes_it_a_warning(filled: Hub, tmp_path: Path, dead: str) -> None:
    file = server_config(tmp_path, f"http://{dead}", mirrors=[filled.url])
    report = examine("-c", file)
    assert (report.exit_code, report.bad()) == (0, ["docker.io connection"])
    assert report.mark("docker.io content") == "ok"


def test_it_can_be_interrupted(hub: Hub, tmp_path: Path) -> None:
    hub.script(faults.stall(), role="hub")
    process = subprocess.Popen(
        [str(HUBFERRY), "doctor", "-c", str(server_config(tmp_path, hub.url))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    hub.recorder.wait_until(lambda: hub.count("hub") == 1)
    process.send_signal(signal.SIGINT)
    printed, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (130, "")
    assert "ok       cache folder" in printed
