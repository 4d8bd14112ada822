"""Everybody who is measured: each a real process on a free port, with a state folder of its own.

Used as context managers, stopped by process id. A Contestant is all that measurements know of them.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.gateway import Gateway, upstream
from tests.support.processes import Process, find_program, free_port, tcp_answers
from tests.support.registry import Registry
from tests.support.worker import Worker

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.support.images import Image
    from tests.support.tls import Authority

__all__ = [
    "Contestant",
    "blob_server",
    "file_server",
    "hubferry",
    "hubferry_config",
    "nginx_cache",
    "nginx_proxy",
    "passthrough",
    "registry_proxy",
    "registry_server",
    "worker",
    "worker_config",
]


@dataclass(frozen=True)
class Contestant:
    """Where it listens and what to meter; `tls` for one that is spoken to over TLS.

    `kept_at` is for one that keeps blobs: the file of a finished one, by the path of its URL.
    """

    name: str
    port: int
    process: Process
    tls: ssl.SSLContext | None = None
    kept_at: Callable[[str], Path] | None = None


@contextlib.contextmanager
def file_server(state: Path, root: Path, authority: Authority) -> Iterator[Contestant]:
    """The TLS upstream: nginx with the files of `root`; below /slow/ the same files at 16 KiB/s."""
    port = free_port()
    certificate = authority.issue()
    server = f"""
      sendfile on; tcp_nopush on; default_type application/octet-stream;
      server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate.cert_file}; ssl_certificate_key {certificate.key_file};
        root {root};
        location /v2/slow/ {{ limit_rate 16k; alias {root}/v2/bench/; }}
      }}"""
    with _nginx(state, server, port) as process:
        yield Contestant("the upstream itself", port, process, authority.client_context())


@contextlib.contextmanager
def blob_server(state: Path, root: Path, log: Path) -> Iterator[Contestant]:
    """The plain-HTTP upstream: nginx with the files of `root`; a line of `log` for each request (see upstream_log)."""
    port = free_port()
    server = f"""
      log_format asked '$request_method $uri $status $body_bytes_sent';
      sendfile on; tcp_nopush on; default_type application/octet-stream;
      server {{
        listen 127.0.0.1:{port};
        access_log {log} asked;
        root {root};
        location = /v2/ {{ add_header Docker-Distribution-Api-Version registry/2.0; return 200 "{{}}"; }}
      }}"""
    with _nginx(state, server, port) as process:
        yield Contestant("the upstream itself", port, process)


@contextlib.contextmanager
def nginx_cache(state: Path, upstream_port: int) -> Iterator[Contestant]:
    """nginx's proxy_cache: one fetch for all, files renamed where they were written. It knows nothing of digests."""
    port = free_port()
    # by default whoever waits for another's fetch goes to the upstream as well after 5 s
    server = f"""
      proxy_cache_path {state}/cache keys_zone=bench:16m max_size=20g inactive=1h use_temp_path=off;
      upstream origin {{ server 127.0.0.1:{upstream_port}; keepalive 64; }}
      sendfile on; tcp_nopush on;
      server {{
        listen 127.0.0.1:{port};
        location / {{
          proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
          proxy_cache bench; proxy_cache_key $uri; proxy_cache_valid 200 1h;
          proxy_cache_lock on; proxy_cache_lock_timeout 10m; proxy_cache_lock_age 10m;
          proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 512k;
        }}
      }}"""

    def kept_at(path: str) -> Path:
        return state / "cache" / hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()

    with _nginx(state, server, port) as process:
        yield Contestant("nginx proxy_cache", port, process, kept_at=kept_at)


@contextlib.contextmanager
def nginx_proxy(state: Path, upstream_port: int, authority: Authority, *, buffering: bool) -> Iterator[Contestant]:
    """nginx's proxy_pass with the buffers that did best in trials: one process, certificate verified."""
    port = free_port()
    tuning = (
        "proxy_buffering on; proxy_max_temp_file_size 0; proxy_buffer_size 64k; proxy_buffers 16 64k;"
        " proxy_busy_buffers_size 512k;"
        if buffering
        else "proxy_buffering off; proxy_buffer_size 256k; proxy_buffers 8 256k; proxy_busy_buffers_size 512k;"
    )
    server = f"""
      upstream origin {{ server 127.0.0.1:{upstream_port}; keepalive 64; }}
      server {{
        listen 127.0.0.1:{port};
        location / {{
          proxy_pass https://origin; proxy_http_version 1.1; proxy_set_header Connection "";
          proxy_set_header Host localhost; proxy_ssl_name localhost; proxy_ssl_server_name on;
          proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority.ca_file};
          {tuning}
        }}
      }}"""
    with _nginx(state, server, port) as process:
        yield Contestant(f"nginx proxy_pass, buffering {'on' if buffering else 'off'}", port, process)


@contextlib.contextmanager
def hubferry(
    state: Path,
    upstream_url: str,
    authority: Authority | None = None,
    *,
    cache: bool = False,
    login: str = "open",
    tag_ttl_s: int = 60,
    name: str = "hubferry",
) -> Iterator[Contestant]:
    """The real hubferry in front of one upstream; with `login` open anonymous pulls need no token."""
    config = hubferry_config(state, upstream_url, authority)
    config["access"]["login"] = login
    config["cache"] |= {"enabled": cache, "tag_ttl": f"{tag_ttl_s}s"}

    def kept_at(path: str) -> Path:
        encoded = path.rpartition(":")[2]
        return state / "data/blobs/sha256" / encoded[:2] / encoded

    with Gateway.start(state, config) as gateway:
        yield Contestant(name, gateway.port, gateway.process, kept_at=kept_at if cache else None)


@contextlib.contextmanager
def worker(
    state: Path, upstream_url: str, *, cache: bool = False, name: str = "hubferry's Worker"
) -> Iterator[Contestant]:
    """The Worker shell on Node, in front of one upstream."""
    with Worker.start(state, worker_config(upstream_url, {"enabled": cache})) as running:
        yield Contestant(name, running.port, running.process)


def worker_config(upstream_url: str, cache: Mapping[str, object]) -> dict[str, Any]:
    """The Worker's configuration: anonymous pulls need no token."""
    return {
        "access": {"login": "open"},
        "cache": dict(cache),
        "upstreams": {"only": True, "bench.test": upstream(upstream_url, default=True)},
    }


@contextlib.contextmanager
def passthrough(state: Path, upstream_url: str) -> Iterator[Contestant]:
    """What the Worker's harness does with a few lines of JavaScript in the Worker's place."""
    with Worker.start_passthrough(state, upstream_url) as running:
        yield Contestant("pass-through in JavaScript", running.port, running.process)


def hubferry_config(state: Path, upstream_url: str, authority: Authority | None = None) -> dict[str, Any]:
    """hubferry's configuration with everything in `state`, as nested tables."""
    settings = {"ca_file": str(authority.ca_file)} if authority else {}
    return {
        "access": {"login": "open"},
        "server": {"connections_per_address": 0},  # a thousand readers have one address here
        "cache": {"dir": str(state / "data")},
        "upstreams": {"only": True, "bench.test": upstream(upstream_url, default=True, **settings)},
    }


@contextlib.contextmanager
def registry_proxy(state: Path, upstream_url: str) -> Iterator[Contestant]:
    """Debian's docker-registry as a pull-through cache."""

    def kept_at(path: str) -> Path:
        encoded = path.rpartition(":")[2]
        return state / "content/docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data"

    with Registry(state, extra={"proxy": {"remoteurl": upstream_url}}) as registry:
        yield Contestant("docker-registry as proxy", registry.port, registry.process, kept_at=kept_at)


@contextlib.contextmanager
def registry_server(
    state: Path, repository: str, tag: str, image: Image, *, logs: bool = False
) -> Iterator[Contestant]:
    """A real registry to be asked: Debian's docker-registry with one image.

    To be fast it does not log; with `logs` it has a line for each request (see upstream_log.RegistryLog).
    """
    log = {"level": "error", "accesslog": {"disabled": not logs}}
    with Registry(state, extra={"log": log}) as registry:
        registry.push(repository, tag, image)
        yield Contestant("the upstream itself", registry.port, registry.process)


@contextlib.contextmanager
def _nginx(state: Path, http: str, port: int) -> Iterator[Process]:
    """One nginx with one worker process, and no access log but for what `http` says."""
    temporary = "".join(
        f"{kind}_temp_path {state}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = state / "nginx.conf"
    config.write_text(
        f"worker_processes 1; daemon off; user root; pid {state}/nginx.pid; error_log {state}/error.log warn;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 1000000; {temporary}\n{http}\n}}\n"
    )
    command: list[str | Path] = [find_program("nginx"), "-c", config, "-p", state, "-e", state / "error.log"]
    with Process(command, log=state / "stdout.log") as process:
        process.wait_ready(lambda: tcp_answers(port), what=f"port {port}")
        yield process
