"""What a shell sends to the client, and what it writes into the access log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hubferry.core.errors import Code, OciError
from hubferry.core.http import Headers, Request
from hubferry.core.logged import MAX_FIELD, MAX_PEER, logged, logged_fields
from hubferry.ports import Body
from hubferry.pull.target import Witness

# every answer of every shell has it: what an upstream says is text or JSON is never shown as a page
NOSNIFF = ("x-content-type-options", "nosniff")
LONG_CHARS = 128  # of a path of which the parts are logged as well


@dataclass(slots=True)
class Trail:
    """What became known of a request on its way, for its log line. Filled in as it is decided."""

    upstream: str = ""
    repository: str = ""
    reference: str = ""
    outcome: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case names) and body; None: no body, although a length may be declared (HEAD).

    For `reusable_s` the very same request may be given the same again, unless `Gateway.revision` changes meanwhile.
    """

    status: int
    headers: Headers = ()
    body: bytes | Body | None = None
    trail: Trail = field(default_factory=Trail)
    reusable_s: float = 0.0
    witness: Witness = "upstream"


def json_answer(body: bytes, headers: Headers = (), status: int = 200) -> Answer:
    """A whole JSON body with its length."""
    head = (("content-type", "application/json"), ("content-length", str(len(body))))
    return Answer(status, head + headers, body)


def internal_error() -> Answer:
    """What a client is told of a failure of ours: that there was one, and no more."""
    message = "hubferry failed inside: its log says where; try again, or report it"
    return error_answer(OciError(502, Code.UNKNOWN, message))


def log_fields(
    request: Request, status: int, trail: Trail, measured: Mapping[str, object] = MappingProxyType({})
) -> dict[str, object]:
    """The line of the access log: named fields of bounded length, none of which is a header, a query or a body.

    `measured` is what a shell can tell beside that, such as bytes. Clients make up names, and a long one is there whole
    once: as the repository.
    """
    path_chars = LONG_CHARS if trail.repository else MAX_FIELD
    fields: dict[str, object] = {"method": request.method, "path": logged(request.path, path_chars), "status": status}
    fields["peer"] = logged(request.peer, MAX_PEER)
    if trail.upstream:
        fields["upstream"] = trail.upstream
    if trail.repository:
        fields |= {"repository": trail.repository, "reference": trail.reference}
    fields |= {**measured, "outcome": trail.outcome or "local"}
    if trail.problem:
        short = str(logged(trail.repository, LONG_CHARS // 2))
        fields["problem"] = trail.problem.replace(trail.repository, short) if trail.repository else trail.problem
    return logged_fields(fields)


LEVELS = ("debug", "info", "warning", "error")  # the quietest first


def log_level(status: int, trail: Trail) -> str:
    """How loud that line is: one of LEVELS."""
    if status >= 500:
        return "warning"
    return "debug" if trail.outcome == "challenge" else "info"  # every pull of every client begins with one


def is_logged(level: str, least: str) -> bool:
    """Whether a line of that level is written where `server.log_level` is `least`."""
    return LEVELS.index(level) >= LEVELS.index(least)


def error_answer(error: OciError) -> Answer:
    """The OCI error as it goes to the client."""
    return json_answer(error.body(), error.headers, error.status)
