"""Today's clients beside dockerd: containerd with ctr, BuildKit, and those that write an OCI layout or a file.

Each is fresh: it has a state folder of its own, runs in an enclosure, and is used for one pull. A pull returns what
the client then has: the digest that it resolved the reference to, and the digests of everything it stored, each hashed
again. Not here: dockerd (dockerd.py), Debian's podman and skopeo (clients.py).
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.built_clients import find_built
from tests.support.clients import run_client
from tests.support.processes import Process, find_program, unix_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.enclosure import Enclosure

__all__ = ["BuildKit", "Cri", "Ctr", "Stored", "Tool", "layout_digest", "read_layout"]


@dataclass(frozen=True)
class Stored:
    """What a client has after a pull: the digest of the reference, and those of all manifests and blobs it keeps.

    `digest` is None where the client does not say it. Of a client that prints a list `content` is what it printed.
    """

    digest: str | None
    content: frozenset[str]


class Ctr:
    """A containerd of its own and ctr: today's, or Debian's 1.6."""

    def __init__(
        self,
        state: Path,
        enclosure: Enclosure,
        *,
        debian: bool = False,
        hosts_toml: dict[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """`hosts_toml` is by registry, for a --hosts-dir; without, registries on loopback are asked by plain HTTP."""
        state.mkdir(parents=True)
        self._state = state
        self._enclosure = enclosure
        find = find_program if debian else find_built
        self._ctr = find("ctr")
        self._socket = state / "c.sock"
        self._options = list(options)
        if hosts_toml is None:
            self._options.append("--plain-http")
        else:
            self._options += ["--hosts-dir", str(state / "certs.d")]
            for host, text in hosts_toml.items():
                (state / "certs.d" / host).mkdir(parents=True)
                (state / "certs.d" / host / "hosts.toml").write_text(text)
        cri = (
            ["io.containerd.grpc.v1.cri"] if debian else ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
        )
        (state / "config.toml").write_text(
            f'version = 2\nroot = "{state}/root"\nstate = "{state}/state"\ndisabled_plugins = {json.dumps(cri)}\n'
            f'[grpc]\n  address = "{self._socket}"\n[ttrpc]\n  address = "{self._socket}.ttrpc"\n'
        )
        self._env = enclosure.environment(state)
        command = enclosure.enclose(state, [find("containerd"), "--config", state / "config.toml"])
        self.process = Process(command, log=state / "containerd.log", env=self._env)
        self.process.wait_ready(lambda: unix_answers(self._socket), what=str(self._socket))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def pull(self, reference: str) -> Stored:
        """`ctr images pull` for linux/amd64; the layers are unpacked too."""
        self._run("images", "pull", "--platform", "linux/amd64", *self._options, reference)
        # REF TYPE DIGEST SIZE PLATFORMS LABELS
        digest = self._run("images", "list", f"name=={reference}").splitlines()[1].split()[2]
        return Stored(digest, frozenset(self._run("content", "list", "--quiet").split()))

    def _run(self, *arguments: str) -> str:
        command = [self._ctr, "--address", self._socket, "--namespace", "hubferry", *arguments]
        return run_client(self._enclosure.enclose(self._state, command), env=self._env)


class Cri:
    """A containerd of its own, asked as kubelet asks it: by its CRI plugin, through crictl."""

    def __init__(
        self,
        state: Path,
        enclosure: Enclosure,
        *,
        hosts_toml: dict[str, str] | None = None,
        debian: bool = False,
        configured: bool = False,
    ) -> None:
        """`hosts_toml` is by registry, for the plugin's `config_path`.

        `configured`: `state`/etc/containerd is there already, with a config.toml that begins with `daemon_config`.
        """
        state.mkdir(parents=True, exist_ok=configured)
        self._state = state
        self._enclosure = enclosure
        self._socket = state / "c.sock"
        for host, text in (hosts_toml or {}).items():
            (state / "certs.d" / host).mkdir(parents=True)
            (state / "certs.d" / host / "hosts.toml").write_text(text)
        config = Path("/etc/containerd/config.toml") if configured else state / "config.toml"
        if not configured:
            config.write_text(
                f"version = 3\n{self.daemon_config(state)}"
                f"[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = \"{state}/certs.d\"\n"
            )
        self._env = enclosure.environment(state)
        program = find_program("containerd") if debian else find_built("containerd")
        command = enclosure.enclose(state, [program, "--config", config])
        self.process = Process(command, log=state / "containerd.log", env=self._env)
        self.process.wait_ready(self._answers, what=str(self._socket))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    @staticmethod
    def daemon_config(state: Path) -> str:
        """What config.toml has to say of folders and sockets."""
        return (
            f'root = "{state}/root"\nstate = "{state}/state"\n'
            f'[grpc]\n  address = "{state}/c.sock"\n[ttrpc]\n  address = "{state}/c.sock.ttrpc"\n'
        )

    def pull(self, reference: str) -> Stored:
        """`crictl pull`; the layers are unpacked too."""
        self._crictl("pull", reference)
        (image,) = json.loads(self._crictl("images", "--output", "json", reference))["images"]
        command: list[str | Path] = [find_built("ctr"), "--address", self._socket, "--namespace", "k8s.io"]
        command += ["content", "list", "--quiet"]
        stored = run_client(self._enclosure.enclose(self._state, command), env=self._env).split()
        return Stored(image["repoDigests"][0].partition("@")[2], frozenset(stored))

    def _answers(self) -> bool:
        """Its plugins come later than its socket."""
        try:
            return unix_answers(self._socket) and bool(self._crictl("images", "--output", "json"))
        except AssertionError:
            return False

    def _crictl(self, *arguments: str) -> str:
        endpoint = f"unix://{self._socket}"
        command: list[str | Path] = [find_built("crictl"), "--image-endpoint", endpoint, "--runtime-endpoint", endpoint]
        return run_client(self._enclosure.enclose(self._state, [*command, *arguments]), env=self._env)


class BuildKit:
    """A buildkitd of its own and buildctl: a build of `FROM reference`, exported as an OCI archive."""

    def __init__(self, state: Path, enclosure: Enclosure, *, config: str) -> None:
        """`config` is buildkitd.toml."""
        state.mkdir(parents=True)
        find_program("runc")
        self._state = state
        self._enclosure = enclosure
        self._address = f"unix://{state}/b.sock"
        (state / "buildkitd.toml").write_text(config)
        self._env = enclosure.environment(state)
        command: list[str | Path] = [find_built("buildkitd"), "--config", state / "buildkitd.toml"]
        command += ["--root", state / "root", "--addr", self._address, "--otel-socket-path", state / "otel.sock"]
        command += ["--containerd-worker=false"]
        self.process = Process(enclosure.enclose(state, command), log=state / "buildkitd.log", env=self._env)
        self.process.wait_ready(lambda: unix_answers(state / "b.sock"), what=self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def pull(self, reference: str) -> Stored:
        """Build; the digest is the one that BuildKit names in its progress, the content that of the archive."""
        context, archive = self._state / "context", self._state / "out.tar"
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM {reference}\n")
        command: list[str | Path] = [find_built("buildctl"), "--addr", self._address, "build", "--progress=plain"]
        command += ["--frontend=dockerfile.v0", f"--local=context={context}", f"--local=dockerfile={context}"]
        command += [f"--output=type=oci,dest={archive}"]
        printed = run_client(
            ["sh", "-c", 'exec "$@" 2>&1', "sh", *self._enclosure.enclose(self._state, command)], env=self._env
        )
        found = re.search(rf"FROM {re.escape(reference)}@(sha256:[0-9a-f]{{64}})", printed)
        assert found, printed
        with tarfile.open(archive) as opened:
            opened.extractall(self._state / "out", filter="data")
        return Stored(found[1], read_layout(self._state / "out"))


class Tool:
    """A client without a daemon that leaves a folder or prints something: crane, oras, regctl, helm, cosign."""

    def __init__(self, state: Path, enclosure: Enclosure, program: str, pull: Callable[[Tool, str], Stored]) -> None:
        """`pull(tool, reference)` runs the program with `tool.run` and says what came of it."""
        state.mkdir(parents=True)
        self.state = state
        self._enclosure = enclosure
        self._program = find_built(program)
        self._pull = pull
        self._env = enclosure.environment(state) | {"COSIGN_PASSWORD": "", "TMPDIR": str(state)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of it is left running."""

    def run(self, *arguments: str | Path) -> str:
        """The program with these arguments; returns what it printed on standard output."""
        return run_client(self._enclosure.enclose(self.state, [self._program, *arguments]), env=self._env)

    def pull(self, reference: str) -> Stored:
        return self._pull(self, reference)


def read_layout(folder: Path) -> frozenset[str]:
    """The digests of an OCI layout's blobs; each is hashed and must be what its name says."""
    found = set()
    for path in (folder / "blobs" / "sha256").iterdir():
        with path.open("rb") as file:
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        assert digest == f"sha256:{path.name}", f"{path} holds {digest}"
        found.add(digest)
    return frozenset(found)


def layout_digest(folder: Path) -> str:
    """The digest of the only entry of a layout's index.json."""
    entries = json.loads((folder / "index.json").read_text())["manifests"]
    assert len(entries) == 1, entries
    return str(entries[0]["digest"])
