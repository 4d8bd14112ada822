"""Access log and events: one line each, readable on a terminal and JSON otherwise.

Secrets cannot get in: a line is built from named fields, none of which is a header, a query or a body.
"""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import structlog

from hubferry.core.logged import logged_fields
from hubferry.pull.answer import is_logged


def configure(log_format: str, level: str) -> None:
    """Route everything that logs to standard error in one format (`auto`, `text` or `json`), from `level` up."""
    readable = is_readable(log_format)
    renderer: Any = (
        # not the default, which shows the values of variables where rich is installed: settings hold secrets
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
    # uvicorn complains about every body that is cut on purpose and every client that speaks no HTTP
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


def is_readable(log_format: str) -> bool:
    """Whether people read the log, rather than programs."""
    return log_format == "text" or (log_format == "auto" and sys.stderr.isatty())


def _bounded(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
    """A processor of structlog: what an event says in others' words does nothing to the line."""
    return logged_fields(fields)


# made once: json.dumps with options makes an encoder for every line
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


def _dumps(value: object, **_: object) -> str:
    return _ENCODER.encode(value)


class _Forward(logging.Handler):
    """Sends records of libraries into the same stream and format."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"exc_info": record.exc_info} if record.exc_info else {}
        logger().log(record.levelno, "library", logger=record.name, message=record.getMessage(), **fields)


def logger() -> structlog.typing.FilteringBoundLogger:
    """The configured logger."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())


class Events:
    """The `EventLog` port."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        """See ports.EventLog."""
        logger().warning(event, **dict(fields))


class AccessLog:
    """One line per request."""

    def __init__(self, *, readable: bool, least: str) -> None:
        """`readable` as `is_readable` says; a request whose level is below `least` has no line."""
        self._readable = readable
        self._least = least

    def line(self, level: str, fields: Mapping[str, object]) -> "Line":
        """What is known of a request but for when it was and how long it took: see pull.answer.log_fields."""
        if not is_logged(level, self._least):
            return NoLine()
        return ReadableLine(level, fields) if self._readable else JsonLine(level, fields)


class Line(Protocol):
    """One line of the access log, written each time that the same is answered."""

    def write(self, seconds: float) -> None:
        """`seconds` run from the request's arrival to the last byte handed to the client's connection."""


class NoLine:
    """Of a request that is not worth one."""

    def write(self, seconds: float) -> None:
        """See Line."""


class ReadableLine:
    """For people."""

    def __init__(self, level: str, fields: Mapping[str, object]) -> None:
        self._level = level
        self._fields = fields

    def write(self, seconds: float) -> None:
        """See Line."""
        getattr(logger(), self._level)("request", **self._fields, seconds=round(seconds, 4))


class JsonLine:
    """For programs. Made once, because structlog's way to it costs more than the whole answer (50 microseconds)."""

    def __init__(self, level: str, fields: Mapping[str, object]) -> None:
        self._begin = _dumps({**fields, "event": "request", "level": level})[:-1]

    def write(self, seconds: float) -> None:
        """See Line."""
        moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        sys.stderr.write(f'{self._begin}, "seconds": {seconds:.4f}, "time": "{moment}"}}\n')
        sys.stderr.flush()
