"""The Worker in Cloudflare's real runtime: `wrangler dev`.

`python -m tests.support.workerd` says whether it runs here. With HUBFERRY_PYODIDE_BUNDLES the runtime's Python is not
fetched but taken from that folder, where pyodide_bundle.py may have made it. Each deployment is a start of its own. A
slow one before the first leaves the memory of an isolate that has imported the Worker; they begin with that, as on
Cloudflare. Not here: the same Worker on Node (worker.py), which `make test` runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.support import pyodide_bundle
from tests.support.processes import Process, StartError, free_port, url_answers
from tests.support.worker import HARNESS, ROOT, Deployment, assembled_bundle, variables_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Workerd"]

TOOLS = ROOT / "tests" / "worker" / "workerd" / "node_modules"
DEPLOY = ROOT / "deploy" / "cloudflare"
PATIENCE_S = 120  # the first start fetches the runtime's Python
NOT_RUN = 3
BUNDLES = "HUBFERRY_PYODIDE_BUNDLES"
SNAPSHOT = "snapshot.bin"  # the name that workerd gives it
NODE = TOOLS / "node" / "bin" / "node"


class Workerd:
    """Deployments one after the other; the interface is Worker's, as far as tests of both shells use it."""

    evicts = False

    def __init__(self, state: Path) -> None:
        self._project = state / "project"
        self._log = state / "workerd.log"
        self.port = 0
        self.host = self.url = ""
        self.process: Process
        self._running: list[psutil.Process] = []  # wrangler and what it started, which may outlive it
        self._bundles = Path(os.environ.get(BUNDLES) or state / "bundles").resolve()
        self._project.mkdir(parents=True)
        shutil.copytree(assembled_bundle(), self._project / "bundle")
        shutil.copytree(HARNESS / "packages", self._project / "python_modules")
        self._bundles.mkdir(parents=True, exist_ok=True)
        self._program = self._write_program()

    def deploy(self, config: Mapping[str, Any], *, env: Mapping[str, str] | None = None) -> Deployment:
        """Start it with this configuration, in the place of the last one. Raises StartError."""
        if not (self._project / SNAPSHOT).exists():
            self._start(variables_of({}, {}))  # the one that leaves it works in another way: no test may have it
        self._start(variables_of(config, env or {}))
        return Deployment(self, is_new=True)

    def _start(self, variables: Mapping[str, Any]) -> None:
        self.stop()
        shutil.rmtree(self._project / ".wrangler", ignore_errors=True)  # what the last one's cache kept
        self.port = free_port()  # the last one's may not be free yet
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        (self._project / "wrangler.jsonc").write_text(self._settings(variables), encoding="utf-8")
        self.process = Process(
            [
                NODE,
                TOOLS / "wrangler" / "bin" / "wrangler.js",
                "dev",
                "--ip",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--inspector-port",
                str(free_port()),  # or two test runs at once want the same one
                "--show-interactive-dev-session=false",
            ],
            log=self._log,
            env={
                "PATH": f"{NODE.parent}:/usr/bin:/bin",
                "HOME": str(self._project),
                "WRANGLER_SEND_METRICS": "false",
                "CLOUDFLARE_CF_FETCH_ENABLED": "false",  # it would ask Cloudflare where this machine is
                "MINIFLARE_WORKERD_PATH": str(self._program),
            },
            cwd=self._project,
        )

        def answers() -> bool:
            self._running = self.process.tree() or self._running
            return url_answers(self.url + "/healthz") or url_answers(self.url + "/healthz", 500)

        self.process.wait_ready(answers, what="wrangler dev", timeout_s=PATIENCE_S)

    def stop(self) -> None:
        """End what runs."""
        running, self._running = self._running, []
        if running:
            self.process.stop()
            for process in running:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(running, timeout=5)

    def _settings(self, variables: Mapping[str, Any]) -> str:
        """The wrangler.jsonc that is deployed, but for what differs in a test."""
        flags = ["python_workers", *(pyodide_bundle.COMPATIBILITY_FLAGS if pyodide_bundle.is_in(self._bundles) else ())]
        values = "".join(f"{json.dumps(name)}: {json.dumps(value)}," for name, value in variables.items())
        text = (DEPLOY / "wrangler.jsonc").read_text(encoding="utf-8")
        for old, new in {
            '"build": { "command": "python assemble.py" },': "",
            '"compatibility_flags": ["python_workers"]': f'"compatibility_flags": {json.dumps(flags)}',
            '"vars": {': f'"vars": {{{values}',
        }.items():
            if old not in text:
                raise AssertionError(f"wrangler.jsonc has no {old}: what is deployed may not be what is tested")
            text = text.replace(old, new)
        return text

    def _write_program(self) -> Path:
        """A program that is workerd with options that wrangler has none for."""
        program = self._project / "workerd"
        workerd = shlex.quote(str(TOOLS / "workerd" / "bin" / "workerd"))
        folders = shlex.join(
            [f"--pyodide-bundle-disk-cache-dir={self._bundles}", f"--python-snapshot-dir={self._project}"]
        )
        lines = [
            "#!/bin/sh",
            "command=$1; shift",
            "snapshot=--python-save-snapshot",
            f"if [ -e {SNAPSHOT} ]; then snapshot=--python-load-snapshot={SNAPSHOT}; fi",
            f'exec {workerd} "$command" {folders} $snapshot "$@"',
        ]
        program.write_text("\n".join([*lines, ""]), encoding="utf-8")
        program.chmod(0o755)
        return program


def main() -> int:
    """Whether the real runtime runs here."""
    with tempfile.TemporaryDirectory(prefix="hubferry-workerd-") as folder:
        workerd = Workerd(Path(folder))
        try:
            workerd.deploy({})
        except StartError as error:
            reasons = [line for line in str(error).splitlines() if "failed" in line] or str(error).splitlines()[-1:]
            print(f"NOT RUN: Cloudflare's runtime does not start on this machine: {reasons[0].strip()}")
            return NOT_RUN
        finally:
            workerd.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
