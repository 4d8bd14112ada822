"""Access log and events as JSON lines on the console, with the field names of the server's log.

No field is a header, a query or a body.
"""

import json
from collections.abc import Mapping

import js

from hubferry.core.http import Request
from hubferry.core.logged import logged_fields
from hubferry.gateway.answer import AccessRecord, is_logged, log_fields, log_level


class Events:
    """The `EventLog` port over the console."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        _write({**fields, "event": event, "level": "warning"})

    def error(self, event: str, fields: Mapping[str, object]) -> None:
        """Report a problem that the operator has to do something about."""
        _write({**fields, "event": event, "level": "error"})


def log_request(request: Request, status: int, record: AccessRecord, least: str) -> None:
    """Write the line of a request if its level is `least` or above.

    The line has no number of bytes and no duration: only the platform knows them.
    """
    level = log_level(status, record)
    if is_logged(level, least):
        _write({**log_fields(request, status, record), "event": "request", "level": level})


def _write(fields: Mapping[str, object]) -> None:
    # `print` would write to the console as well, at about twice the cost
    js.console.log(json.dumps(logged_fields(fields), ensure_ascii=False, default=str))
