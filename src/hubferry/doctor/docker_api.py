"""Ask a dockerd over its API socket: what `docker info` shows, a pull, the removal of an image.

Blocking, for a thread. The socket is the one of DOCKER_HOST, else dockerd's own; a dockerd elsewhere is not asked.
"""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from hubferry.core.documents import parse_json

DEFAULT = Path("/var/run/docker.sock")
MAX_BYTES = 4 * 2**20
INFO_S = 10.0
PULL_S = 120.0


class DockerProblem(Exception):
    """A dockerd could not be asked, or refused; the message says why."""


def socket_of(environ: Mapping[str, str]) -> Path | None:
    """Return dockerd's socket, or that of a rootless one; None when DOCKER_HOST is another machine."""
    host = environ.get("DOCKER_HOST") or ""
    if host:
        return Path(host.removeprefix("unix://")) if host.startswith("unix://") else None
    own = Path(environ.get("XDG_RUNTIME_DIR") or "/nowhere") / "docker.sock"
    return own if own.exists() and not DEFAULT.exists() else DEFAULT


def info(path: Path) -> dict[str, Any]:
    """Return what `docker info` shows, as dockerd gives it. Raises DockerProblem."""
    try:
        found = parse_json(_ask(path, "GET", "/info", INFO_S))
    except ValueError:
        raise DockerProblem("its answer is not JSON") from None
    if not isinstance(found, dict):
        raise DockerProblem("its answer is not what a dockerd says")
    return found


def pull(path: Path, repository: str, tag: str) -> None:
    """Pull an image into dockerd's store. Raises DockerProblem with what dockerd says, when it cannot."""
    query = urlencode({"fromImage": repository, "tag": tag})
    for line in _ask(path, "POST", f"/images/create?{query}", PULL_S).splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and "error" in said:
            raise DockerProblem(str(said["error"]))


def remove(path: Path, image: str) -> None:
    """Remove an image from dockerd's store. Raises DockerProblem."""
    _ask(path, "DELETE", f"/images/{quote(image, safe='/:@')}", INFO_S)


def _ask(path: Path, method: str, target: str, timeout_s: float) -> bytes:
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        body = answer.read(MAX_BYTES)
    except PermissionError:
        raise DockerProblem(f"{path} may not be used: run this as root, or in the group docker") from None
    except (OSError, http.client.HTTPException) as error:
        raise DockerProblem(f"{path} does not answer ({getattr(error, 'strerror', '') or error})") from None
    finally:
        connection.close()
    if answer.status >= 400:
        raise DockerProblem(f"it answers {answer.status}: {body[:300].decode(errors='replace').strip()}")
    return body


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("docker", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
