"""Whether docker, containerd and podman of this machine ask a gateway: reads what they are configured to do.

dockerd is asked what it runs with, because its file may have changed since it started. containerd prints its effective
configuration. podman reads its files at each pull. Nothing is changed.
"""

import asyncio
import contextlib
import json
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from hubferry.core.client_mirrors import (
    Wanted,
    config_paths,
    judge_containerd,
    judge_docker,
    judge_docker_pull,
    judge_podman,
)
from hubferry.core.finding import Finding
from hubferry.core.logged import logged
from hubferry.core.own_image import REPOSITORY, tag_for
from hubferry.core.platforms import normal_platform
from hubferry.doctor import docker_api

MAX_BYTES = 256 * 1024  # of a configuration file
MAX_FILES = 200
DUMP_S = 20.0
USUAL = ("/etc/containerd/certs.d",)  # where hosts.toml is, even if containerd is not told to look there


async def examine_clients(wanted: Wanted, environ: Mapping[str, str], root: Path) -> AsyncIterator[Finding]:
    """Yield a finding for each client that is here. `root` is the folder that stands for `/`."""
    found = False
    for check in (check_docker, check_containerd, check_podman):
        finding = await asyncio.to_thread(check, wanted, environ, root)
        if finding is not None:
            found = True
            yield finding
    if not found:
        yield Finding("clients", "skipped", "neither docker nor containerd nor podman is on this machine")


def check_docker(wanted: Wanted, environ: Mapping[str, str], root: Path) -> Finding | None:
    """Check what the running dockerd says; None without docker."""
    socket = docker_api.socket_of(environ)
    if socket is None:
        return Finding("docker", "skipped", "DOCKER_HOST is another machine: run this there")
    if not socket.exists():
        is_here = shutil.which("dockerd", path=environ.get("PATH")) is not None
        text = f"no dockerd has the socket {socket}: it does not run, or DOCKER_HOST is to name another one"
        return Finding("docker", "skipped", text) if is_here else None
    try:
        info = docker_api.info(socket)
    except docker_api.DockerProblem as error:
        return Finding("docker", "skipped", str(logged(str(error))))
    rootless = Path(environ.get("HOME", "/")) / ".config/docker/daemon.json"
    daemon_json = _json(root / "etc/docker/daemon.json") | _json(rootless)
    return judge_docker(info, daemon_json, _hosts(root / "etc/docker/certs.d"), wanted)


def check_docker_pull(wanted: Wanted, environ: Mapping[str, str]) -> Finding | None:
    """Have dockerd pull the image that only a gateway has, and remove it again; None without a dockerd to ask."""
    socket = docker_api.socket_of(environ)
    if socket is None or not socket.exists():
        return None
    try:
        info = docker_api.info(socket)
    except docker_api.DockerProblem:  # the line about docker says it
        return None
    architecture = normal_platform("linux", str(info.get("Architecture", ""))).architecture
    tag = tag_for(architecture, secrets.token_hex(8))
    try:
        docker_api.pull(socket, REPOSITORY, tag)
    except docker_api.DockerProblem as error:
        return judge_docker_pull(str(error), wanted)
    with contextlib.suppress(docker_api.DockerProblem):
        docker_api.remove(socket, f"{REPOSITORY}:{tag}")
    return judge_docker_pull(None, wanted)


def check_containerd(wanted: Wanted, environ: Mapping[str, str], root: Path) -> Finding | None:
    """Check the effective configuration of containerd; None without containerd, or where only docker runs one."""
    program = shutil.which("containerd", path=environ.get("PATH"))
    config = root / "etc/containerd/config.toml"
    if program is None or not config.exists():
        return None
    try:
        dumped = subprocess.run(  # noqa: S603 - containerd of this machine
            [program, "--config", config, "config", "dump"],
            capture_output=True, timeout=DUMP_S, check=True, env=dict(environ), stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("containerd", "skipped", f"`containerd config dump` fails ({type(error).__name__})")
    try:
        paths = config_paths(dumped.stdout[:MAX_BYTES].decode(errors="replace"))
    except ValueError:
        return Finding("containerd", "skipped", "what `containerd config dump` prints cannot be read")
    folders = dict.fromkeys([*(paths or ()), *USUAL])
    return judge_containerd(paths, {path: _hosts(root / path.lstrip("/")) for path in folders}, wanted)


def check_podman(wanted: Wanted, environ: Mapping[str, str], root: Path) -> Finding | None:
    """Check registries.conf as podman reads it; None without podman."""
    if shutil.which("podman", path=environ.get("PATH")) is None:
        return None
    return judge_podman([text for file in _podman_files(environ, root) if (text := _text(file))], wanted)


def _podman_files(environ: Mapping[str, str], root: Path) -> list[Path]:
    """Return the files that podman reads, in its order (containers-registries.conf(5))."""
    if named := environ.get("CONTAINERS_REGISTRIES_CONF"):
        return [Path(named)]
    system, own = root / "etc/containers", Path(environ.get("HOME", "/")) / ".config/containers"
    first = own / "registries.conf"
    main = first if first.exists() else system / "registries.conf"
    return [main, *(file for folder in (system, own) for file in sorted(folder.glob("registries.conf.d/*.conf")))]


def _hosts(folder: Path) -> dict[str, str]:
    """Return the texts of hosts.toml in the folders of a certs.d folder, by their names."""
    try:
        names = sorted(one.name for one in folder.iterdir())[:MAX_FILES]
    except OSError:
        return {}
    found = {name: _text(folder / name / "hosts.toml") for name in names}
    return {name: text for name, text in found.items() if text}


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(file) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(file: Path) -> str:
    """Return a configuration file, or an empty text for one that cannot be read or is no such file."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        return content.decode() if len(content) <= MAX_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""
