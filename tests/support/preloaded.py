"""`hubferry` as a fork of a process that has imported it already: half of what the suite did was importing.

    the tests --- asks ---> the parent: imports and reads everything once, listens, forks
        |                       |
        '-- becomes parent of --'-> the child: the environment, folder and output it was given, then `hubferry ARGV`

A child is a process of the tests' own, with its own id, session and exit status; only its command line, as `ps` shows
it, is another. tests/docs starts what a user starts, interpreter and imports included (Gateway.is_forked).
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.processes import Child, Process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

__all__ = ["HUBFERRY", "PreloadedProcess", "run_hubferry"]

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MAX_REQUEST = 64 * 1024
ANSWER_BYTES = 8
STANDARD = (1, 2, 0)  # the descriptors that a child is given, in this order; without the last, it reads nothing
PATIENCE_S = 60
HUBFERRY = Path(sys.executable).parent / "hubferry"


class PreloadedProcess(Process):
    """`hubferry ARGV`, begun as a fork where that is the same."""

    def _start(self, out: IO[bytes], err: IO[bytes] | int, env: Mapping[str, str] | None, cwd: Path | None) -> Child:
        if not _is_same(env):
            return super()._start(out, err, env, cwd)
        error = out if isinstance(err, int) else err
        return _fork(self.argv, env or {}, cwd, (out, error))


def run_hubferry(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `hubferry ARGUMENTS` to its end, as subprocess.run does with captured text, as a fork where that is the same.

    Without `env` it has PATH only. Raises subprocess.TimeoutExpired.
    """
    argv = [str(HUBFERRY), *map(str, arguments)]
    env = {"PATH": os.environ["PATH"]} if env is None else env
    if not _is_same(env):
        return subprocess.run(
            argv, env=dict(env), input=stdin, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        child = _fork(argv, env, cwd, (out, err, given))
        try:
            status = child.wait(timeout_s)
        except BaseException:
            child.send_signal(signal.SIGKILL)
            child.wait()
            raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(argv, status, out.read().decode(), err.read().decode())


def _is_same(env: Mapping[str, str] | None) -> bool:
    """Whether a fork does the same: some variables mean something to an interpreter and its libraries at the start."""
    return env is not None and not any(name.startswith(("LD_", "PYTHON", "PROMETHEUS")) for name in env)


def _fork(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, files: Sequence[IO[bytes]]) -> _Child:
    """`files` are standard output, standard error, and standard input if there is any."""
    request = json.dumps([list(argv), dict(env), str(cwd or Path.cwd()), os.getpid()]).encode()
    assert len(request) <= MAX_REQUEST, "too long for the parent: use subprocess"
    with _ONE_AT_A_TIME:
        return _Child(_parent().fork(request, [file.fileno() for file in files]))


class _Child:
    """The part of subprocess.Popen that Process needs, for a child that this process did not fork itself."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            ended = select.poll()
            ended.register(descriptor, select.POLLIN)
            try:
                ended.poll(None if timeout is None else timeout * 1000)
            finally:
                os.close(descriptor)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("hubferry", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class _Parent:
    """The process with everything imported, as seen by the tests."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(PATIENCE_S)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.preloaded", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={"PATH": os.environ["PATH"]},  # what a gateway of the tests has besides its own
                stdin=subprocess.DEVNULL,
            )

    def fork(self, request: bytes, descriptors: Sequence[int]) -> int:
        """Return the id of a new child of this process. The request is what `main` reads."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # whose parent ends is then a child of this process, and not of init
        try:
            ancillary = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
            self._socket.sendmsg([request], [ancillary])
            pid = int(self._socket.recv(ANSWER_BYTES))
        finally:
            prctl(PR_SET_CHILD_SUBREAPER, 0)
        return pid

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


_PARENTS: list[_Parent] = []
_ONE_AT_A_TIME = threading.Lock()


def _parent() -> _Parent:
    if not _PARENTS:
        _PARENTS.append(_Parent())
    return _PARENTS[0]


def close() -> None:
    """End the parent, when there is one; it has no children."""
    while _PARENTS:
        _PARENTS.pop().close()


def prctl(option: int, value: int) -> None:
    """Call the function of this name of the C library. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def main() -> None:
    """Be the parent: fork whenever it is asked for, until the tests close their end."""
    import hubferry.cli  # noqa: PLC0415 - only here, where it is to be there before it is needed
    import hubferry.server.run  # noqa: PLC0415 - the same
    from hubferry.server.domains import read_public_suffixes  # noqa: PLC0415 - the same

    read_public_suffixes()

    gc.collect()
    gc.freeze()  # a child that looked for garbage in here would copy all of it
    tests = socket.socket(fileno=int(sys.argv[1]))
    while True:
        request, descriptors, _, _ = socket.recv_fds(tests, MAX_REQUEST, len(STANDARD))
        if not request:
            return
        between = os.fork()
        if between:
            for descriptor in descriptors:
                os.close(descriptor)
            os.waitpid(between, 0)
            continue
        child = os.fork()
        if child:
            os._exit(0)
        argv, env, cwd, parent = json.loads(request)
        become_child(parent, env, cwd, descriptors)
        tests.send(str(os.getpid()).encode())
        tests.close()
        sys.argv = argv
        # as click finds it out for the program that a user calls
        sys.exit(hubferry.cli.main(prog_name=Path(argv[0]).name))


def become_child(parent: int, env: dict[str, str], cwd: str, descriptors: list[int]) -> None:
    """Take on what subprocess.Popen gives to a child, and end when `parent`, the process of the tests, ends."""
    deadline = time.monotonic() + PATIENCE_S
    while os.getppid() != parent:  # until the process between has ended
        if time.monotonic() > deadline:
            os._exit(1)  # or the tests have
        time.sleep(0.0005)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    for number, descriptor in zip(STANDARD, descriptors, strict=False):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
