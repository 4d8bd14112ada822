"""The audit log: one JSON line for everything that a client pulled, or was denied by a rule (`[audit] file`).

It is an ordinary file that is only appended to. When it is moved or removed, the next line goes to a new one, so
logrotate needs neither a signal nor copytruncate. Each line is one write, so several worker processes share the file.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler

from hubferry.core.http import Request
from hubferry.core.logged import logged_fields
from hubferry.core.values import ConfigError
from hubferry.gateway.answer import AccessRecord
from hubferry.server.log import logger

TELL_S = 10.0  # a failure is logged at most once in this time


class AuditLog:
    """Writes a line for each request that was given content, or denied it, to the end of the file."""

    def __init__(self, path: str) -> None:
        """Raises ConfigError when the file cannot be written."""
        try:
            self._file = WatchedFileHandler(path, encoding="utf-8")
        except OSError as error:
            problem = f"{path} cannot be written ({error.strerror}): check path and permissions"
            raise ConfigError("audit.file", problem) from None
        self._told_at_s = float("-inf")
        self._file.handleError = self._failed  # type: ignore[method-assign]

    def write(self, request: Request, status: int, record: AccessRecord, sent_bytes: int) -> None:
        """Append what a request was given or denied; nothing for requests that are about no content.

        Of a file with several images there is one line for each, and the first says how many bytes all of it has.
        """
        for other in record.others:
            self.write(request, status, other, 0)
        if not record.digest and not record.is_denied:
            return
        fields = {
            "time": _now(),
            "allowed": not record.is_denied,
            "rule": record.rule,
            "peer": request.peer,
            "user": record.user,
            "upstream": record.upstream,
            "repository": record.repository,
            "reference": record.reference,
            "digest": record.digest,
            "method": request.method,
            "status": status,
            "bytes": sent_bytes,
        }
        self._append(fields)

    def _append(self, fields: Mapping[str, object]) -> None:
        line = logging.makeLogRecord({"msg": json.dumps(logged_fields(fields), ensure_ascii=False)})
        try:
            self._file.emit(line)
        except OSError:  # it was removed, and cannot be made anew
            self._failed(line)

    def write_change(self, action: str, image: str, user: str, peer: str) -> None:
        """Append what an operator ordered on the status page: `action` is `warm`, `remove`, `pin` or `unpin`."""
        self._append({"time": _now(), "action": action, "image": image, "peer": peer, "user": user})

    def close(self) -> None:
        """Let go of the file; nothing is written after that."""
        self._file.close()

    def _failed(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - the handler gives it
        """Say within an exception handler what failed. Pulls go on."""
        now_s = time.monotonic()
        if now_s - self._told_at_s >= TELL_S:
            self._told_at_s = now_s
            logger().error("audit_failed", file=self._file.baseFilename, problem=str(sys.exception()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
