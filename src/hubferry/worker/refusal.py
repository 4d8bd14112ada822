"""The answer of a Worker whose variables cannot be used: an error in the form of the registry protocol."""

from typing import Any

from hubferry.core.errors import Code, OciError
from hubferry.core.values import ConfigError
from hubferry.gateway.answer import error_answer
from hubferry.worker.log import Events
from hubferry.worker.messages import js_response
from hubferry.worker.settings import Unsuitable


class Refusal:
    """Answers every request with the same error, in place of a Shell.

    The values of variables appear only in the log, because anybody can see the answer.
    """

    def __init__(self, error: ConfigError) -> None:
        Events().error("misconfigured", {"problem": str(error)})
        problem = str(error) if isinstance(error, Unsuitable) else f"{error.key}: the log of this Worker says why"
        message = f"this gateway's variables cannot be used: {problem}"
        self._answer = error_answer(OciError(500, Code.UNKNOWN, message))

    async def answer(self, request: Any, _: Any) -> Any:
        """Return the error as a JavaScript `Response`."""
        return js_response(request.method, self._answer.status, self._answer.headers, self._answer.body)
