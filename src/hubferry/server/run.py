"""Run the server: Granian, its worker processes, and how they stop.

SIGTERM stops listening, lets running pulls finish for `server.shutdown_grace`, then exits 0. Granian listens on
one address; for a list, one child process each runs it and this process watches over them.
"""

import multiprocessing
import signal
import socket
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer

from hubferry.core.settings import ConfigError, Settings, parse_listen
from hubferry.server import log
from hubferry.server.app import App
from hubferry.server.compose import build_app, build_origins
from hubferry.server.seal import KeyProblem, load_or_create_key

HEADER_READ_TIMEOUT_MS = 10_000  # a client that dribbles its headers holds a connection, nothing else


def serve(settings: Settings) -> None:
    """Serve until a signal, then exit. Raises ConfigError for what keeps it from starting."""
    log.configure(settings.server.log_format)
    build_origins(settings)  # what cannot be read stops the start, not a worker
    key_file = Path(settings.access.token_key_file or Path(settings.cache.dir) / "token.key")
    try:
        key = load_or_create_key(key_file)
    except KeyProblem as error:
        raise ConfigError("access.token_key_file", str(error)) from None
    for address in settings.server.listen:
        check_address(address)
    # workers inherit what is resolved here: it need not be picklable
    multiprocessing.set_start_method("fork", force=True)
    log.logger().info("listening", listen=list(settings.server.listen), upstreams=sorted(settings.upstreams))
    if len(settings.server.listen) == 1:
        build_server(settings, settings.server.listen[0]).serve(
            target_loader=lambda: load_app(settings, key), wrap_loader=False
        )
        return
    sys.exit(watch_over(settings, key))


def check_address(address: str) -> None:
    """Raises ConfigError when an address cannot be listened on, before a worker finds out."""
    host, port = parse_listen(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise ConfigError(
            "server.listen",
            f"{address} cannot be listened on ({error.strerror or error}): choose another address or port",
        ) from None


def build_server(settings: Settings, address: str) -> MPServer:
    """Granian for one address. Raises ConfigError when the certificate cannot be used."""
    host, port = parse_listen(address)
    tls = settings.server.tls_cert
    try:
        return MPServer(
            "hubferry",
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            workers=settings.server.workers,
            loop=Loops.uvloop,
            http=HTTPModes.http1,  # also under TLS: some clients resume only there
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_READ_TIMEOUT_MS),
            websockets=False,
            backlog=1024,
            workers_kill_timeout=max(1, round(settings.server.shutdown_grace.seconds)),
            respawn_failed_workers=True,
            log_enabled=False,
            log_level=LogLevels.warning,
            ssl_cert=Path(tls) if tls else None,
            ssl_key=Path(settings.server.tls_key) if tls else None,
            ssl_protocol_min=SSLProtocols.tls12,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            "server.tls_cert", f"{tls} and tls_key cannot be used ({error}): check both files"
        ) from None


def load_app(settings: Settings, key: bytes) -> App:
    """The application of one worker process, called in it."""
    log.configure(settings.server.log_format)
    return build_app(settings, key)


def _start_child(settings: Settings, address: str, key: bytes) -> BaseProcess:
    def run() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        build_server(settings, address).serve(target_loader=lambda: load_app(settings, key), wrap_loader=False)

    child = multiprocessing.Process(target=run, name=f"hubferry {address}")
    child.start()
    return child


WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


def watch_over(settings: Settings, key: bytes) -> int:
    """One child for each address, until a signal comes or a child ends: then all end. The exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # blocked before the first child, so that none is missed
    children = [_start_child(settings, address, key) for address in settings.server.listen]
    signal.sigwait(WATCHED)
    for child in children:
        child.terminate()
    for child in children:
        child.join()
    return 1 if any(child.exitcode for child in children) else 0
