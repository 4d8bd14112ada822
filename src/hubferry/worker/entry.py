"""The entry point that the runtime calls. Each isolate has one gateway, which is made at its first request."""

from typing import Any

from workers import WorkerEntrypoint

from hubferry.core.values import ConfigError
from hubferry.worker.compose import build_shell
from hubferry.worker.refusal import Refusal
from hubferry.worker.shell import Shell

_shells: list[Shell | Refusal] = []


class Default(WorkerEntrypoint):
    """The class that the Worker's main module exports; the runtime creates it for each request."""

    async def fetch(self, request: Any) -> Any:
        """Answer one request. Returns a JavaScript `Response`."""
        if not _shells:
            try:
                _shells.append(build_shell(self.env))
            except ConfigError as error:  # kept: variables change only with a deployment, which makes new isolates
                _shells.append(Refusal(error))
        return await _shells[0].answer(request.js_object, self.ctx)
