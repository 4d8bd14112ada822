"""A dockerd in an enclosure, asked over its API socket: Docker 29 with either store, or Debian's.

There is no docker CLI: a pull is `POST /images/create`, whose errors come in the stream of an answer of 200.
Not here: Debian's docker with its CLI, outside an enclosure (clients.py).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlencode

from tests.support.built_clients import find_built
from tests.support.clients import ClientError, Pulled, run_client
from tests.support.processes import Process, find_program, unix_answers

if TYPE_CHECKING:
    from tests.support.enclosure import Enclosure

__all__ = ["Dockerd", "Store"]

Store = Literal["containerd", "classic", "debian"]

_PULL_TIMEOUT_S = 180


class Dockerd:
    """A running dockerd; `stop()`, or leaving the context, ends it and its containerd.

    `store` is that of Docker 29; "debian" is Debian's dockerd, which has the classic one only.
    """

    def __init__(
        self,
        state: Path,
        enclosure: Enclosure,
        *,
        store: Store = "containerd",
        mirror: str | None = None,
        hosts_toml: dict[str, str] | None = None,
        configured: bool = False,
    ) -> None:
        """`mirror` is a base URL for Docker Hub images; `hosts_toml` is by registry, for /etc/docker/certs.d.

        `configured`: `state`/etc/docker is there already, with a daemon.json, and is taken as it is.
        """
        state.mkdir(parents=True, exist_ok=configured)
        find_program("runc")
        self._socket = state / "docker.sock"
        self._containerd_socket = state / "exec" / "containerd" / "containerd.sock"
        self._store = store
        self._ctr = find_built("ctr")
        files = {f"docker/certs.d/{host}/hosts.toml": text for host, text in (hosts_toml or {}).items()}
        enclosure.write_etc(state, files)
        options: dict[str, Any] = {}
        if store != "debian":
            options["features"] = {"containerd-snapshotter": store == "containerd"}
        if mirror:
            options["registry-mirrors"] = [mirror]
        config = Path("/etc/docker/daemon.json") if configured else state / "daemon.json"
        if not configured:
            config.write_text(json.dumps(options))
        # It starts the containerd that it finds first.
        built = [find_built(name).parent for name in ("containerd", "containerd-shim-runc-v2")]
        self._env = enclosure.environment(state, [] if store == "debian" else built)
        program = find_program("dockerd") if store == "debian" else find_built("dockerd")
        command: list[str | Path] = [program, "--config-file", config]
        command += ["--iptables=false", "--ip6tables=false", "--bridge=none", "--group", "root"]
        command += ["--data-root", state / "data", "--exec-root", state / "exec", "--pidfile", state / "docker.pid"]
        command += ["-H", f"unix://{self._socket}"]
        self.process = Process(enclosure.enclose(state, command), log=state / "dockerd.log", env=self._env)
        self.process.wait_ready(self._answers, what=str(self._socket))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.kill()

    def pull(self, reference: str, *, platform: str = "linux/amd64") -> Pulled:
        """Pull and look at the result; the digest is the one that dockerd reports, of the index if there is one."""
        query = urlencode({"fromImage": reference, "platform": platform})
        printed = [json.loads(line) for line in self._ask("POST", f"/images/create?{query}").splitlines()]
        if failed := [line["error"] for line in printed if "error" in line]:
            raise ClientError(f"pull {reference}: {failed[0]}")
        said = [line["status"] for line in printed if line.get("status", "").startswith("Digest: ")]
        found = self.inspect(reference)
        digest = str(said[0]).removeprefix("Digest: ")
        assert any(name.endswith("@" + digest) for name in found["RepoDigests"]), found["RepoDigests"]
        return Pulled(digest, found["Architecture"], tuple(found["RootFS"]["Layers"]))

    def load(self, file: Path) -> None:
        """`docker load`. Raises ClientError when it fails, also in the middle of an answer of 200."""
        printed = self._ask("POST", "/images/load?quiet=1", file).splitlines()
        if failed := [line for line in map(json.loads, filter(None, printed)) if "error" in line]:
            raise ClientError(f"load {file}: {failed[0]['error']}")

    def inspect(self, reference: str) -> dict[str, Any]:
        """What dockerd knows of an image that it has."""
        found: dict[str, Any] = json.loads(self._ask("GET", f"/images/{quote(reference, safe='/:@')}/json"))
        return found

    def stored(self) -> set[str]:
        """The digests of all manifests and blobs in the containerd store; the classic store keeps none as they are."""
        if self._store != "containerd":
            return set()
        listing = ("--namespace", "moby", "content", "list", "--quiet")
        return set(run_client([self._ctr, "--address", self._containerd_socket, *listing], env=self._env).split())

    def _answers(self) -> bool:
        if not unix_answers(self._socket):
            return False
        try:
            return self._ask("GET", "/_ping") == "OK"
        except (OSError, ClientError, http.client.HTTPException):
            return False

    def _ask(self, method: str, target: str, file: Path | None = None) -> str:
        connection = _UnixConnection(self._socket)
        try:
            with contextlib.nullcontext() if file is None else file.open("rb") as body:
                connection.request(method, target, body)
                answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise ClientError(f"{method} {target}: {answer.status} {text.strip()}")
        return text


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over dockerd's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=_PULL_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
