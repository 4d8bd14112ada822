"""Access log and events as JSON lines on the console, with the server's names; no header, query or body gets in."""

import json
from collections.abc import Mapping

from hubferry.core.http import Request
from hubferry.core.logged import logged_fields
from hubferry.pull import Trail
from hubferry.pull.answer import is_logged, log_fields, log_level


class Events:
    """The `EventLog` port."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        """See ports.EventLog."""
        _write({**fields, "event": event, "level": "warning"})

    def error(self, event: str, fields: Mapping[str, object]) -> None:
        """Something that the operator has to do something about."""
        _write({**fields, "event": event, "level": "error"})


def log_request(request: Request, status: int, trail: Trail, least: str) -> None:
    """One line for each request whose level is `least` or above. Bytes and seconds only the platform knows."""
    level = log_level(status, trail)
    if is_logged(level, least):
        _write({**log_fields(request, status, trail), "event": "request", "level": level})


def _write(fields: Mapping[str, object]) -> None:
    print(json.dumps(logged_fields(fields), ensure_ascii=False, default=str))  # noqa: T201 - the platform keeps what is printed
