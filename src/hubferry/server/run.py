"""Run the server: listening sockets, worker processes, and how they stop.

One worker runs in this process; several are forked from it and share its sockets, and this process watches over
them. SIGTERM stops listening, lets running pulls finish for `server.shutdown_grace`, then exits 0.
Why uvicorn: docs/dependencies.md.
"""

import asyncio
import contextlib
import os
import resource
import secrets
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import uvicorn
import uvloop

from hubferry.core.settings import Settings
from hubferry.core.values import ConfigError, parse_listen, parse_token_key
from hubferry.server import log
from hubferry.server.compose import Keys, build_app, build_origins, load_tls
from hubferry.server.protocol import BoundedHttpProtocol
from hubferry.server.seal import KeyProblem, load_or_create_key

BACKLOG = 1024
KEEP_ALIVE_S = 65  # longer than the 60 s for which nginx keeps a connection to us by default
RESTART_PAUSE_S = 1.0
KEY_BYTES = 32
COUNTS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def serve(settings: Settings) -> None:
    """Serve until a signal, then exit. Raises ConfigError for what keeps it from starting."""
    log.configure(settings.server.log_format, settings.server.log_level)
    allow_descriptors()
    build_origins(settings)  # what cannot be read stops the start, not a worker
    keys = Keys(load_key(settings), secrets.token_bytes(KEY_BYTES))
    tls = load_tls(settings)
    sockets = [bind(address) for address in settings.server.listen]
    log.logger().info("listening", listen=list(settings.server.listen), upstreams=sorted(settings.upstreams))
    with counts_folder(settings):
        if settings.server.workers == 1:
            work(settings, keys, tls, sockets)
        else:
            sys.exit(Supervisor(settings, keys, tls, sockets).run())


def allow_descriptors() -> None:
    """Every client takes up to three descriptors; shells start programs with 1,024 although more are allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def load_key(settings: Settings) -> bytes:
    """The token key, from a file unless it is given itself. Raises ConfigError."""
    if settings.access.token_key:
        return parse_token_key(settings.access.token_key)
    path = Path(settings.access.token_key_file or Path(settings.cache.dir) / "token.key")
    try:
        return load_or_create_key(path)
    except KeyProblem as error:
        raise ConfigError("access.token_key_file", str(error)) from None


@contextlib.contextmanager
def counts_folder(settings: Settings) -> Generator[None, None, None]:
    """Where several workers put their counts, so that each can tell the sum; also of those that died.

    In memory where there is such a folder: the files are mapped, and a full disk would kill who writes them.
    prometheus_client looks for the variable when it is first imported, which each worker does for itself.
    Raises ConfigError.
    """
    os.environ.pop(COUNTS_FOLDER, None)
    os.environ.pop(COUNTS_FOLDER.lower(), None)
    if settings.server.workers == 1 or not settings.server.metrics_from:
        yield
        return
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own in it
    try:
        parent = memory if os.access(memory, os.W_OK) else None
        folder = tempfile.mkdtemp(prefix=f"hubferry-counts-{os.getpid()}-", dir=parent)
    except OSError as error:
        problem = f"there is no folder for the counts of several workers ({error.strerror}): set TMPDIR, or workers = 1"
        raise ConfigError("server.metrics_from", problem) from None
    os.environ[COUNTS_FOLDER] = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bind(address: str) -> socket.socket:
    """A bound socket; `[::]` takes IPv4 as well. Raises ConfigError."""
    host, port = parse_listen(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = None
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        bound.bind((host, port))
    except OSError as error:
        if bound is not None:
            bound.close()
        problem = f"{address} cannot be listened on ({error.strerror or error}): choose another address or port"
        raise ConfigError("server.listen", problem) from None
    bound.setblocking(False)
    bound.set_inheritable(True)
    return bound


class Server(uvicorn.Server):
    """uvicorn's server, which says what it waits for, and after a signal ends with 0 instead of raising it again."""

    def __init__(self, config: uvicorn.Config, count_fills: Callable[[], int]) -> None:
        super().__init__(config)
        self._count_fills = count_fills

    async def _wait_tasks_to_complete(self) -> None:
        """Idle connections are closed by now, the others are waited for; cancelled when the grace is over."""
        log.logger().info("stopping", **self._under_way(), grace_s=self.config.timeout_graceful_shutdown)
        try:
            await super()._wait_tasks_to_complete()
        finally:
            if self.server_state.connections:
                log.logger().warning("cut_off", **self._under_way())

    def _under_way(self) -> dict[str, int]:
        state = self.server_state
        return {"connections": len(state.connections), "answers": len(state.tasks), "fills": self._count_fills()}

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """SIGTERM and SIGINT ask for the end once; a second one does not wait for running pulls."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def work(
    settings: Settings,
    keys: Keys,
    tls: ssl.SSLContext | None,
    sockets: list[socket.socket],
    lifeline: int | None = None,
) -> None:
    """Serve in this process until a signal, or until the other end of `lifeline` is closed."""
    app = build_app(settings, keys)
    config = uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.server.shutdown_grace.seconds)),
    )
    config.load()
    config.ssl = tls
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        server = Server(config, app.count_fills)
        if lifeline is not None:
            runner.get_loop().add_reader(lifeline, server.handle_exit, signal.SIGTERM, None)
        runner.run(server.serve(sockets=sockets))


class Supervisor:
    """Forks worker processes, replaces one that dies, and ends them all on a signal."""

    def __init__(
        self, settings: Settings, keys: Keys, tls: ssl.SSLContext | None, sockets: list[socket.socket]
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._tls = tls
        self._sockets = sockets
        self._workers: set[int] = set()
        self._lifeline = os.pipe()  # nothing is ever written: its end tells a worker that this process is gone

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status, 1 when a worker had to be killed."""
        watched = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)  # before the first fork, so that none is missed
        for _ in range(self._settings.server.workers):
            self._fork(watched)
        while signal.sigwait(watched) is signal.SIGCHLD:
            for status in self._reap():
                log.logger().error("worker_died", status=status)
                time.sleep(RESTART_PAUSE_S)  # a worker that cannot start must not take the machine with it
                self._fork(watched)
        return self._end()

    def _fork(self, watched: set[signal.Signals]) -> None:
        pid = os.fork()
        if pid:
            self._workers.add(pid)
            return
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
            os.close(self._lifeline[1])
            work(self._settings, self._keys, self._tls, self._sockets, self._lifeline[0])
            status = 0
        except BaseException:  # noqa: BLE001 - a forked worker must never return into its parent's code
            log.logger().exception("worker_failed")
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> list[int]:
        ended = []
        for pid in list(self._workers):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._workers.discard(pid)
                ended.append(os.waitstatus_to_exitcode(status))
        return ended

    def _end(self) -> int:
        for bound in self._sockets:
            bound.close()
        for pid in self._workers:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + self._settings.server.shutdown_grace.seconds + 5
        while self._workers and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.05)
        for pid in self._workers:
            log.logger().error("worker_killed", worker=pid)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return 1 if self._workers else 0
