"""Run the server: listening sockets, worker processes, and how they stop.

A single worker runs in this process. Several workers are forked from it and share its sockets, while this process
supervises them. On SIGTERM the server stops listening, lets running pulls finish for up to `server.shutdown_grace`, and
exits with 0. Why uvicorn: docs/dependencies.md.
"""

import asyncio
import contextlib
import gc
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
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import cast

import uvicorn
import uvloop

from hubferry.core.exposure import problem_of_openness
from hubferry.core.human import human_size
from hubferry.core.settings import Settings
from hubferry.core.values import ConfigError, parse_listen, parse_token_key
from hubferry.gateway.answer import NOSNIFF
from hubferry.server import log
from hubferry.server.app import App
from hubferry.server.audit import AuditLog
from hubferry.server.clients import Clients
from hubferry.server.compose import Keys, build_app, build_client_limits, build_upstreams, load_tls, networks
from hubferry.server.domains import read_public_suffixes
from hubferry.server.kernel_memory import KERNEL_BYTES, limit_unsent
from hubferry.server.key import KeyProblem, load_or_create_key
from hubferry.server.protocol import BoundedHttpProtocol, check_server
from hubferry.server.proxy_header import ProxyHeaders
from hubferry.server.user_files import open_to_others, read_directory
from hubferry.store.private import close_to_others

BACKLOG = 1024
KEEP_ALIVE_S = 65  # longer than the 60 s for which nginx keeps a connection to us by default
RESTART_PAUSE_S = 1.0
TICK_S = 0.1  # the interval at which uvicorn calls `on_tick`
KEY_BYTES = 32
COUNTS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def serve(settings: Settings, config_file: Path | None = None) -> None:
    """Serve until a signal. With several workers this then exits the process; with one it returns.

    `config_file` is where settings came from, for the log. Raises ConfigError when the server cannot start.
    """
    log.configure(settings.server.log_format, settings.server.log_level)
    check_server()
    if problem := problem_of_openness(settings):
        raise ConfigError("server.listen", problem)
    allow_descriptors()
    build_upstreams(settings)  # a file that cannot be read must stop the start, and not each worker
    check_users(settings)
    if settings.audit.file:
        AuditLog(settings.audit.file).close()  # a file that cannot be written must stop the start, too
    # the key is loaded before the folder is closed, so that the warning about who could read it is right
    keys = Keys(load_key(settings), secrets.token_bytes(KEY_BYTES))
    close_cache_folder(settings)
    read_public_suffixes()  # once for all workers, and not while a client waits
    tls = load_tls(settings)
    sockets = [bind(address) for address in settings.server.listen]
    log.logger().info("listening", **describe_start(settings, config_file))
    with counts_folder(settings):
        if settings.server.workers == 1:
            work(settings, keys, tls, sockets)
        else:
            sys.exit(Supervisor(settings, keys, tls, sockets).run())


def describe_start(settings: Settings, config_file: Path | None) -> dict[str, object]:
    """Return what the log says of a server that starts: the mistakes that operators make are seen there."""
    told: dict[str, object] = {
        "listen": list(settings.server.listen),
        "upstreams": sorted(settings.upstreams),
        "config": "none" if config_file is None else str(config_file.absolute()),
    }
    if settings.cache.enabled:
        folder = Path(settings.cache.dir).absolute()
        told |= {"folder": str(folder), "free": human_size(shutil.disk_usage(folder).free)}
    return told


def allow_descriptors() -> None:
    """Raise the limit of open descriptors to the highest that is allowed.

    Every client takes up to three descriptors, and shells start programs with a limit of 1,024 although more are
    allowed.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def check_users(settings: Settings) -> None:
    """Raise ConfigError for files of users that cannot be read, and log which of them others can read."""
    if settings.access.login == "users":
        read_directory(settings.access)
        for problem in open_to_others(settings.access):
            log.logger().warning("users_open", problem=problem)


def close_cache_folder(settings: Settings) -> None:
    """Close the cache folder to other users before anything is kept in it, and log when that is not possible."""
    if not settings.cache.enabled and (settings.access.token_key or settings.access.token_key_file):
        return  # neither content nor the key is kept there, so there is no such folder
    problem = close_to_others(Path(settings.cache.dir))
    if problem:
        log.logger().warning("cache_folder_open", problem=problem)


def load_key(settings: Settings) -> bytes:
    """Return the token key: `access.token_key` itself, or the content of its file. Raises ConfigError."""
    if settings.access.token_key:
        return parse_token_key(settings.access.token_key)
    given = settings.access.token_key_file
    path = Path(given or Path(settings.cache.dir) / "token.key")
    try:
        key, problem = load_or_create_key(path, is_ours=not given)
    except KeyProblem as error:
        raise ConfigError("access.token_key_file", str(error)) from None
    if problem:
        log.logger().warning("token_key_open", problem=problem)
    return key


@contextlib.contextmanager
def counts_folder(settings: Settings) -> Generator[None, None, None]:
    """Provide the folder in which several workers put their counts, and remove it at the end.

    From it each worker can tell the sum, which includes workers that died. The folder is in memory (/dev/shm) where
    that exists: the files are mapped, and a full disk would kill a process that writes to them. prometheus_client reads
    the environment variable when it is first imported, which each worker does for itself. Raises ConfigError.
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
    """Return a socket that listens on an address. `[::]` accepts IPv4 as well. Raises ConfigError.

    It listens at once: two processes may bind the same address, as long as none of them listens on it, and the second
    one would fail only later.
    """
    host, port = parse_listen(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = None
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        limit_unsent(bound, KERNEL_BYTES)  # every connection that it accepts begins with this
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        if bound is not None:
            bound.close()
        problem = f"{address} cannot be listened on ({error.strerror or error}): choose another address or port"
        raise ConfigError("server.listen", problem) from None
    bound.setblocking(False)
    bound.set_inheritable(True)
    return bound


class Server(uvicorn.Server):
    """uvicorn's server with three changes.

    It regularly checks that clients take what they are given, it logs what it waits for when it stops, and after a
    signal it ends normally instead of raising the signal again.
    """

    def __init__(self, config: uvicorn.Config, app: App, clients: Clients) -> None:
        super().__init__(config)
        self._end_streams = app.end_streams
        self._count_fills = app.count_fills
        self._clients = clients

    async def on_tick(self, counter: int) -> bool:
        """Check that clients take what they are given. uvicorn calls this every TICK_S."""
        if counter % max(1, round(self._clients.look_s / TICK_S)) == 0:
            self._clients.look(cast("set[BoundedHttpProtocol]", self.server_state.connections))
        return await super().on_tick(counter)

    async def _wait_tasks_to_complete(self) -> None:
        """Wait for the connections that are not idle; uvicorn has closed the idle ones before.

        uvicorn cancels this when the grace is over.
        """
        self._clients.is_stopping = True
        self._end_streams()
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
        """Stop on SIGTERM or SIGINT. A second signal stops without waiting for running pulls."""
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
    """Serve in this process until a signal, or until the supervisor is gone.

    `lifeline` is the reading end of a pipe that the supervisor holds open; None: there is no supervisor.
    """
    app = build_app(settings, keys)
    clients = Clients(build_client_limits(settings.server))
    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[NOSNIFF],
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.server.shutdown_grace.seconds)),
    )
    config.load()
    # uvicorn only needs a callable here. The protocol does TLS itself, so that it knows of a connection from its start
    make_protocol = partial(BoundedHttpProtocol, clients=clients, tls=tls)
    balancers = networks(settings.server.proxy_protocol)
    protocols = ProxyHeaders(make_protocol, balancers) if balancers else make_protocol
    config.http_protocol_class = protocols  # type: ignore[assignment]
    collect_only_what_comes()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        server = Server(config, app, clients)
        if lifeline is not None:
            runner.get_loop().add_reader(lifeline, server.handle_exit, signal.SIGTERM, None)
        runner.run(server.serve(sockets=sockets))


def collect_only_what_comes() -> None:
    """Turn garbage collection on for what is made from now on.

    What is there (modules, settings, the application) stays as long as the process. Looking through it took tens of
    milliseconds each time, in which nobody was answered; and the memory of a forked worker that is not looked through
    stays shared with its supervisor.
    """
    gc.freeze()
    gc.enable()


class Supervisor:
    """Forks the worker processes, replaces those that die, and ends all of them on a signal."""

    def __init__(
        self, settings: Settings, keys: Keys, tls: ssl.SSLContext | None, sockets: list[socket.socket]
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._tls = tls
        self._sockets = sockets
        self._workers: set[int] = set()
        self._lifeline = os.pipe()  # nothing is ever written; end of file tells a worker that this process is gone

    def run(self) -> int:
        """Run until SIGTERM, SIGINT, SIGHUP or SIGQUIT. Return the exit status: 1 when a worker had to be killed."""
        watched = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)  # before the first fork, so that no signal is missed
        for _ in range(self._settings.server.workers):
            self._fork(watched)
        while signal.sigwait(watched) is signal.SIGCHLD:
            for status in self._reap():
                log.logger().error("worker_died", status=status)
                time.sleep(RESTART_PAUSE_S)  # a worker that cannot start must not keep the machine busy with restarts
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
