"""Run the server: Granian, its worker processes, and how they stop.

SIGTERM stops listening, lets running pulls finish for `server.shutdown_grace`, then exits 0.
"""

import multiprocessing
from pathlib import Path

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from hubferry.core.settings import ConfigError, Settings, parse_listen
from hubferry.server import log
from hubferry.server.app import App
from hubferry.server.compose import build_app, build_origins
from hubferry.server.seal import KeyProblem, load_or_create_key


def serve(settings: Settings) -> None:
    """Serve until a signal. Raises ConfigError for what keeps it from starting."""
    log.configure(settings.server.log_format)
    build_origins(settings)  # what cannot be read stops the start, not a worker
    key_file = Path(settings.access.token_key_file or Path(settings.cache.dir) / "token.key")
    try:
        key = load_or_create_key(key_file)
    except KeyProblem as error:
        raise ConfigError("access.token_key_file", str(error)) from None
    host, port = parse_listen(settings.server.listen[0])
    tls = settings.server.tls_cert

    def load() -> App:
        log.configure(settings.server.log_format)
        return build_app(settings, key)

    # workers inherit what is resolved here: it need not be picklable
    multiprocessing.set_start_method("fork", force=True)
    server = Granian(
        "hubferry",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.server.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        websockets=False,
        backlog=1024,
        workers_kill_timeout=int(settings.server.shutdown_grace.seconds) or 1,
        log_enabled=False,
        log_level=LogLevels.warning,
        ssl_cert=Path(tls) if tls else None,
        ssl_key=Path(settings.server.tls_key) if tls else None,
    )
    log.logger().info("listening", listen=list(settings.server.listen), upstreams=sorted(settings.upstreams))
    server.serve(target_loader=load, wrap_loader=False)
