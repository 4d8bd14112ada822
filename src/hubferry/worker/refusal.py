"""What a Worker answers whose variables cannot be used: the problem, in the words of the registry protocol."""

from typing import Any

from hubferry.core.errors import Code, OciError
from hubferry.pull.answer import error_answer
from hubferry.worker.log import Events
from hubferry.worker.messages import js_response


class Refusal:
    """Answers every request with the same problem."""

    def __init__(self, problem: str) -> None:
        Events().error("misconfigured", {"problem": problem})
        message = f"this gateway's variables cannot be used: {problem}"
        self._answer = error_answer(OciError(500, Code.UNKNOWN, message))

    async def answer(self, request: Any, _: Any) -> Any:
        """The problem as a `Response`."""
        return js_response(request.method, self._answer.status, self._answer.headers, self._answer.body)
