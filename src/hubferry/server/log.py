"""Access log and events: one line each, readable on a terminal and JSON otherwise.

Secrets cannot get in: a line is built from named fields, none of which is a header, a query or a body.
"""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, cast

import structlog

from hubferry.pull import Trail


def configure(log_format: str, level: int = logging.INFO) -> None:
    """Route everything that logs to standard error in one format: `auto`, `text` or `json`."""
    readable = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if readable
        else structlog.processors.JSONRenderer(serializer=_dumps)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *([] if readable else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)
    # uvicorn complains about every body that is cut on purpose and every client that speaks no HTTP
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


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

    def write(
        self, *, method: str, path: str, peer: str, status: int, size_bytes: int, seconds: float, trail: Trail
    ) -> None:
        """`seconds` run from the request's arrival to the last byte handed to the client's connection."""
        fields: dict[str, object] = {"method": method, "path": path[:512], "status": status, "peer": peer}
        if trail.upstream:
            fields |= {"upstream": trail.upstream}
        if trail.repository:
            fields |= {"repository": trail.repository, "reference": trail.reference}
        fields |= {"bytes": size_bytes, "seconds": round(seconds, 4), "outcome": trail.outcome or "local"}
        if trail.problem:
            fields["problem"] = trail.problem
        log = logger()
        (log.warning if status >= 500 else log.info)("request", **fields)
