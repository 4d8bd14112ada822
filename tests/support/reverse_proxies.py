"""nginx, HAProxy and Caddy in front of a gateway, each with a configuration of the test's own.

Not here: what a test writes into that configuration.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from tests.support.processes import Process, find_program, tcp_answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["caddy", "haproxy", "nginx"]


@contextlib.contextmanager
def nginx(folder: Path, port: int, http: str, *, connections: int = 512) -> Iterator[Process]:
    """nginx with the block `http`, in which it has to listen on `port`."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {folder}/nginx-{kind};\n" for kind in kinds)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx-error.log;\n"
        f"worker_rlimit_nofile {2 * connections + 64};\nevents {{ worker_connections {2 * connections}; }}\n"
        f"http {{\naccess_log off;\n{folders}{http}}}\n"
    )
    with _running("nginx", ["-c", config], folder, port) as process:
        yield process


@contextlib.contextmanager
def haproxy(folder: Path, port: int, config: str) -> Iterator[Process]:
    """HAProxy with this configuration, in which it has to listen on `port`."""
    file = folder / "haproxy.cfg"
    file.write_text(config)
    with _running("haproxy", ["-db", "-f", file], folder, port) as process:
        yield process


@contextlib.contextmanager
def caddy(folder: Path, port: int, caddyfile: str) -> Iterator[Process]:
    """Caddy with this Caddyfile, in which it has to listen on `port`; without its administration."""
    file = folder / "Caddyfile"
    file.write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{caddyfile}")
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with _running(
        "caddy", ["run", "--adapter", "caddyfile", "--config", file], folder, port, {**os.environ, **home}
    ) as process:
        yield process


@contextlib.contextmanager
def _running(
    program: str, arguments: list[str | Path], folder: Path, port: int, env: dict[str, str] | None = None
) -> Iterator[Process]:
    with Process([find_program(program), *arguments], log=folder / f"{program}.log", env=env) as process:
        process.wait_ready(lambda: tcp_answers(port), what=program)
        yield process
