"""The access log and the log of events: one line each, readable on a terminal and JSON otherwise.

Secrets cannot get into the log: a line is made from named fields, and no field is a header, a query or a body.
"""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import structlog

from hubferry.core.logged import logged_fields
from hubferry.gateway.answer import is_logged


def configure(log_format: str, level: str) -> None:
    """Send everything that is logged, also by libraries, to standard error in one format.

    `log_format` is `auto`, `text` or `json`. Messages below `level` are dropped.
    """
    readable = is_readable(log_format)
    renderer: Any = (
        # not structlog's default: where rich is installed it shows the values of variables, and settings hold secrets
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if readable
        else structlog.processors.JSONRenderer(serializer=_dumps)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *([] if readable else [structlog.processors.format_exc_info]),
            _bounded,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)
    # uvicorn logs an error for every body that is cut on purpose and for every client that does not speak HTTP
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


def is_readable(log_format: str) -> bool:
    """Return whether the log is formatted for people instead of programs."""
    return log_format == "text" or (log_format == "auto" and sys.stderr.isatty())


def _bounded(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
    """Make text from clients and upstreams in an event safe for the log. This is a processor of structlog."""
    return logged_fields(fields)


# made once: json.dumps with options makes an encoder for every line
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


def _dumps(value: object, **_: object) -> str:
    return _ENCODER.encode(value)


class _Forward(logging.Handler):
    """Passes log records of libraries on, so that they have the same stream and format."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"exc_info": record.exc_info} if record.exc_info else {}
        logger().log(record.levelno, "library", logger=record.name, message=record.getMessage(), **fields)


def logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger that `configure` set up."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())


class Events:
    """The `EventLog` port over the server's log."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        logger().warning(event, **dict(fields))


class AccessLog:
    """The access log: one line per request."""

    def __init__(self, *, readable: bool, least: str) -> None:
        """Set up the log. `readable` is as `is_readable` says. Requests with a level below `least` get no line."""
        self._readable = readable
        self._least = least

    def line(self, level: str, fields: Mapping[str, object]) -> "Line":
        """Return the line for a request, without its time and duration, which are added when it is written.

        `fields` are those of gateway.answer.log_fields, `level` is that of gateway.answer.log_level.
        """
        if not is_logged(level, self._least):
            return NoLine()
        return ReadableLine(level, fields) if self._readable else JsonLine(level, fields)


class Line(Protocol):
    """One line of the access log. It is written again each time that the same answer is sent again (recent.py)."""

    def write(self, seconds: float) -> None:
        """Write the line with the current time.

        `seconds` is the time from the request's arrival to the moment when the last byte was handed to the client's
        connection.
        """


class NoLine:
    """The line of a request whose level is too low for the log. Nothing is written."""

    def write(self, seconds: float) -> None: ...


class ReadableLine:
    """A line for people, written by structlog."""

    def __init__(self, level: str, fields: Mapping[str, object]) -> None:
        self._level = level
        self._fields = fields

    def write(self, seconds: float) -> None:
        getattr(logger(), self._level)("request", **self._fields, seconds=round(seconds, 4))


class JsonLine:
    """A line for programs, as JSON.

    It is formatted once and not by structlog, which takes longer for it (50 microseconds) than the whole answer does.
    """

    def __init__(self, level: str, fields: Mapping[str, object]) -> None:
        self._begin = _dumps({**fields, "event": "request", "level": level})[:-1]

    def write(self, seconds: float) -> None:
        moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        sys.stderr.write(f'{self._begin}, "seconds": {seconds:.4f}, "time": "{moment}"}}\n')
        sys.stderr.flush()
