"""The Worker in Cloudflare's real runtime: `wrangler dev`, for machines that can fetch the runtime's Python.

`python -m tests.support.workerd` says whether it runs here. Each deployment is a start of its own, about as long as a
cold start. Not here: the same Worker on Node (worker.py), which `make test` runs.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.processes import Process, StartError, free_port, url_answers
from tests.support.worker import HARNESS, ROOT, Deployment, assembled_bundle, variables_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Workerd"]

TOOLS = ROOT / "tests" / "worker" / "workerd" / "node_modules"
DEPLOY = ROOT / "deploy" / "cloudflare"
PATIENCE_S = 120  # the first start fetches the runtime's Python
NOT_RUN = 3


class Workerd:
    """Deployments one after the other; the interface is Worker's, as far as tests of both shells use it."""

    def __init__(self, state: Path) -> None:
        self._project = state / "project"
        self._log = state / "workerd.log"
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.process: Process
        self._is_running = False
        self._project.mkdir(parents=True)
        shutil.copytree(assembled_bundle(), self._project / "bundle")
        shutil.copytree(HARNESS / "packages", self._project / "python_modules")
        text = (DEPLOY / "wrangler.jsonc").read_text(encoding="utf-8")
        build = '"build": { "command": "python assemble.py" },'
        if build not in text:
            raise AssertionError("wrangler.jsonc has another build: what is deployed may not be what is tested")
        (self._project / "wrangler.jsonc").write_text(text.replace(build, ""), encoding="utf-8")

    def deploy(self, config: Mapping[str, Any], *, env: Mapping[str, str] | None = None) -> Deployment:
        """Start it with this configuration, in the place of the last one. Raises StartError."""
        self.stop()
        lines = [f"{name}={json.dumps(value)}\n" for name, value in variables_of(config, env or {}).items()]
        (self._project / ".dev.vars").write_text("".join(lines), encoding="utf-8")
        node = TOOLS / "node" / "bin" / "node"
        wrangler = TOOLS / "wrangler" / "bin" / "wrangler.js"
        self.process = Process(
            [
                node,
                wrangler,
                "dev",
                "--ip",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--show-interactive-dev-session=false",
            ],
            log=self._log,
            env={"PATH": f"{node.parent}:/usr/bin:/bin", "HOME": str(self._project), "WRANGLER_SEND_METRICS": "false"},
            cwd=self._project,
        )
        self._is_running = True

        def answers() -> bool:
            return url_answers(self.url + "/healthz") or url_answers(self.url + "/healthz", 500)

        self.process.wait_ready(answers, what="wrangler dev", timeout_s=PATIENCE_S)
        return Deployment(self)

    def stop(self) -> None:
        """End what runs."""
        if self._is_running:
            self._is_running = False
            self.process.stop()


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
