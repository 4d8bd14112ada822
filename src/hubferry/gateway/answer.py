"""What a shell sends to the client, and what it writes into the access log."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from hubferry.core.errors import Code, OciError
from hubferry.core.http import Headers, Request
from hubferry.core.logged import MAX_FIELD, MAX_PEER, logged, logged_fields
from hubferry.ports.upstream import Body
from hubferry.pull.results import Outcome, OutcomeName

# every answer of every shell has it: what an upstream says is text or JSON is never shown as a page
NOSNIFF = ("x-content-type-options", "nosniff")
LONG_CHARS = 128  # of a path of which the parts are logged as well


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """What the access log says of a request beside its line: of which upstream and repository, and how it went.

    `user` is the user of the gateway's own who sent it; empty: none did. The outcome of an answer of the gateway's own
    is empty, and logged as "local".

    For the audit log: `digest` is that of content that was given. `rule` is what decided about the image; it is empty
    when nothing did. `is_denied` is whether the client may not have it. `others` are the further images of a file with
    several.
    """

    upstream: str = ""
    repository: str = ""
    reference: str = ""
    outcome: Outcome = field(default_factory=lambda: Outcome(""))
    user: str = ""
    digest: str = ""
    rule: str = ""
    is_denied: bool = False
    others: tuple["AccessRecord", ...] = ()

    @property
    def outcome_name(self) -> str:
        """Return the name of the outcome, for log and metrics."""
        return self.outcome.name

    @property
    def problem(self) -> str:
        """Return what went wrong in a sentence for people; empty when nothing did."""
        return self.outcome.problem

    def ended(self, name: OutcomeName, problem: str | None = None) -> "AccessRecord":
        """Return the record with another outcome. `problem` None leaves the problem as it was."""
        return replace(self, outcome=Outcome(name, self.problem if problem is None else problem))


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case names) and body; None: no body, although a length may be declared (HEAD).

    For `reusable_s` the very same request may be given the same again, unless `Gateway.revision` changes meanwhile.
    """

    status: int
    headers: Headers = ()
    body: bytes | Body | None = None
    record: AccessRecord = field(default_factory=AccessRecord)
    reusable_s: float = 0.0


def json_answer(body: bytes, headers: Headers = (), status: int = 200) -> Answer:
    """Return an answer with a JSON body, its type and its length."""
    head = (("content-type", "application/json"), ("content-length", str(len(body))))
    return Answer(status, head + headers, body)


def error_answer(error: OciError) -> Answer:
    """Return an error as the OCI distribution specification shows errors to clients."""
    return json_answer(error.body(), error.headers, error.status)


def internal_error() -> Answer:
    """Return the 502 for a failure inside hubferry: it says that there was one, and no details."""
    message = "hubferry failed inside: its log says where; try again, or report it"
    return replace(error_answer(OciError(502, Code.UNKNOWN, message)), record=AccessRecord().ended("error"))


def log_fields(
    request: Request, status: int, record: AccessRecord, measured: Mapping[str, object] = MappingProxyType({})
) -> dict[str, object]:
    """The line of the access log: named fields of bounded length, none of which is a header, a query or a body.

    `measured` is what a shell can tell beside that, such as bytes. Clients make up names, and a long one is there whole
    once: as the repository.
    """
    path_chars = LONG_CHARS if record.repository else MAX_FIELD
    fields: dict[str, object] = {"method": request.method, "path": logged(request.path, path_chars), "status": status}
    fields["peer"] = logged(request.peer, MAX_PEER)
    if record.user:
        fields["user"] = record.user
    if record.upstream:
        fields["upstream"] = record.upstream
    if record.repository:
        fields |= {"repository": record.repository, "reference": record.reference}
    fields |= {**measured, "outcome": record.outcome_name or "local"}
    if record.problem:
        short = str(logged(record.repository, LONG_CHARS // 2))
        fields["problem"] = record.problem.replace(record.repository, short) if record.repository else record.problem
    return logged_fields(fields)


LEVELS = ("debug", "info", "warning", "error")  # the quietest first


def log_level(status: int, record: AccessRecord) -> str:
    """Return the level of a request's log line: one of LEVELS."""
    if status >= 500:
        return "warning"
    return "debug" if record.outcome_name == "challenge" else "info"  # every pull of every client begins with one


def is_logged(level: str, least: str) -> bool:
    """Return whether a line of this level is written where `server.log_level` is `least`."""
    return LEVELS.index(level) >= LEVELS.index(least)
