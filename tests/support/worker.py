"""The Worker: the bundle that would be deployed, in Pyodide on Node, as a child process on a free port.

The same interface as Gateway's, so that one test can run against both shells. The configuration is handed over as the
variables of a deployment, `HUBFERRY_SECTION__KEY`. Not here: the harness itself (tests/worker/harness/serve.mjs).
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.support.processes import Process, find_program, free_port, tcp_answers, url_answers
from tests.support.shell import RunningShell
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Deployment", "Runtime", "Worker", "assembled_bundle", "format_variables", "variables_of", "without_files"]

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests" / "worker" / "harness"
DEPLOYED = '{"event":"deployed"}'
SERVER_LIMITS = ("connect_timeout", "tls_timeout", "read_timeout", "min_rate")
TOKEN_KEY = "HUBFERRY_ACCESS__TOKEN_KEY"


def format_variables(config: Mapping[str, Any]) -> dict[str, str]:
    """The tables of a configuration as environment variables; names of upstreams keep their dots."""
    variables: dict[str, str] = {}
    for section, table in config.items():
        for key, value in table.items():
            name = f"HUBFERRY_{section.upper()}__"
            if isinstance(value, dict) and section == "upstreams":
                variables |= {f"{name}{key}__{inner.upper()}": _format(one) for inner, one in value.items()}
            else:
                variables[name + key.upper()] = _format(value)
    return variables


def variables_of(config: Mapping[str, Any], further: Mapping[str, str]) -> dict[str, str]:
    """The variables of a deployment of a test's configuration; with a token key, unless one is among `further`."""
    return {TOKEN_KEY: secrets.token_urlsafe(32), **format_variables(without_files(config)), **further}


def without_files(config: Mapping[str, Any]) -> dict[str, Any]:
    """A test's configuration without what only a server has: its cache folder, companions, limits of fetch."""
    tables = {section: dict(table) for section, table in config.items()}
    for key in ("dir", "complete"):
        tables.get("cache", {}).pop(key, None)
    for name, values in tables.get("upstreams", {}).items():
        if isinstance(values, dict):
            tables["upstreams"][name] = {key: value for key, value in values.items() if key not in SERVER_LIMITS}
    return tables


def _format(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return json.dumps(value)  # rules
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    return str(value)


@functools.cache
def assembled_bundle() -> Path:
    """What deploy/cloudflare/assemble.py makes, once in a test run."""
    folder = Path(tempfile.mkdtemp(prefix="hubferry-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    bundle = folder / "bundle"
    subprocess.run([sys.executable, ROOT / "deploy" / "cloudflare" / "assemble.py", "--to", bundle], check=True)
    return bundle


class Worker(RunningShell):
    """A running Worker."""

    NAME = "the Worker"
    evicts = True

    @classmethod
    def start(
        cls,
        state: Path,
        config: str | Mapping[str, Any],
        *,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        bundle: Path | None = None,
        wait: bool = True,
    ) -> Worker:
        """Start it with that configuration and wait for `/healthz`; `state` holds its variables and its output.

        A string is a file in TOML. `env` are further variables, but for those of Node itself (`NODE_...`). A token key
        is made unless one is given. `bundle` is another one than hubferry's.
        """
        port = port or free_port()
        tables = tomllib.loads(config.replace("{port}", str(port))) if isinstance(config, str) else config
        node_env = {name: value for name, value in (env or {}).items() if name.startswith("NODE_")}
        vars_file = cls._write_variables(state, tables, env)
        folders = ["--bundle", str(bundle or assembled_bundle()), "--packages", str(HARNESS / "packages")]
        worker = cls(_start_node(state, port, [*folders, "--vars", str(vars_file)], node_env), port, state)
        if wait:
            worker.process.wait_ready(lambda: url_answers(worker.url + "/healthz"), what=worker.url + "/healthz")
        return worker

    def deploy(self, config: Mapping[str, Any], *, env: Mapping[str, str] | None = None) -> Deployment:
        """Put another deployment in its place: its own variables, an empty cache."""
        seen = self.output().count(DEPLOYED)
        self._write_variables(self.state, config, env)
        self.process.signal(signal.SIGHUP)

        def is_deployed() -> bool:
            assert self.process.running, f"the Worker ended by itself:\n{self.process.tail()}"
            return self.output().count(DEPLOYED) != seen

        wait_until(is_deployed, "deployed", seen=self.process.tail)
        return Deployment(self)

    @classmethod
    def start_passthrough(cls, state: Path, upstream_url: str) -> Worker:
        """In its place a few lines of JavaScript that hand that upstream's answers on: what a Worker is measured by."""
        port = free_port()
        state.mkdir(parents=True, exist_ok=True)
        worker = cls(_start_node(state, port, ["--passthrough", upstream_url], {}), port, state)
        worker.process.wait_ready(lambda: tcp_answers(port), what=worker.url)
        return worker

    @staticmethod
    def _write_variables(state: Path, config: Mapping[str, Any], env: Mapping[str, str] | None) -> Path:
        further = {name: value for name, value in (env or {}).items() if not name.startswith("NODE_")}
        variables = variables_of(config, further)
        state.mkdir(parents=True, exist_ok=True)
        vars_file = state / "vars.json"
        vars_file.write_text(json.dumps(variables, indent=2), encoding="utf-8")
        return vars_file


class Runtime(Protocol):
    """Where Workers run: here, or in the real runtime (workerd.py)."""

    process: Process
    port: int
    host: str
    url: str
    evicts: bool
    """Whether SIGUSR2 makes its cache drop what is large."""

    def deploy(self, config: Mapping[str, Any], *, env: Mapping[str, str] | None = None) -> Deployment:
        """Put another deployment in the place of the last one."""


class Deployment:
    """What a test sees of a Worker that it shares with other tests, one after the other; the interface is Gateway's."""

    def __init__(self, worker: Runtime, *, is_new: bool = False) -> None:
        """`is_new`: the process was started for it, so that all of its output belongs to it."""
        self.process = worker.process
        self.port, self.host, self.url, self.evicts = worker.port, worker.host, worker.url, worker.evicts
        self.stopped = False
        self._before = 0 if is_new else len(worker.process.log.read_text(errors="replace"))
        self._said_before = len(self._complaints())

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self.stopped:
            self.stop()

    def output(self) -> str:
        """What this deployment printed."""
        return self.process.log.read_text(errors="replace")[self._before :]

    def _complaints(self) -> str:
        return self.process.stderr_log.read_text(errors="replace")

    def log_records(self) -> list[dict[str, Any]]:
        """Its lines that are JSON objects."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]

    def stop(self) -> None:
        """The end of this deployment: it still runs, and failed nowhere inside."""
        self.stopped = True
        assert self.process.running, f"the Worker ended by itself:\n{self.process.tail()}"
        failed = [record for record in self.log_records() if record["event"] == "internal_error"]
        assert not failed, failed
        said = self._complaints()[self._said_before :]
        # what goes on after an answer is awaited by nobody, so its failure is nobody's either
        assert "waitUntil:" not in said, said
        assert "unhandled rejection:" not in said, said


def _start_node(state: Path, port: int, args: list[str], env: Mapping[str, str]) -> Process:
    node = find_program("node")
    if not (HARNESS / "node_modules" / "pyodide").exists() or not (HARNESS / "packages" / "workers").exists():
        message = "the Worker's harness is not installed: run scripts/install-node"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return Process(
        [node, HARNESS / "serve.mjs", "--port", str(port), *args],
        log=state / "stdout.log",
        stderr_log=state / "stderr.log",
        env={"PATH": os.environ["PATH"], "HOME": str(state), **env},
        cwd=state,
    )
