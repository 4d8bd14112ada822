"""The errors that clients receive: OCI codes, HTTP statuses, and how an upstream's status is translated.

Pure. Every message says what happened, to what, and what to do about it. OCI distribution specification,
"Error Codes". Invariant: `relay_error` never turns a status that means something to a client (401, 403, 404, 429) into
another. Those who know more may (remote/tokens.py, pull/referrers.py, gateway/login.py).
"""

import json
from dataclasses import dataclass
from enum import StrEnum

from hubferry.core.http import Headers, get


class Code(StrEnum):
    """The OCI error codes that hubferry uses (distribution specification, table "Error Codes")."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    PAGINATION_NUMBER_INVALID = "PAGINATION_NUMBER_INVALID"  # not in the specification: the distribution project's own
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNAVAILABLE = "UNAVAILABLE"  # likewise, for 503
    UNKNOWN = "UNKNOWN"  # likewise, for 500 and 502
    UNSUPPORTED = "UNSUPPORTED"


class OciError(Exception):
    """A refusal or failure with everything that is needed to answer the client.

    `status` is the HTTP status, `detail` any JSON value, `headers` are extra response headers (lower-case names).
    """

    def __init__(self, status: int, code: Code, message: str, *, detail: object = None, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = headers

    def with_header(self, line: tuple[str, str]) -> "OciError":
        """Return a copy of the error with one more header.

        The error itself is not changed, because everybody who waited for the same upstream request may share it.
        """
        return OciError(self.status, self.code, self.message, detail=self.detail, headers=(*self.headers, line))

    def anew(self) -> "OciError":
        """Return a copy that was never raised.

        An exception that was raised keeps every frame that it passed through in memory, and their local variables.
        """
        return OciError(self.status, self.code, self.message, detail=self.detail, headers=self.headers)

    def body(self) -> bytes:
        """Return the JSON body, as the distribution specification has it: `{"errors": [{code, message, detail}]}`."""
        error: dict[str, object] = {"code": self.code.value, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return json.dumps({"errors": [error]}).encode()


class StorageRefusal(OciError):
    """What the host said to which an upstream redirected (a CDN): it says nothing of who may have what."""


class Denied(OciError):
    """The 403 of a rule of the operator's (core/rules.py)."""

    def __init__(self, message: str, rule: str) -> None:
        super().__init__(403, Code.DENIED, message, detail={"rule": rule})
        self.rule = rule


class TokenNeeded(OciError):
    """The 401 for a client that sent no credential. This is not a failure: every pull begins with it."""

    def __init__(self, message: str, *, headers: Headers = ()) -> None:
        super().__init__(401, Code.UNAUTHORIZED, message, headers=headers)

    def with_header(self, line: tuple[str, str]) -> "TokenNeeded":
        return TokenNeeded(self.message, headers=(*self.headers, line))


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of which upstream: for messages, and for the OCI code of a 404 (`unknown`).

    `reference` is a tag or digest; it is empty when the question was about the repository as a whole.
    """

    upstream: str
    repository: str
    reference: str
    unknown: Code = Code.MANIFEST_UNKNOWN

    def __str__(self) -> str:
        if not self.reference:
            return f"{self.upstream}/{self.repository}"
        mark = "@" if ":" in self.reference else ":"
        return f"{self.upstream}/{self.repository}{mark}{self.reference}"


# Upstream status -> (our status, code, message). {what} is the image, {upstream} the registry host.
RELAYED: dict[int, tuple[int, Code, str]] = {
    400: (400, Code.MANIFEST_INVALID, "{upstream} refused the request for {what} as invalid"),
    401: (
        401,
        Code.UNAUTHORIZED,
        "{upstream} does not allow this for {what}: it is private or does not exist; log in with `docker login`",
    ),
    403: (403, Code.DENIED, "{upstream} denies access to {what}"),
    404: (404, Code.UNKNOWN, "{upstream} does not know {what}"),
    405: (405, Code.UNSUPPORTED, "{upstream} does not support this request for {what}"),
    410: (404, Code.UNKNOWN, "{upstream} says that {what} is gone"),
    416: (416, Code.UNSUPPORTED, "the requested range lies outside {what}"),
    429: (
        429,
        Code.TOOMANYREQUESTS,
        "{upstream} limits the pulls of this gateway (its limit, not hubferry's): {what} has to wait{until}",
    ),
    451: (451, Code.DENIED, "{upstream} withholds {what} for legal reasons"),
    503: (503, Code.UNAVAILABLE, "{upstream} is unavailable (it answered 503 for {what}): try again{until}"),
    504: (504, Code.UNAVAILABLE, "{upstream} timed out (it answered 504 for {what}): try again later"),
}

MAX_RETRY_AFTER = 64  # characters; a number or a date is shorter, but upstreams may write anything


def relay_error(status: int, headers: Headers, asked: Asked) -> OciError:
    """Return the error for the client when the upstream answered `status` (not 2xx or 3xx).

    The headers in KEPT_ON_ERRORS are passed on, among them Retry-After and the rate-limit headers, so that clients can
    obey them.
    """
    headers = tuple((name, value) for name, value in headers if len(value) <= MAX_KEPT_VALUE)
    retry_after = get(headers, "retry-after")
    until = f"; retry after {retry_after}" if retry_after and len(retry_after) <= MAX_RETRY_AFTER else ""
    ours, code, text = RELAYED.get(
        status,
        (
            502,
            Code.UNKNOWN,
            "{upstream} answered {status} for {what}: try again later, or look at its status page",
        ),
    )
    if ours == 404:
        code = asked.unknown
    message = text.format(upstream=asked.upstream, what=asked, until=until, status=status)
    kept = tuple((k, v) for k, v in headers if k in KEPT_ON_ERRORS)
    if retry_after is None and ours in DEFAULT_RETRY_AFTER_S:
        kept = (*kept, ("retry-after", str(DEFAULT_RETRY_AFTER_S[ours])))
    return OciError(ours, code, message, detail={"upstream": asked.upstream, "status": status}, headers=kept)


def limit_error(asked: Asked, account: str, until: str, wait_s: int, headers: Headers) -> OciError:
    """Return the 429 for a request that an upstream's rate limit forbids.

    `account` is the account that is limited; empty: the limit is on the gateway's address. `until` is the end of the
    wait (RFC 3339), `wait_s` its length in seconds.
    """
    whose = account or "this gateway's address"
    more = "" if account else "; an account of that registry raises it"
    return OciError(
        429,
        Code.TOOMANYREQUESTS,
        f"{asked.upstream} limits the pulls of {whose} (its limit, not hubferry's{more}): "
        f"{asked} has to wait until {until} ({wait_s} s)",
        detail={"upstream": asked.upstream, "status": 429, "until": until},
        headers=(("retry-after", str(wait_s)), *headers),
    )


# By our status: clients that obey Retry-After should wait even when the upstream did not say for how long.
DEFAULT_RETRY_AFTER_S = {429: 60, 503: 5}

MAX_KEPT_VALUE = 256  # characters of a header that is repeated to clients and in messages
KEPT_ON_ERRORS = frozenset(
    {"retry-after", "ratelimit-limit", "ratelimit-remaining", "docker-ratelimit-source", "content-range"}
)
