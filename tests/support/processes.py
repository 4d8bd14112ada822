"""Start one child process, wait until it answers, stop it by its process id.

Every child runs in a session of its own, so that a terminal's Ctrl-C or a signal to it reaches nothing else;
what it prints goes to a file, whose tail is shown when it does not come up. Nothing is ever ended by name.
Not here: what the processes are (registry.py, gateway.py, clients.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "Process",
    "StartError",
    "closed_port",
    "find_program",
    "free_port",
    "tcp_answers",
    "unix_answers",
    "url_answers",
]

_HANDED_OUT: set[int] = set()
_LOCKS: list[int] = []  # the descriptor of the file with the locks, which must stay open


class StartError(AssertionError):
    """A child process ended, or did not answer, before it was ready; the message ends with its output."""


def find_program(name: str) -> str:
    """The path of a Debian program; missing, it fails the test under CI and skips it elsewhere."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed: run scripts/install-debian"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def free_port() -> int:
    """A free TCP port on loopback, never the same one twice in a run, nor one of another run on this machine.

    It lies below the kernel's ephemeral range: a port from there could be taken by an outgoing connection
    between this call and the child's bind. Another run could take it meanwhile, too, and answer in the child's
    place: so each run holds a lock on one byte of a file for each of its ports, until its process ends.
    """
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(15_000, max(lowest_ephemeral, 16_000))
        if port in _HANDED_OUT or not _is_ours(port):
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _HANDED_OUT.add(port)
            return port


def _is_ours(port: int) -> bool:
    """Whether no other run has this port; no other gets it from now on."""
    if not _LOCKS:
        _LOCKS.append(
            os.open(Path(tempfile.gettempdir()) / "hubferry-test-ports", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        )
    try:
        fcntl.lockf(_LOCKS[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def closed_port(port: int) -> Iterator[None]:
    """Keep a port on loopback on which nobody listens any longer: another test's server must not get it.

    Connections to it are refused.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        yield


def tcp_answers(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def unix_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def url_answers(url: str, status: int = 200) -> bool:
    """Whether a URL answers with that status; no proxies, and any certificate will do."""
    try:
        with _unverified().open(url, timeout=2) as answer:
            return bool(answer.status == status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code == status
    except (OSError, ValueError):
        return False


@functools.cache
def _unverified() -> urllib.request.OpenerDirector:
    """Made once: it is asked again and again while a child starts. It reads no authorities, which takes 40 ms."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


class Child(Protocol):
    """What a Process needs of its child: the part of subprocess.Popen with this name."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def terminate(self) -> None: ...


class Process:
    """One running child and everything it started; use `stop()`, or the class as a context manager."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stderr_log: Path | None = None,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.argv = [str(part) for part in argv]
        self.log = log
        self.stderr_log = stderr_log or log
        self.left_behind: list[psutil.Process] = []
        with contextlib.ExitStack() as files:
            out = files.enter_context(log.open("wb"))
            err: IO[bytes] | int = files.enter_context(stderr_log.open("wb")) if stderr_log else subprocess.STDOUT
            self._child = self._start(out, err, env, cwd)

    def _start(self, out: IO[bytes], err: IO[bytes] | int, env: Mapping[str, str] | None, cwd: Path | None) -> Child:
        return subprocess.Popen(
            [*_die_with_parent(), *self.argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def wait_ready(self, ready: Callable[[], bool], *, what: str, timeout_s: float = 120) -> None:
        """Wait until `ready()` is true; otherwise stop the child and raise StartError."""
        deadline = time.monotonic() + timeout_s
        pause_s = 0.01
        while not ready():
            code = self._child.poll()
            if code is not None or time.monotonic() > deadline:
                state = f"ended with {code}" if code is not None else f"no answer within {timeout_s} s"
                self.stop()
                raise StartError(f"{' '.join(self.argv)}: {state} ({what})\n{self.tail()}")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.1)

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        return self._child.wait(timeout_s)

    def tree(self) -> list[psutil.Process]:
        """The child and all its descendants that are alive now."""
        try:
            top = psutil.Process(self.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def rss_bytes(self) -> int:
        """Resident memory of the whole process tree, in bytes; shared pages count in every process."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def cpu_s(self) -> float:
        """CPU seconds, user and system, of the processes of the tree that are alive."""
        total = 0.0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def stop(self, timeout_s: float = 10) -> int:
        """SIGTERM, then SIGKILL for what is left of the tree; returns the exit code of the child.

        `left_behind` then holds the descendants that outlived the child.
        """
        tree = self.tree()
        if self._child.poll() is None:
            self._child.terminate()
        try:
            code = self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # The child leads its own group and is not reaped yet: the number is still that group's.
            os.killpg(self._child.pid, signal.SIGKILL)
            code = self._child.wait()
        # dockerd starts containerd in a session of its own; psutil compares start times, so that a process
        # id that was given to somebody else meanwhile is left alone.
        _, self.left_behind = psutil.wait_procs(tree[1:], timeout=1)
        for process in self.left_behind:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(self.left_behind, timeout=5)
        return code

    def kill(self) -> None:
        """SIGKILL for the whole tree at once: for daemons that take a second to end and whose state nobody wants."""
        tree = self.tree()
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._child.wait()
        # An orphan that has ended is there until init looks after it, which may be a second later.
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any(_runs(process) for process in tree[1:]):
            time.sleep(0.005)

    def output(self) -> str:
        text = self.log.read_text(errors="replace")
        if self.stderr_log != self.log:
            text += self.stderr_log.read_text(errors="replace")
        return text

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.output().splitlines()[-lines:])


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _die_with_parent() -> list[str]:
    """A prefix that makes the kernel end the child when the test run itself is killed.

    The signal is sent when the *thread* that started the child ends, so only the main thread may ask for it.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return []
    return [setpriv, "--pdeathsig", "TERM", "--"]
