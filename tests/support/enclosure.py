"""A world of its own for a client: its own /etc, in which the public registries are on loopback.

Each command runs in a mount namespace with a small /etc: the machine's users, groups and libraries, but none of its
configuration, and an /etc/hosts that sends every registry of PUBLIC_NAMES to one loopback address. There a recorder
listens on 443 and 80. So a client that goes past the gateway shows as a request there and reaches nobody else; a name
that is not in the list resolves to nothing, because no name server answers. Needs root.
Not here: the clients (clients.py, todays_*.py).
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.content import Blob
from tests.support.exchange import Recorder, Reply
from tests.support.processes import find_program
from tests.support.wire import WireServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.exchange import Received
    from tests.support.tls import Authority, Certificate

__all__ = ["PUBLIC_NAMES", "SIGSTORE_NAMES", "Enclosure"]

# registries, their token services and CDNs
PUBLIC_NAMES = (
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "auth.docker.io",
    "production.cloudflare.docker.com",
    "ghcr.io",
    "pkg-containers.githubusercontent.com",
    "quay.io",
    "cdn.quay.io",
    "gcr.io",
    "registry.k8s.io",
    "mcr.microsoft.com",
    "nvcr.io",
    "public.ecr.aws",
    "lscr.io",
    "registry.ollama.ai",
)
# Where cosign, and Docker 29 after a pull of a signed image, look for the keys of public signers. No registry.
SIGSTORE_NAMES = ("tuf-repo-cdn.sigstore.dev", "rekor.sigstore.dev", "fulcio.sigstore.dev")
# what programs need of the machine's own /etc: users, the loader's cache, which iptables is meant
_COPIED = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "protocols")
_BIND_THEN_RUN = 'mount --bind "$1" /etc && shift && exec "$@"'


class Enclosure:
    """The loopback address that stands for the internet, its recorder, and commands that see nothing else.

    Use it as a context manager; leaving it closes the recorder's sockets.
    """

    def __init__(self, authority: Authority) -> None:
        if os.geteuid() != 0:
            message = "today's clients run in a mount namespace of their own, which needs root"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        self._unshare = find_program("unshare")
        self._authority = authority
        self._recorder = Recorder()
        self._failures_forgotten = 0
        certificate = authority.issue((*PUBLIC_NAMES, *SIGSTORE_NAMES))
        self._address, self._servers = _listen(self._recorder, certificate)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()

    def enclose(self, state: Path, command: Sequence[str | Path]) -> list[str | Path]:
        """The command that runs `command` with `state`/etc as its /etc, which is made now if it is not there."""
        etc = state / "etc"
        if not etc.exists():
            self._make_etc(etc)
        return [self._unshare, "--mount", "--propagation=private", "sh", "-c", _BIND_THEN_RUN, "sh", etc, *command]

    @property
    def trust(self) -> dict[str, str]:
        """The variable by which Go's programs trust the recorder's certificate, and nobody else's."""
        return {"SSL_CERT_FILE": str(self._authority.ca_file)}

    def environment(self, state: Path, path: Sequence[Path] = ()) -> dict[str, str]:
        """PATH with these folders first, HOME in `state`, and trust in the recorder's certificate."""
        folders = [*(str(folder) for folder in path), os.environ["PATH"], "/usr/sbin", "/sbin"]
        return {"PATH": os.pathsep.join(folders), "HOME": str(state), **self.trust}

    def write_etc(self, state: Path, files: Mapping[str, str]) -> None:
        """Files of the /etc in `state`, by their path below it, such as docker/certs.d/docker.io/hosts.toml."""
        etc = state / "etc"
        if not etc.exists():
            self._make_etc(etc)
        for name, text in files.items():
            (etc / name).parent.mkdir(parents=True, exist_ok=True)
            (etc / name).write_text(text)

    @property
    def escaped(self) -> list[str]:
        """What clients have asked the public registries since `forget()`, a line each; unread TLS counts as well."""
        lines = [
            f"{exchange.request.method} {exchange.request.header('host')}{exchange.request.target}"
            for exchange in self._recorder.exchanges
            if exchange.request.header("host") not in SIGSTORE_NAMES
        ]
        return lines + ["a TLS handshake that failed"] * (self._tls_failures - self._failures_forgotten)

    def forget(self) -> None:
        self._recorder.clear()
        self._failures_forgotten = self._tls_failures

    @property
    def _tls_failures(self) -> int:
        return sum(server.tls_failures for server in self._servers)

    def _make_etc(self, etc: Path) -> None:
        etc.mkdir(parents=True)
        for name in _COPIED:
            source = Path("/etc") / name
            if source.is_dir():
                shutil.copytree(source, etc / name, symlinks=True)
            elif source.exists():
                shutil.copyfile(source, etc / name)
        names = " ".join((*PUBLIC_NAMES, *SIGSTORE_NAMES))
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{self._address} {names}\n")
        (etc / "resolv.conf").write_text(f"nameserver {self._address}\noptions timeout:1 attempts:1\n")


def _listen(recorder: Recorder, certificate: Certificate) -> tuple[str, tuple[WireServer, WireServer]]:
    """Ports 443 and 80 of a loopback address that is random, because several test runs may share the machine."""
    while True:
        address = f"127.{random.randrange(64, 250)}.{random.randrange(250)}.{random.randrange(2, 250)}"
        try:
            encrypted = WireServer("443", _refuse, recorder, host=address, port=443, certificate=certificate)
        except OSError:
            continue
        return address, (encrypted, WireServer("80", _refuse, recorder, host=address, port=80))


def _refuse(request: Received) -> Reply:
    # 403: clients try 5xx again and again, and a 401 would send them to a token service.
    return Reply(403, (("Content-Type", "text/plain"),), Blob(b"the public registries are not to be asked"))
