"""Access log and events as JSON lines on the console, with the server's names; no header, query or body gets in."""

import json
from collections.abc import Mapping

from hubferry.core.http import Request
from hubferry.pull import Trail


class Events:
    """The `EventLog` port."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        """See ports.EventLog."""
        _write({**fields, "event": event, "level": "warning"})

    def error(self, event: str, fields: Mapping[str, object]) -> None:
        """Something that the operator has to do something about."""
        _write({**fields, "event": event, "level": "error"})


def log_request(request: Request, status: int, trail: Trail) -> None:
    """One line for each request. How many bytes a body had, and how long it took, only the platform knows."""
    fields: dict[str, object] = {"method": request.method, "path": request.path[:512], "status": status}
    fields |= {"peer": request.peer}
    if trail.upstream:
        fields |= {"upstream": trail.upstream}
    if trail.repository:
        fields |= {"repository": trail.repository, "reference": trail.reference}
    fields["outcome"] = trail.outcome or "local"
    if trail.problem:
        fields["problem"] = trail.problem
    _write({**fields, "event": "request", "level": "warning" if status >= 500 else "info"})


def _write(fields: Mapping[str, object]) -> None:
    print(json.dumps(fields, ensure_ascii=False, default=str))  # noqa: T201 - the platform keeps what is printed
