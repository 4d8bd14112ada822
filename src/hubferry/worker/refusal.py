"""What a Worker answers whose variables cannot be used: the problem, in the words of the registry protocol."""

from typing import Any

from hubferry.core.errors import Code, OciError
from hubferry.core.values import ConfigError
from hubferry.pull.answer import error_answer
from hubferry.worker.log import Events
from hubferry.worker.messages import js_response
from hubferry.worker.settings import Unsuitable


class Refusal:
    """Answers every request with the same problem; values are for the log alone, because anybody may ask."""

    def __init__(self, error: ConfigError) -> None:
        Events().error("misconfigured", {"problem": str(error)})
        problem = str(error) if isinstance(error, Unsuitable) else f"{error.key}: the log of this Worker says why"
        message = f"this gateway's variables cannot be used: {problem}"
        self._answer = error_answer(OciError(500, Code.UNKNOWN, message))

    async def answer(self, request: Any, _: Any) -> Any:
        """The problem as a `Response`."""
        return js_response(request.method, self._answer.status, self._answer.headers, self._answer.body)
