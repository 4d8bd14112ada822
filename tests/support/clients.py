"""The real clients: docker with a dockerd of its own, containerd with ctr, podman, skopeo.

Each keeps everything it writes in a folder of its own and runs with an environment of its own, so that neither
the machine's daemons nor its configuration are touched. A failed command raises ClientError with its output.
Not here: where they pull from (the tests say), and images (images.py).
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tests.support.content import digest_of
from tests.support.processes import Process, find_program, unix_answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.support.enclosure import Enclosure

__all__ = [
    "CLIENTS",
    "Client",
    "ClientError",
    "Containerd",
    "Docker",
    "Podman",
    "Pulled",
    "Skopeo",
    "run_client",
    "write_hosts_toml",
]

CLIENTS = ("docker", "containerd", "podman", "skopeo")
_TIMEOUT_S = 120


class ClientError(AssertionError):
    """A client ended with an error; the message is what it printed."""


@dataclass(frozen=True)
class Pulled:
    """What a client says it has: the digest it resolved the reference to, and of which image.

    `digest` is that of the index for a multi-arch image; `architecture` and `diff_ids` are read from the
    config that was picked, `diff_ids` after the layers were unpacked.
    """

    digest: str
    architecture: str
    diff_ids: tuple[str, ...]


class Client(Protocol):
    """What all of them can."""

    def pull(self, reference: str, *, platform: str = ...) -> Pulled:
        """Pull for linux/amd64 or that platform, and look at the result."""

    def remove(self, reference: str) -> None:
        """Remove the image and its content: the next pull fetches everything again."""


class Docker:
    """A dockerd on a socket of its own, and the docker client with a configuration of its own."""

    def __init__(self, state: Path, *, mirror: str | None = None, insecure: Sequence[str] = ()) -> None:
        """`mirror` is a base URL for Docker Hub images; loopback addresses may be plain HTTP anyway."""
        self._state = state
        self._socket = state / "docker.sock"
        self._client = find_program("docker")
        # by default it tries a layer five times, after pauses of 5, 10, 15 and 20 s: the first shows as much
        options = ["--max-download-attempts=2"]
        options += [f"--registry-mirror={mirror}"] if mirror else []
        options += [f"--insecure-registry={host}" for host in insecure]
        # A config file of its own: /etc/docker/daemon.json may hold options that clash with these.
        (state / "client").mkdir(parents=True)
        (state / "daemon.json").write_text("{}")
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(state),
            "DOCKER_CONFIG": str(state / "client"),
            "DOCKER_HOST": f"unix://{self._socket}",
        }
        self.process = Process(
            [
                find_program("dockerd"),
                "--config-file",
                state / "daemon.json",
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
                "--data-root",
                state / "data",
                "--exec-root",
                state / "exec",
                "--pidfile",
                state / "docker.pid",
                "-H",
                f"unix://{self._socket}",
                *options,
            ],
            log=state / "dockerd.log",
            env={"PATH": os.environ["PATH"], "HOME": str(state)},
        )
        self.process.wait_ready(lambda: unix_answers(self._socket), what=str(self._socket))

    def __enter__(self) -> Docker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.stop(timeout_s=20)

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """`docker ARGUMENTS`; returns what it printed."""
        return run_client([self._client, *arguments], env=self._env, stdin=stdin)

    def pull(self, reference: str, *, platform: str | None = None) -> Pulled:
        """Pull and look at the result. The digest is the one docker prints, of the index if there is one."""
        options = [f"--platform={platform}"] if platform else []
        printed = self.run("pull", *options, reference)
        digest = next(line.split()[1] for line in printed.splitlines() if line.startswith("Digest:"))
        found = json.loads(self.run("image", "inspect", reference))[0]
        assert any(name.endswith("@" + digest) for name in found["RepoDigests"]), found["RepoDigests"]
        return Pulled(digest, found["Architecture"], tuple(found["RootFS"]["Layers"]))

    def remove(self, reference: str) -> None:
        self.run("image", "rm", "--force", reference)

    def login(self, registry: str, user: str, password: str) -> str:
        return self.run("login", "--username", user, "--password-stdin", registry, stdin=password)

    def logout(self, registry: str) -> None:
        self.run("logout", registry)

    def search(self, term: str) -> list[str]:
        """The names that `docker search` lists."""
        return self.run("search", "--format", "{{.Name}}", term).split()


class Containerd:
    """A containerd of its own, driven by ctr."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._socket = state / "c.sock"
        self._ctr = find_program("ctr")
        state.mkdir(parents=True, exist_ok=True)
        config = state / "config.toml"
        # Without the CRI plugin: it wants a network and has nothing to do with `ctr images pull`.
        config.write_text(
            f'version = 2\nroot = "{state}/root"\nstate = "{state}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{self._socket}"\n'
            f'[ttrpc]\n  address = "{self._socket}.ttrpc"\n'
        )
        self.process = Process(
            [find_program("containerd"), "--config", config],
            log=state / "containerd.log",
            env={"PATH": os.environ["PATH"], "HOME": str(state)},
        )
        self.process.wait_ready(lambda: unix_answers(self._socket), what=str(self._socket))

    def __enter__(self) -> Containerd:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.stop()

    def run(self, *arguments: str | Path) -> str:
        """`ctr ARGUMENTS`; returns what it printed."""
        command = [self._ctr, "--address", self._socket, "--namespace", "hubferry", *arguments]
        return run_client(command, env={"PATH": os.environ["PATH"], "HOME": str(self._state)})

    def pull(
        self,
        reference: str,
        *,
        hosts_dir: Path | None = None,
        platform: str = "linux/amd64",
        plain_http: bool = False,
        user: tuple[str, str] | None = None,
    ) -> Pulled:
        """Pull a full reference (registry host first, tag last) and unpack it for the platform."""
        options: list[str | Path] = ["--platform", platform]
        options += ["--hosts-dir", hosts_dir] if hosts_dir else []
        options += ["--plain-http"] if plain_http else []
        options += ["--user", ":".join(user)] if user else []
        self.run("images", "pull", *options, reference)
        # REF TYPE DIGEST SIZE PLATFORMS LABELS
        listed = self.run("images", "list", f"name=={reference}").splitlines()[1].split()
        digest = listed[2]
        manifest = json.loads(self.content(digest))
        if "manifests" in manifest:
            wanted = platform.split("/")[1]
            child = next(m for m in manifest["manifests"] if m["platform"]["architecture"] == wanted)
            manifest = json.loads(self.content(child["digest"]))
        stored = set(self.run("content", "list", "--quiet").split())
        assert {layer["digest"] for layer in manifest["layers"]} <= stored
        config = json.loads(self.content(manifest["config"]["digest"]))
        return Pulled(digest, config["architecture"], tuple(config["rootfs"]["diff_ids"]))

    def content(self, digest: str) -> str:
        """The blob from containerd's store; ClientError if it is not there."""
        return self.run("content", "get", digest)

    def remove(self, reference: str) -> None:
        """Remove the image and, before returning, its content."""
        self.run("images", "remove", "--sync", reference)


class Podman:
    """podman with a store and a registries.conf of its own; no daemon."""

    def __init__(
        self, state: Path, *, mirrors: Mapping[str, str] | None = None, enclosure: Enclosure | None = None
    ) -> None:
        """`mirrors` maps a registry host to host/prefix of its mirror, which is asked over plain HTTP."""
        self._state = state
        self._enclosure = enclosure
        self._podman = find_program("podman")
        self._mirrors = mirrors or {}
        self._env = _containers_env(state, self._mirrors) | (enclosure.trust if enclosure else {})

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """`podman ARGUMENTS`; returns what it printed."""
        command: list[str | Path] = [
            self._podman,
            f"--root={self._state / 'root'}",
            f"--runroot={self._state / 'run'}",
            f"--tmpdir={self._state / 'tmp'}",
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
            *arguments,
        ]
        return run_client(_enclosed(self._enclosure, self._state, command), env=self._env, stdin=stdin)

    def pull(self, reference: str, *, platform: str | None = None) -> Pulled:
        """Pull and look at the result; the digest is that of the index if there is one."""
        options = _tls_options(reference, self._mirrors, "--tls-verify=false")
        options += [f"--platform={platform}"] if platform else []
        self.run("pull", "--quiet", *options, reference)
        found = json.loads(self.run("image", "inspect", reference))[0]
        return Pulled(found["Digest"], found["Architecture"], tuple(found["RootFS"]["Layers"]))

    def search(self, term: str) -> list[str]:
        """The names that `podman search` lists."""
        return self.run("search", "--tls-verify=false", "--format", "{{.Name}}", term).split()

    def login(self, registry: str, user: str, password: str) -> str:
        return self.run("login", "--tls-verify=false", "--username", user, "--password-stdin", registry, stdin=password)

    def remove(self, reference: str) -> None:
        self.run("image", "rm", "--force", reference)


class Skopeo:
    """skopeo with an authentication file and a registries.conf of its own."""

    def __init__(
        self, state: Path, *, mirrors: Mapping[str, str] | None = None, enclosure: Enclosure | None = None
    ) -> None:
        """`mirrors` as for Podman."""
        self._state = state
        self._enclosure = enclosure
        self._skopeo = find_program("skopeo")
        self._mirrors = mirrors or {}
        self._env = _containers_env(state, self._mirrors) | (enclosure.trust if enclosure else {})
        self._copies = 0

    def run(self, *arguments: str | Path) -> str:
        """`skopeo ARGUMENTS`; returns what it printed."""
        command: list[str | Path] = [self._skopeo, "--insecure-policy", *arguments]
        return run_client(_enclosed(self._enclosure, self._state, command), env=self._env)

    def copy(
        self,
        reference: str,
        *,
        platform: str = "linux/amd64",
        all_images: bool = False,
        credentials: tuple[str, str] | None = None,
        transport: Literal["dir", "oci"] = "dir",
    ) -> Path:
        """Copy to a new folder.

        `dir` has manifest.json and blobs named by their hex digest, and takes one layer after the other; `oci` is an
        image layout and takes six at a time.
        """
        self._copies += 1
        target = self._state / f"copy-{self._copies}"
        options = ["--all"] if all_images else []
        options += ["--src-creds", ":".join(credentials)] if credentials else []
        options += _tls_options(reference, self._mirrors, "--src-tls-verify=false")
        source = f"docker://{reference}"
        self.run(
            *_override(platform), "copy", "--quiet", "--preserve-digests", *options, source, f"{transport}:{target}"
        )
        return target

    def pull(
        self,
        reference: str,
        *,
        platform: str = "linux/amd64",
        credentials: tuple[str, str] | None = None,
    ) -> Pulled:
        """Inspect for the digest, copy for the content."""
        digest = str(self.inspect(reference, credentials=credentials)["Digest"])
        folder = self.copy(reference, platform=platform, credentials=credentials)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        for blob in (manifest["config"], *manifest["layers"]):
            content = (folder / blob["digest"].removeprefix("sha256:")).read_bytes()
            assert (digest_of(content), len(content)) == (blob["digest"], blob["size"])
        config = json.loads((folder / manifest["config"]["digest"].removeprefix("sha256:")).read_bytes())
        return Pulled(digest, config["architecture"], tuple(config["rootfs"]["diff_ids"]))

    def remove(self, reference: str) -> None:
        """Nothing to do: every copy goes to a folder of its own."""

    def inspect(self, reference: str, *, credentials: tuple[str, str] | None = None) -> dict[str, Any]:
        """What skopeo tells of the image for amd64, with "Digest" that of the index if there is one."""
        options = ["--creds", ":".join(credentials)] if credentials else []
        options += _tls_options(reference, self._mirrors, "--tls-verify=false")
        printed = self.run(*_override("linux/amd64"), "inspect", "--no-tags", *options, f"docker://{reference}")
        found: dict[str, Any] = json.loads(printed)
        return found

    def raw_manifest(self, reference: str) -> bytes:
        return self.run("inspect", "--raw", "--tls-verify=false", f"docker://{reference}").encode()

    def list_tags(self, repository: str) -> list[str]:
        printed = self.run("list-tags", "--tls-verify=false", f"docker://{repository}")
        return [str(tag) for tag in json.loads(printed)["Tags"]]


def write_hosts_toml(hosts_dir: Path, registry: str, gateway_url: str, *, ca_file: Path | None = None) -> Path:
    """containerd's certs.d entry: ask `gateway_url` for images of `registry`, or of "_default".

    Without `server`, as in protocol.md: containerd would fall back to the registry itself, which in these
    tests does not exist. Returns `hosts_dir`.
    """
    folder = hosts_dir / registry
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f'[host."{gateway_url}"]', '  capabilities = ["pull", "resolve"]']
    lines += [f'  ca = "{ca_file}"'] if ca_file else []
    (folder / "hosts.toml").write_text("\n".join(lines) + "\n")
    return hosts_dir


def _enclosed(enclosure: Enclosure | None, state: Path, command: list[str | Path]) -> list[str | Path]:
    return enclosure.enclose(state, command) if enclosure else command


def _override(platform: str) -> list[str]:
    system, architecture = platform.split("/")
    return ["--override-os", system, "--override-arch", architecture]


def _tls_options(reference: str, mirrors: Mapping[str, str], option: str) -> list[str]:
    """The option that allows plain HTTP; not for a mirrored registry, where registries.conf says it."""
    return [] if reference.partition("/")[0] in mirrors else [option]


def _containers_env(state: Path, mirrors: Mapping[str, str]) -> dict[str, str]:
    """An environment whose home folder holds all configuration; no variable for registries.conf suits both."""
    (state / "tmp").mkdir(parents=True, exist_ok=True)
    home = state / ".config" / "containers"
    home.mkdir(parents=True, exist_ok=True)
    (home / "registries.conf").write_text(
        "\n".join(
            f'[[registry]]\nlocation = "{registry}"\n[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true\n'
            for registry, mirror in mirrors.items()
        )
    )
    (home / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    # Named by REGISTRY_AUTH_FILE, it has to exist for podman.
    (state / "auth.json").write_text("{}")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(state),
        "TMPDIR": str(state / "tmp"),
        "XDG_RUNTIME_DIR": str(state / "tmp"),
        "REGISTRY_AUTH_FILE": str(state / "auth.json"),
    }


def run_client(command: Sequence[str | Path], *, env: Mapping[str, str], stdin: str | None = None) -> str:
    """Run a command to its end and return what it printed; ClientError, with its output, when it failed."""
    finished = subprocess.run(
        command,
        env=dict(env),
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if finished.returncode != 0:
        shown = " ".join(str(part) for part in command)
        raise ClientError(f"{shown}: ended with {finished.returncode}\n{finished.stdout}{finished.stderr}")
    return finished.stdout
