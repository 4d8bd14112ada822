"""The entry point that the runtime calls: one gateway for each isolate, made at its first request."""

from typing import Any

from workers import WorkerEntrypoint

from hubferry.core.values import ConfigError
from hubferry.worker.compose import build_shell
from hubferry.worker.refusal import Refusal
from hubferry.worker.shell import Shell

_shells: list[Shell | Refusal] = []


class Default(WorkerEntrypoint):
    """What a Worker's `main` exports."""

    async def fetch(self, request: Any) -> Any:
        """Answer one request, with a JavaScript `Response`."""
        if not _shells:
            try:
                _shells.append(build_shell(self.env))
            except ConfigError as error:  # variables only change with a new deployment, and that is a new isolate
                _shells.append(Refusal(error))
        return await _shells[0].answer(request.js_object, self.ctx)
