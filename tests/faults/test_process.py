"""The process: how it starts, refuses to start, and stops."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.conftest import REPOSITORY, config
from tests.faults.kept import events
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch, open_stream
from tests.support.hub import Hub
from tests.support.preloaded import run_hubferry
from tests.support.processes import free_port
from tests.support.tls import Authority
from tests.support.waiting import wait_until


def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **(env or {})}
    return run_hubferry(*args, env=environment)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nlisten = 5\n", ["server.listen", "list of texts"]),
        ('[server]\nlissen = "127.0.0.1:5000"\n', ["server.lissen", "did you mean listen?"]),
        ("[sever]\nx = 1\n", ["sever", "did you mean server?"]),
        ('[upstreams."docker.io"]\nmirors = []\n', ['upstreams."docker.io".mirors', "did you mean mirrors?"]),
        ('[cache]\nmax_size = "20 quarks"\n', ["cache.max_size", "20GiB"]),
        ('[cache]\ntag_ttl = "soon"\n', ["cache.tag_ttl", "60s"]),
        ('[access]\nlogin = "nobody"\n', ["access.login", "upstream, open"]),
        ('[upstreams."docker.io"]\nurl = "ftp://x"\n', ['upstreams."docker.io".url', "http(s)://HOST"]),
        ('[upstreams."docker.io"]\nusername = "me"\n', ["password_file", "set password_file or password"]),
        (
            '[upstreams."docker.io"]\nusername = "me"\npassword_file = "/does/not/exist"\n',
            ["password_file", "/does/not/exist", "No such file"],
        ),
        ('[upstreams."docker.io"]\nca_file = "/etc/hostname"\n', ["ca_file", "/etc/hostname"]),
        ('[server]\ntls_cert = "/does/not/exist"\ntls_key = "/x"\n', ["server.tls_cert", "check both files"]),
        ("[upstreams]\nonly = true\n", ["default = true"]),
        ("[server\n", ["is not valid TOML", "line 1"]),
    ],
)
def test_a_bad_file_stops_the_start_with_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "hubferry.toml"
    file.write_text(text)
    for command in (["serve", "--config", str(file)], ["config", "check", str(file)]):
        done = run(*command)
        assert done.returncode == 1
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        for word in (str(file), *words):
            assert word in lines[0]


def test_a_missing_file_stops_the_start_with_one_line(tmp_path: Path) -> None:
    done = run("serve", "--config", str(tmp_path / "none.toml"))
    assert done.returncode == 1
    assert "none.toml" in done.stderr
    assert "check the path" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_variable_stops_the_start(tmp_path: Path) -> None:
    done = run("config", "show", env={"HUBFERRY_SERVER__LISSEN": "x"})
    assert done.returncode == 2
    assert "lissen" in done.stderr.lower()
    assert "listen" in done.stderr


def test_config_show_masks_secrets_and_takes_every_layer(tmp_path: Path) -> None:
    file = tmp_path / "hubferry.toml"
    file.write_text('[upstreams."docker.io"]\nproxy = "http://me:s3cret@127.0.0.1:3128"\n')
    env = {"HUBFERRY_SERVER__WORKERS": "3", "HUBFERRY_UPSTREAMS__GHCR_IO__LIBRARY": "true"}
    done = run("config", "show", "--config", str(file), env=env)
    assert done.returncode == 0
    assert "s3cret" not in done.stdout
    assert 'proxy = "http://********@127.0.0.1:3128"' in done.stdout
    assert "workers = 3" in done.stdout


def test_a_setting_of_the_worker_is_refused_by_a_server_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "hubferry.toml"
    file.write_text('[cache]\nmax_copied = "1MiB"\n')
    for status, done in (
        (1, run("config", "check", str(file))),  # which finds what it is asked for
        (2, run("config", "show", env={"HUBFERRY_CACHE__MAX_COPIED": "1MiB"})),
    ):
        assert done.returncode == status
        assert "cache.max_copied: it has a meaning on Cloudflare Workers only: remove it" in done.stderr
    assert "max_copied" not in run("config", "show").stdout


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--listen", address, env={"HUBFERRY_CACHE__DIR": str(tmp_path)})
    assert done.returncode == 1
    assert address in done.stderr
    assert "choose another" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_finishes_a_running_pull_and_takes_no_new_one(tmp_path: Path, hub: Hub, workers: int) -> None:
    blob = Blob.generated(64 * MIB, seed=3)
    hub.add_blob(REPOSITORY, blob)
    settings = config(tmp_path, hub, read_timeout="60s")
    settings["server"] = {"workers": workers}
    gateway = Gateway.start(tmp_path / "gateway", settings)
    with open_stream(f"{gateway.url}/v2/app/blobs/{blob.digest}", receive_buffer=64 * 1024) as stream:
        stream.read(1)
        gateway.process.signal(signal.SIGTERM)
        wait_until(lambda: not _accepts(gateway.port), "that it takes no new connection")
        # the rest of the answer is more than the buffers between take, so that it cannot be over; of two workers the
        # other one says that it waits for nobody, unless the signal found it starting
        wait_until(lambda: any(one["answers"] for one in events(gateway, "stopping")), "that it says it waits")
        told = events(gateway, "stopping")
        assert sum(one["answers"] for one in told) == 1
        assert len(told) <= workers
        assert all(one["connections"] >= one["answers"] for one in told)
        assert {(one["grace_s"], one["level"]) for one in told} == {(30, "info")}
        stream.read_all()
        assert (stream.ended, stream.received) == ("complete", blob.size)
    gateway.stopped = True
    assert gateway.process.wait(20) == 0
    assert events(gateway, "cut_off") == []


def test_with_nothing_running_sigterm_waits_for_nobody_and_says_so(tmp_path: Path, hub: Hub) -> None:
    with Gateway.start(tmp_path / "gateway", config(tmp_path, hub)) as gateway, idle_connection(gateway):
        gateway.stop()
    (told,) = events(gateway, "stopping")
    assert (told["connections"], told["answers"], told["fills"], told["grace_s"]) == (0, 0, 0, 30)
    assert events(gateway, "cut_off") == []


def test_sigterm_cuts_what_is_not_finished_within_the_grace(tmp_path: Path, hub: Hub) -> None:
    blob = Blob.generated(256 * MIB, seed=3)
    hub.add_blob(REPOSITORY, blob)
    settings = config(tmp_path, hub, read_timeout="60s")
    settings["server"] = {"shutdown_grace": "1s"}
    hub.script(faults.stall(MIB), role="cdn")
    gateway = Gateway.start(tmp_path / "gateway", settings)
    with open_stream(f"{gateway.url}/v2/app/blobs/{blob.digest}", receive_buffer=64 * 1024) as stream:
        stream.read(1)
        gateway.process.signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
        gateway.stopped = True
        stream.read_all()
        assert stream.ended in ("short", "reset")
    (stopping,), (cut,) = events(gateway, "stopping"), events(gateway, "cut_off")
    counts = {"connections": 1, "answers": 1, "fills": 1}
    assert stopping.items() >= {**counts, "grace_s": 1}.items()
    assert cut.items() >= {**counts, "level": "warning"}.items()


def test_a_second_interrupt_cuts_at_once_and_says_so(tmp_path: Path, hub: Hub) -> None:
    blob = Blob.generated(4 * MIB, seed=3)
    hub.add_blob(REPOSITORY, blob)
    hub.script(faults.stall(MIB), role="cdn")
    settings = config(tmp_path, hub, read_timeout="60s")
    gateway = Gateway.start(tmp_path / "gateway", settings)
    with open_stream(f"{gateway.url}/v2/app/blobs/{blob.digest}") as stream:
        stream.read(1)
        gateway.process.signal(signal.SIGINT)
        wait_until(lambda: bool(events(gateway, "stopping")), "that it says it waits")
        gateway.process.signal(signal.SIGINT)
        assert gateway.process.wait(20) == 0  # the grace is 30 s
        gateway.stopped = True
        stream.read_all()
        assert stream.ended in ("short", "reset")
    assert len(events(gateway, "cut_off")) == 1


def test_a_worker_that_does_not_end_is_killed_and_named(tmp_path: Path, hub: Hub) -> None:
    settings = config(tmp_path, hub)
    settings["server"] = {"workers": 2, "shutdown_grace": "1s"}
    gateway = Gateway.start(tmp_path / "gateway", settings)
    stopped = psutil.Process(gateway.pid).children()[0]
    stopped.suspend()
    # until then SIGTERM may end one that is starting
    wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, "that the worker stands still")
    gateway.process.signal(signal.SIGTERM)
    assert gateway.process.wait(30) == 1
    gateway.stopped = True
    assert [one["worker"] for one in events(gateway, "worker_killed")] == [stopped.pid]


def test_a_worker_that_dies_is_replaced(tmp_path: Path, hub: Hub) -> None:
    settings = config(tmp_path, hub)
    settings["server"] = {"workers": 2}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        workers = psutil.Process(gateway.pid).children()
        assert len(workers) == 2
        workers[0].kill()
        before = {worker.pid for worker in workers}
        wait_until(
            lambda: len({worker.pid for worker in psutil.Process(gateway.pid).children()} - before) == 1, "a new worker"
        )
        assert fetch(gateway.url + "/healthz").status == 200


def test_it_listens_on_every_address_of_a_list(tmp_path: Path, hub: Hub) -> None:
    with Gateway.start(tmp_path / "gateway", config(tmp_path, hub), listen=["127.0.0.1", "[::1]"]) as gateway:
        assert fetch(f"http://127.0.0.1:{gateway.port}/v2/").status == 200
        assert fetch(f"http://[::1]:{gateway.port}/v2/").status == 200


def test_any_address_of_ipv6_takes_ipv4_as_well(tmp_path: Path, hub: Hub) -> None:
    settings: dict[str, Any] = {**config(tmp_path, hub), "server": {"public": True}}
    with Gateway.start(tmp_path / "gateway", settings, listen=["[::]"]) as gateway:
        assert fetch(f"http://127.0.0.1:{gateway.port}/v2/").status == 200


def test_tls_is_http_1_1(tmp_path: Path, hub: Hub) -> None:
    authority = Authority(tmp_path / "ca")
    certificate = authority.issue()
    settings: dict[str, Any] = config(tmp_path, hub)
    settings["server"] = {"tls_cert": str(certificate.cert_file), "tls_key": str(certificate.key_file)}
    port = free_port()
    gateway = Gateway.start(tmp_path / "gateway", settings, port=port, scheme="https", wait=False)
    with gateway:
        wait_until(lambda: _accepts(port), "a listener")
        answer = fetch(f"https://127.0.0.1:{port}/v2/", context=authority.client_context())
        assert answer.status == 200


def test_the_token_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path, hub: Hub) -> None:
    settings = config(tmp_path, hub, login="upstream")
    tokens: list[str] = []
    port = free_port()
    for _ in range(2):
        with Gateway.start(tmp_path / "gateway", settings, port=port) as gateway:
            token = fetch(f"{gateway.url}/token?scope=repository:app:pull").json()["token"]
            tokens.append(token)
            answer = fetch(f"{gateway.url}/v2/", headers=[("Authorization", f"Bearer {tokens[0]}")])
            assert answer.status == 200, "a token made before the restart no longer opens"
    key = tmp_path / "data" / "token.key"
    assert key.stat().st_mode & 0o777 == 0o600


@contextmanager
def idle_connection(gateway: Gateway) -> Iterator[None]:
    """A client that was answered, and kept its connection."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        yield


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
